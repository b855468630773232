//! Segment files: where records become durable.
//!
//! A segment is written full of zeros before it is used, so that a durable write changes no metadata and needs no
//! journal commit (fallocate does not do that: its extents are converted at the first write). The next segment is
//! prepared in the background while there is still room in the current one; the two together are the reserve that lets
//! running runs finish on a full disk.
//!
//! INVARIANT 1: an error of a write or of fdatasync, other than "no space" from the write, stops the trail for the life
//! of the process. fdatasync is never tried again: Linux drops the dirty page and forgets the error.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use rustix::io::Errno;

use super::error::{AuditError, Failure, io};
use super::frame::{HEADER_BYTES, Header};
use super::scan::segment_name;
use super::storage::Storage;
use super::tree::Frontier;
use super::watch::Watch;
use crate::durable::{Folder, sync_dir};

/// The prepared next segment, and the one that is being prepared. Hidden: readers look only at numbered ones.
const SPARE: &str = ".next";
const SPARE_PART: &str = ".next.part";

/// How much is zeroed at once: small enough to stop quickly when the process ends.
const ZEROS: usize = 1024 * 1024;

/// Whether an error only says that the disk, or a quota, is full.
pub(super) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// The next segment, prepared or to be prepared.
#[derive(Debug)]
pub(super) struct Spare {
    folder: Folder,
    bytes: u64,
    preparing: Mutex<()>,
    ready: AtomicBool,
}

impl Spare {
    /// Looks whether a next segment stands ready.
    pub(super) fn new(folder: Folder, bytes: u64) -> Self {
        let ready = folder.dir().metadata(SPARE).is_ok_and(|metadata| metadata.len() == bytes);
        Self { folder, bytes, preparing: Mutex::new(()), ready: AtomicBool::new(ready) }
    }

    /// Whether it stands ready.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Prepares it, going on where an earlier process stopped. `stop` ends it early; then it is not ready.
    pub(super) fn prepare(&self, stop: &AtomicBool) -> std::io::Result<()> {
        let _one_at_a_time = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_ready() {
            return Ok(());
        }
        let dir = self.folder.dir();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = dir.open_with(SPARE_PART, &options)?.into_std();
        let mut length = file.metadata()?.len();
        if length > self.bytes {
            // Left by a process with larger segments.
            file.set_len(self.bytes)?;
            length = self.bytes;
        }
        let zeros = vec![0; ZEROS];
        while length < self.bytes {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let want = usize::try_from(self.bytes - length).unwrap_or(ZEROS).min(ZEROS);
            file.write_all_at(zeros.get(..want).unwrap_or_default(), length)?;
            length += u64::try_from(want).unwrap_or(0);
        }
        file.sync_all()?;
        dir.rename(SPARE_PART, dir, SPARE)?;
        sync_dir(dir)?;
        self.ready.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Turns it into the segment that begins where `header` says; prepares it first if it must.
    fn take(&self, header: &Header) -> std::io::Result<File> {
        self.prepare(&AtomicBool::new(false))?;
        let name = segment_name(header.before.size());
        let bytes = header.encode().ok_or_else(|| std::io::Error::other("the header of a segment does not fit"))?;
        let dir = self.folder.dir();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = dir.open_with(SPARE, &options)?.into_std();
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        dir.rename(SPARE, dir, &name)?;
        self.ready.store(false, Ordering::SeqCst);
        sync_dir(dir)?;
        Ok(file)
    }
}

/// The segments of a trail on disk.
pub(super) struct SegmentFiles {
    folder: Folder,
    origin: String,
    file: File,
    first: u64,
    offset: u64,
    length: u64,
    /// Up to here a failed write may have left bytes that are not zero.
    dirty: u64,
    watch: Watch,
    spare: Arc<Spare>,
}

impl SegmentFiles {
    /// Makes the first segment of a trail.
    pub(super) fn create(folder: Folder, origin: &str, spare: Arc<Spare>) -> Result<Self, AuditError> {
        let header = Header { origin: origin.to_owned(), before: Frontier::default() };
        let path = folder.path().join(segment_name(0));
        spare.take(&header).map_err(io("make", &path))?;
        Self::open(folder, origin, 0, HEADER_BYTES, spare)
    }

