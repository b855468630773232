//! Where batches go: the seam between the trail and what keeps it.
//!
//! The contract of [`Storage::append`] in words: when it returns `Ok`, the whole batch survives the loss of power; when
//! it returns [`Failure::NoSpace`], none of it counts and the same or another batch may be tried at the same place later;
//! when it returns [`Failure::Poison`], nobody knows what is on the disk and nothing is ever written again by this
//! process. Two live implementors: segment files ([`super::segment`]), and memory, for plans.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::Failure;
use super::frame::{self, Frame};
use super::record::Record;
use super::tree::Frontier;

/// Keeps batches.
pub(super) trait Storage: Send {
    /// Whether what is written to is still what stands at its path.
    fn watch(&mut self) -> Result<(), Failure>;
    /// Keeps a batch; `before` is the tree before it.
    fn append(&mut self, batch: &[u8], before: &Frontier) -> Result<(), Failure>;
    /// The first record of the current segment, and the place after the last batch in it.
    fn place(&self) -> (u64, u64);
    /// How many bytes of batches fit before more disk is needed.
    fn left(&self) -> u64;
}

/// The records of a trail in memory, as a plan keeps it. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    records: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl MemoryLog {
    /// The records so far. Buffered ones are in it after [`super::Trail::flush`].
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter_map(|bytes| Record::decode(bytes).ok()).collect()
    }
}

impl Storage for MemoryLog {
    fn watch(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn append(&mut self, batch: &[u8], _before: &Frontier) -> Result<(), Failure> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = batch;
        while let Frame::Record { bytes, .. } = frame::read(rest) {
            records.push(bytes.to_vec());
            rest = rest.get(frame::FRAME_BYTES + bytes.len()..).unwrap_or_default();
        }
        Ok(())
    }

    fn place(&self) -> (u64, u64) {
        (0, 0)
    }

    fn left(&self) -> u64 {
        u64::MAX
    }
}
