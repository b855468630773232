//! What a file is known by. What has another mark is another file, whatever its name.

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::capability::folder::is_file;

/// What a file is known by, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) inode: u64,
    pub(super) size: u64,
    /// When it was changed, in seconds and nanoseconds.
    pub(super) changed: (i64, i64),
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Mark {
    #[allow(clippy::unnecessary_cast, reason = "the types of the C library differ from one architecture to the next")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            changed: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        }
    }

    /// Whether this is that file, unchanged.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        is_file(stat) && *self == Self::of(stat)
    }
}

/// Bytes that a file takes up on the disk.
pub(super) fn occupied(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}
