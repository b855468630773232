//! Is the file that we write to still the file that stands at its path?
//!
//! A descriptor goes on working after its file was deleted, renamed or replaced: a trail could be written, durably, into
//! nothing. So before every batch that holds an intent the segment and its folder are looked at again *by path* and
//! compared with what was opened: device, inode, link count, owner, mode and, for the segment, its length. Any difference
//! stops the trail until a restart, and the message names the path.
//!
//! What this does not see: bytes changed in place. The checksums and the tree are for those.
//!
//! Times are not asked for. Since Linux 6.13 a file whose times somebody has looked at gets a finer one with its next write,
//! and its inode goes into the journal with it: 70 us per durable write, three times what the rest of the looking takes.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags};

use super::error::Failure;

/// What a path was when it was opened.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    device: (u32, u32),
    inode: u64,
    links: u32,
    owner: (u32, u32),
    mode: u16,
    length: Option<u64>,
}

/// What is compared, and nothing more.
const ASKED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::NLINK)
    .union(StatxFlags::UID)
    .union(StatxFlags::GID)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE);

impl Seen {
    fn of(path: &Path, stat: &Statx, is_file: bool) -> Self {
        Self {
            path: path.to_owned(),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            links: stat.stx_nlink,
            owner: (stat.stx_uid, stat.stx_gid),
            mode: stat.stx_mode,
            length: is_file.then_some(stat.stx_size),
        }
    }

    /// What an open descriptor stands for.
    fn opened(path: &Path, fd: &impl AsFd, is_file: bool) -> std::io::Result<Self> {
        let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, ASKED)?;
        Ok(Self::of(&std::path::absolute(path)?, &stat, is_file))
    }

    fn check(&self) -> Result<(), Failure> {
        let changed = |what: &str| {
            let path = self.path.display();
            Err(Failure::Poison(format!("`{path}` {what} while the trail was open; put back what was there")))
        };
        let Ok(stat) = rustix::fs::statx(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW, ASKED) else {
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
    pub(super) fn of(folder: (&Path, &impl AsFd), segment: (&Path, &File)) -> std::io::Result<Self> {
        Ok(Self {
            folder: Seen::opened(folder.0, folder.1, false)?,
            segment: Seen::opened(segment.0, segment.1, true)?,
        })
    }

    /// Compares what stands at the paths now.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.folder.check()?;
        self.segment.check()
    }
}