    /// Opens the segment that begins with record `first` for writing at `offset`.
    pub(super) fn open(
        folder: Folder,
        origin: &str,
        first: u64,
        offset: u64,
        spare: Arc<Spare>,
    ) -> Result<Self, AuditError> {
        let name = segment_name(first);
        let path = folder.path().join(&name);
        folder.trusted()?;
        folder.trusted_file(&name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = folder.dir().open_with(&name, &options).map_err(io("open", &path))?.into_std();
        let length = file.metadata().map_err(io("look at", &path))?.len();
        let watch = watch(&folder, &path, &file).map_err(io("look at", &path))?;
        Ok(Self { folder, origin: origin.to_owned(), file, first, offset, length, dirty: offset, watch, spare })
    }

    /// Zeroes what a torn batch left behind, up to `end`.
    pub(super) fn truncate(&mut self, end: u64) -> Result<(), AuditError> {
        let path = self.folder.path().join(segment_name(self.first));
        let zeros = vec![0; ZEROS];
        let mut at = self.offset;
        while at < end.min(self.length) {
            let want = usize::try_from(end.min(self.length) - at).unwrap_or(ZEROS).min(ZEROS);
            self.file.write_all_at(zeros.get(..want).unwrap_or_default(), at).map_err(io("write", &path))?;
            at += u64::try_from(want).unwrap_or(0);
        }
        self.file.sync_data().map_err(io("sync", &path))
    }

    fn rotate(&mut self, before: &Frontier) -> Result<(), Failure> {
        if self.dirty > self.offset {
            // Only the last segment may end in something other than zeros.
            let dirty = std::mem::replace(&mut self.dirty, self.offset);
            self.truncate(dirty).map_err(|error| Failure::Poison(error.to_string()))?;
        }
        let path = self.folder.path().join(segment_name(before.size()));
        let file = self.spare.take(&Header { origin: self.origin.clone(), before: before.clone() });
        let made = file.and_then(|file| Ok((watch(&self.folder, &path, &file)?, file.metadata()?.len(), file)));
        match made {
            Ok((watch, length, file)) => {
                self.file = file;
                self.watch = watch;
                self.length = length;
                self.first = before.size();
                self.offset = HEADER_BYTES;
                self.dirty = HEADER_BYTES;
                Ok(())
            }
            Err(error) => Err(failure("make", path, &error)),
        }
    }
}

fn watch(folder: &Folder, path: &std::path::Path, file: &File) -> std::io::Result<Watch> {
    Watch::of((folder.path(), folder.dir()), (path, file))
}

fn failure(act: &str, path: PathBuf, error: &std::io::Error) -> Failure {
    let what = format!("cannot {act} `{}`: {error}", path.display());
    if is_no_space(error) { Failure::NoSpace(what) } else { Failure::Poison(what) }
}

impl Storage for SegmentFiles {
    fn watch(&mut self) -> Result<(), Failure> {
        self.watch.check()
    }

    fn append(&mut self, batch: &[u8], before: &Frontier) -> Result<(), Failure> {
        let length = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if self.offset.saturating_add(length) > self.length {
            self.rotate(before)?;
        }
        let end = self.offset.saturating_add(length);
        let path = || self.folder.path().join(segment_name(self.first));
        let written = if self.dirty > end {
            // Cover what a failed write of a longer batch may have left.
            let mut padded = batch.to_vec();
            padded.resize(usize::try_from(self.dirty - self.offset).unwrap_or(batch.len()), 0);
            self.file.write_all_at(&padded, self.offset)
        } else {
            self.file.write_all_at(batch, self.offset)
        };
        if let Err(error) = written {
            let failure = failure("write", path(), &error);
            self.dirty = self.dirty.max(end);
            return Err(failure);
        }
        if let Err(error) = self.file.sync_data() {
            // INVARIANT 1: also when it says "no space": nobody knows which pages are on the disk.
            return Err(Failure::Poison(format!("cannot sync `{}`: {error}", path().display())));
        }
        self.offset = end;
        self.dirty = end;
        Ok(())
    }

    fn place(&self) -> (u64, u64) {
        (self.first, self.offset)
    }

    fn left(&self) -> u64 {
        let next = if self.spare.is_ready() { self.spare.bytes - HEADER_BYTES } else { 0 };
        self.length.saturating_sub(self.offset).saturating_add(next)
    }
}
