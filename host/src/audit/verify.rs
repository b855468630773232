//! The whole trail, derived again from the files alone.
//!
//! It believes nothing that the writer keeps in memory or in its snapshot: every header, every checksum, every number,
//! every root of every batch and the signed checkpoint are computed again. The first thing that does not hold is named
//! by file and place. A batch at the very end that a crash tore is no fault; it is reported as unfinished.

use super::error::AuditError;
use super::frame::HEADER_BYTES;
use super::reader::Reader;
use super::record::Record;
use super::scan::{self, End, Stored, Walk};
use super::tree::{Frontier, Root};
use crate::model::Digest;

/// What a verification found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Records read: numbers 0 to this, without a gap.
    pub records: u64,
    /// Batches whose root was computed again.
    pub batches: u64,
    /// The root of the tree over all records.
    pub root: Digest,
    /// How many of the records the signed checkpoint covers.
    pub signed: u64,
    /// Bytes of a batch at the end that is not whole: being written now, or torn by a crash.
    pub unfinished_bytes: u64,
}

impl Reader {
    /// Verifies everything that is there.
    ///
    /// # Errors
    /// The first thing that does not hold, with file and place.
    pub fn verify(&self) -> Result<Verified, AuditError> {
        // First the checkpoint: what it covers was on the disk before it was signed, whatever is appended meanwhile.
        let checkpoint = self.checkpoint()?;
        let mut derived = Derived {
            tree: Frontier::default(),
            batches: 0,
            signed: checkpoint.size() == 0,
            checkpoint: (checkpoint.size(), *checkpoint.root()),
        };
        let all = scan::segments(&self.places().segments)?;
        let mut unfinished_bytes = 0;
        for (index, first) in all.iter().enumerate() {
            unfinished_bytes = derived.segment(self, *first, index + 1 == all.len())?;
        }
        let path = self.places().log.path().join(super::checkpoint::CHECKPOINT);
        if !derived.signed {
            let records = derived.tree.size();
            let what = format!(
                "it covers {} records, and the {records} that are there do not add up to it",
                checkpoint.size()
            );
            return Err(AuditError::Behind { path, what });
        }
        let root = derived.tree.root().unwrap_or_default();
        Ok(Verified {
            segments: u64::try_from(all.len()).unwrap_or(u64::MAX),
            records: derived.tree.size(),
            batches: derived.batches,
            root: Digest::from_bytes(root),
            signed: checkpoint.size(),
            unfinished_bytes,
        })
    }
}

struct Derived {
    tree: Frontier,
    batches: u64,
    signed: bool,
    checkpoint: (u64, Root),
}

impl Derived {
    fn segment(&mut self, reader: &Reader, first: u64, is_last: bool) -> Result<u64, AuditError> {
        let (file, header, path) = scan::open(&reader.places().segments, first)?;
        let damaged = |offset: u64, what: String| AuditError::Damaged { path: path.clone(), offset, what };
        if header.origin != reader.key().origin() {
            return Err(damaged(0, "it belongs to another log".to_owned()));
        }
        if header.before.size() != self.tree.size() || header.before.root().ok() != self.tree.root().ok() {
            return Err(damaged(0, format!("it does not follow record {}", self.tree.size())));
        }
        let mut walk = Walk::new(file, path.clone(), HEADER_BYTES, std::mem::take(&mut self.tree));
        let mut on_record = |stored: Stored<'_>| match Record::decode(stored.bytes) {
            Ok(record) if record.seq == stored.seq => Ok(()),
            Ok(_) => Err(damaged(stored.offset, "the record names another number than its frame".to_owned())),
            Err(error) => Err(damaged(stored.offset, format!("the record is not JSON: {error}"))),
        };
        let (end, tail) = walk.settle(&mut on_record, &mut |size, root| {
            self.batches += 1;
            self.signed |= (size, *root) == self.checkpoint;
            Ok(())
        })?;
        let (offset, what) = match end {
            End::Clean => (walk.offset, "a batch is gone that later ones follow".to_owned()),
            End::Broken { offset, what } => (offset, what),
        };
        let unfinished = tail.end.saturating_sub(walk.offset);
        // What the checkpoint covers cannot be unfinished.
        let lost = walk.tree.size() < self.checkpoint.0;
        if tail.later || unfinished > 0 && (!is_last || lost) {
            return Err(damaged(offset, what));
        }
        self.tree = walk.tree;
        Ok(unfinished)
    }
}
