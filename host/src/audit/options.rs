//! Where the trail lies, and its sizes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::AuditError;
use super::frame::HEADER_BYTES;
use crate::durable::Folder;
use crate::model::Limits;

/// Where the trail lies and how large its parts are.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The daemon's folder: `audit/`, `keys/` and `state/` are in it.
    pub var: PathBuf,
    /// Bytes of a segment; at least 256 KiB.
    pub segment_bytes: u64,
    /// Below this much room in the segments no new run starts; below a quarter of it no effect. At most a quarter of a
    /// segment, so that the next one is prepared before it is touched.
    pub reserve_bytes: u64,
    /// How long a second writer waits for the first.
    pub lock_wait: Duration,
    /// What one playbook may add to the trail in a day (UTC), in MiB.
    pub trail_mib_per_day: u64,
}

impl AuditOptions {
    /// The defaults, for the daemon's folder.
    #[must_use]
    pub fn at(var: &Path) -> Self {
        Self {
            var: var.to_owned(),
            // A hundred thousand usual records: a segment lasts a busy machine for days and is zeroed in under a second.
            segment_bytes: 64 * 1024 * 1024,
            // The records of a thousand runs that are under way.
            reserve_bytes: 8 * 1024 * 1024,
            // Longer than any single heal needs the lock, shorter than a person's patience.
            lock_wait: Duration::from_secs(10),
            trail_mib_per_day: Limits::default().trail_mib_per_day,
        }
    }

    pub(super) fn check(&self) -> Result<(), AuditError> {
        // Two of the largest batches that a small segment takes, and room for the header.
        if self.segment_bytes < 256 * 1024 {
            return Err(AuditError::Option("a segment of the audit trail has at least 262144 bytes".to_owned()));
        }
        if self.reserve_bytes > self.segment_bytes / 4 {
            let most = self.segment_bytes / 4;
            return Err(AuditError::Option(format!("the reserve of the audit trail is at most {most} bytes")));
        }
        Ok(())
    }

    /// The largest batch that fits a segment.
    pub(super) fn largest_batch(&self) -> usize {
        usize::try_from(self.segment_bytes - HEADER_BYTES).unwrap_or(usize::MAX)
    }
}

/// The folders of a trail, held open.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) audit: Folder,
    pub(super) segments: Folder,
    pub(super) log: Folder,
    pub(super) keys: Folder,
    pub(super) state: Folder,
}

impl Places {
    /// Opens the folders of a trail that exists.
    pub(super) fn open(var: &Path) -> Result<Self, AuditError> {
        let absolute = absolute(var);
        let missing = |error: crate::durable::DurableError| {
            if error.is_not_found() { absent(&absolute) } else { error.into() }
        };
        let var = Folder::open(&absolute).map_err(missing)?;
        let audit = var.sub("audit").map_err(missing)?;
        let segments = audit.sub("seg").map_err(missing)?;
        let log = audit.sub("log").map_err(missing)?;
        Ok(Self { audit, segments, log, keys: var.sub("keys")?, state: var.make_sub("state")? })
    }

    /// The folder of a trail that exists or is being made: what the lock is taken in, before anything else is opened.
    pub(super) fn audit(var: &Path) -> Result<Folder, AuditError> {
        let var = absolute(var);
        Folder::open(&var.join("audit")).map_err(|error| if error.is_not_found() { absent(&var) } else { error.into() })
    }

    /// Makes the folders that are not there.
    pub(super) fn make(var: &Path) -> Result<Self, AuditError> {
        let var = Folder::make(&absolute(var))?;
        let audit = var.make_sub("audit")?;
        let (segments, log) = (audit.make_sub("seg")?, audit.make_sub("log")?);
        Ok(Self { audit, segments, log, keys: var.make_sub("keys")?, state: var.make_sub("state")? })
    }
}

/// Why there is no trail. A home has keys from its beginning: where some are, there was a trail, and to make another one
/// as if nothing had been would forget it.
pub(super) fn absent(var: &Path) -> AuditError {
    let path = var.join("audit");
    match Folder::open(&var.join("keys")).and_then(|keys| keys.names()) {
        Ok(names) if !names.is_empty() => AuditError::Lost { path },
        _ => AuditError::Missing { path },
    }
}

fn absolute(var: &Path) -> PathBuf {
    std::path::absolute(var).unwrap_or_else(|_| var.to_owned())
}
