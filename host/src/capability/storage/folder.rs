//! Folders that are held open: the only way in which this hand reaches a file.
//!
//! The folder of a storage often belongs to the very service whose logs it holds, so everything in it may change under the
//! hand: a folder becomes a link to `/etc`, a file is renamed, something is mounted. So a folder is opened with `openat2`
//! beneath the one above it, no link is followed and no mount is crossed, and from then on a file is a single name in an
//! open folder. Whatever is renamed meanwhile, nothing outside is read, written or removed.
//!
//! A file is known by its [`Mark`]: inode, size and time of change. What has another mark is another file.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::capability::error::HandError;
use crate::model::{Digest, escape};

/// The kernel asks to try again when a mount or a rename got in its way.
const TRIES: u32 = 8;

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

pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Bytes that a file takes up on the disk.
pub(super) fn occupied(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// A folder, open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// Device and inode.
    pub(super) which: (u64, u64),
}

impl Folder {
    /// Opens a folder of the operator's, following no link.
    ///
    /// # Ambient Authority
    /// Opens the operator's path.
    pub(super) fn open(path: &Path) -> Result<Self, HandError> {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        again(|| openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve))
            .and_then(Self::of)
            .map_err(|error| cannot_open(path, error))
    }

    fn of(fd: OwnedFd) -> rustix::io::Result<Self> {
        let stat = fstat(&fd)?;
        Ok(Self { fd, which: (stat.st_dev, stat.st_ino) })
    }

    pub(super) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a folder below, on the same file system, following no link.
    pub(super) fn below(&self, path: &Path) -> rustix::io::Result<Self> {
        self.open_at(path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY).and_then(Self::of)
    }

    /// Opens what is at a path below, on the same file system, following no link. Waits for nobody.
    pub(super) fn open_at(&self, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        // What is only held is not opened, and takes no flags of opening; a link may be held, but never opened.
        let held = flags.contains(OFlags::PATH);
        let more = if held { OFlags::NOFOLLOW } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        let flags = flags | more | OFlags::CLOEXEC;
        let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
        again(|| openat2(&self.fd, name, flags, mode, resolve))
    }

    /// What lies at a name; none if nothing does.
    pub(super) fn look(&self, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file for reading, with what it is. Something else is no file.
    pub(super) fn read(&self, name: &OsStr) -> rustix::io::Result<Option<(std::fs::File, Stat)>> {
        // Looked at first, because opening a device can do something.
        if !self.look(name)?.as_ref().is_some_and(is_file) {
            return Ok(None);
        }
        match self.open_at(name, OFlags::RDONLY) {
            Ok(fd) => {
                let stat = fstat(&fd)?;
                Ok(is_file(&stat).then(|| (std::fs::File::from(fd), stat)))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives something a name that nothing has.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // A file system that cannot promise it: looked at right before instead.
            Err(Errno::INVAL | Errno::NOSYS) if self.look(to)?.is_none() => {
                rustix::fs::renameat(&self.fd, from, &self.fd, to)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST),
            renamed => renamed,
        }
    }

    pub(super) fn unlink(&self, name: &OsStr) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    pub(super) fn sync(&self) -> rustix::io::Result<()> {
        rustix::fs::fsync(&self.fd)
    }
}

fn again<T>(mut act: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let mut last = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        last = act();
        if !matches!(last, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    last
}

pub(super) fn cannot_open(path: &Path, error: Errno) -> HandError {
    let folder = shown(path);
    let (what, remedy) = match error {
        Errno::NOENT => (format!("the folder `{folder}` is not there"), "make it, or correct guardian.toml"),
        Errno::LOOP => {
            (format!("a link is on the way to `{folder}`, and links are not followed"), "write where it leads")
        }
        Errno::XDEV => (format!("`{folder}` is on another file system"), "make it a storage of its own"),
        Errno::NOTDIR => (format!("`{folder}` is no folder"), "correct guardian.toml"),
        Errno::NOSYS => {
            ("this kernel has no `openat2`".to_owned(), "run Linux 5.6 or later, or let the container use it")
        }
        error => (
            format!("cannot open the folder `{folder}`: {}", std::io::Error::from(error)),
            "see its mode, and as whom Guardian runs",
        ),
    };
    HandError::Unavailable { what, remedy: remedy.to_owned() }
}

pub(super) fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// What every name begins with that is the hand's own; such files are never candidates.
pub(super) const OURS: &str = ".guardian-";

/// The name under which something of a file waits: always the same one, so that what a crash left is found.
pub(super) fn waiting_name(path: &str) -> String {
    format!("{OURS}{}.new", Digest::of(path.as_bytes()).short())
}
