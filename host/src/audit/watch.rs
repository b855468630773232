//! Is the file that we write to still the file that stands at its path?
//!
//! A descriptor goes on working after its file was deleted, renamed or replaced: a trail could be written, durably, into
//! nothing. So before every batch that holds an intent the segment and its folder are looked at again *by path* and
//! compared with what was opened: device, inode, link count, owner, mode and, for the segment, its length. Any difference
//! stops the trail until a restart, and the message names the path.
//!
//! What this does not see: bytes changed in place. The checksums and the tree are for those.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Stat};

use super::error::Failure;

/// What a path was when it was opened.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    device: u64,
    inode: u64,
    links: u64,
    owner: (u32, u32),
    mode: u32,
    length: Option<i64>,
}

impl Seen {
    fn of(path: &Path, stat: &Stat, is_file: bool) -> Self {
        Self {
            path: path.to_owned(),
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink,
            owner: (stat.st_uid, stat.st_gid),
            mode: stat.st_mode,
            length: is_file.then_some(stat.st_size),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let changed = |what: &str| {
            let path = self.path.display();
            Err(Failure::Poison(format!("`{path}` {what} while the trail was open; put back what was there")))
        };
        let Ok(stat) = rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) else {
            return changed("was removed or renamed");
        };
        let now = Self::of(&self.path, &stat, self.length.is_some());
        if (now.device, now.inode) != (self.device, self.inode) {
            return changed("was replaced by another file");
        }
        if now.links != self.links {
            return changed("got or lost a hard link");
        }
        if now.owner != self.owner {
            return changed("changed its owner");
        }
        if now.mode != self.mode {
            return changed("changed its mode");
        }
        if now.length != self.length {
            return changed("changed its length");
        }
        Ok(())
    }
}

/// The segment that is written to, and its folder.
#[derive(Debug)]
pub(super) struct Watch {
    folder: Seen,
    segment: Seen,
}

impl Watch {
    /// Remembers what was opened, by descriptor.
    pub(super) fn of(folder: (&Path, &impl std::os::fd::AsFd), segment: (&Path, &File)) -> std::io::Result<Self> {
        let absolute = |path: &Path| std::path::absolute(path);
        let folder = Seen::of(&absolute(folder.0)?, &rustix::fs::fstat(folder.1)?, false);
        let segment = Seen::of(&absolute(segment.0)?, &rustix::fs::fstat(segment.1)?, true);
        Ok(Self { folder, segment })
    }

    /// Compares what stands at the paths now.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.folder.check()?;
        self.segment.check()
    }
}
