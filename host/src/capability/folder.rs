//! Folders that are held open: the only way in which a hand reaches a file that somebody else may exchange.
//!
//! The folder of a log, or of a configuration, often belongs to the very service that is to be healed, so everything in it
//! may change under the hand: a folder becomes a link to `/etc`, a file is renamed, something is mounted. So a folder is
//! opened with `openat2`, what is below it beneath that handle, no link is followed and no mount is crossed, and from then on
//! a file is a single name in an open folder. Whatever is renamed meanwhile, nothing outside is read, written or removed.
//!
//! What it does not do: judge whether a folder may be used, or what in it is whose.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use super::error::HandError;
use crate::model::{Digest, escape};

/// The kernel asks to try again when a mount or a rename got in its way.
const TRIES: u32 = 8;

/// A folder, open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// Device and inode.
    pub(super) which: (u64, u64),
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
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

    /// Sees whether this process may make and remove names in it; `path` is the folder's, for the message.
    pub(super) fn writable(&self, path: &Path) -> Result<(), HandError> {
        let (access, flags) = (rustix::fs::Access::WRITE_OK, AtFlags::EACCESS);
        rustix::fs::accessat(self, ".", access, flags).map_err(|error| HandError::Unavailable {
            what: format!("cannot write in `{}`: {}", shown(path), std::io::Error::from(error)),
            remedy: "see the mode of the folder, how it is mounted, and as whom Guardian runs".to_owned(),
        })
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

pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
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
        Errno::NOENT => (format!("the folder `{folder}` is not there"), "make it, or correct guardian.toml".to_owned()),
        Errno::LOOP => (
            format!("a link is on the way to `{folder}`, and links are not followed"),
            match std::fs::canonicalize(path) {
                Ok(real) => format!("write `{}` in guardian.toml", shown(&real)),
                Err(_) => "write the path without links".to_owned(),
            },
        ),
        Errno::XDEV => (format!("`{folder}` is on another file system"), "make it a storage of its own".to_owned()),
        Errno::NOTDIR => (format!("`{folder}` is no folder"), "correct guardian.toml".to_owned()),
        Errno::NOSYS => (
            "this kernel has no `openat2`".to_owned(),
            "run Linux 5.6 or later, or let the container use it".to_owned(),
        ),
        error => (
            format!("cannot open the folder `{folder}`: {}", std::io::Error::from(error)),
            "see its mode, and as whom Guardian runs".to_owned(),
        ),
    };
    HandError::Unavailable { what, remedy }
}

/// A path in a message.
pub(super) fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// What every name begins with that is the hands' own: nothing that a hand may take or heal. Programs that read a whole
/// folder of configuration pass over names with a leading dot.
pub(super) const OURS: &str = ".guardian-";

/// The name under which something new waits for the place of what `name` stands for: always the same one, so that what a
/// crash left is found. Names can be 255 bytes long, so this one does not contain that one.
pub(super) fn waiting_name(name: &OsStr) -> String {
    format!("{OURS}{}.new", Digest::of(name.as_bytes()).short())
}
