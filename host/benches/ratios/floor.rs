//! The least that durability costs with many callers: a file full of zeros, one leader at a time who writes what has
//! come together and syncs it, followers who wait. No numbers, no checksums, no tree, no records: only bytes on the disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::Result;

/// As large as a segment of the trail.
const LENGTH: u64 = 64 << 20;

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    taken: u64,
    durable: u64,
    leading: bool,
}

/// The loop.
#[derive(Debug)]
pub(crate) struct Floor {
    file: File,
    queue: Mutex<Queue>,
    turned: Condvar,
    place: Mutex<(u64, Vec<u8>)>,
}

impl Floor {
    /// Writes the zeros.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let file = File::create(folder.join("floor"))?;
        let zeros = vec![0; 1 << 20];
        for at in (0..LENGTH).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, queue: Mutex::default(), turned: Condvar::new(), place: Mutex::default() })
    }

    /// Makes one record durable.
    pub(crate) fn commit(&self, record: &[u8]) -> Result<()> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.bytes.extend_from_slice(record);
        queue.taken += 1;
        let mine = queue.taken;
        loop {
            if queue.durable >= mine {
                return Ok(());
            }
            if queue.leading {
                queue = self.turned.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.leading = true;
            let upto = queue.taken;
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, batch) = &mut *place;
            batch.clear();
            std::mem::swap(batch, &mut queue.bytes);
            drop(queue);
            let length = u64::try_from(batch.len())?;
            if *at + length > LENGTH {
                *at = 0;
            }
            self.file.write_all_at(batch, *at)?;
            self.file.sync_data()?;
            *at += length;
            drop(place);
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.leading = false;
            queue.durable = upto;
            self.turned.notify_all();
        }
    }
}
