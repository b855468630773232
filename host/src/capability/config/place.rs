//! One name in one folder that is held open: the only way in which this hand reaches a file.
//!
//! The folder is opened once per act with `openat2`, and no link on the way to it is followed: a folder that somebody has
//! replaced by a link is an error, not a detour. From then on everything goes through that handle and a single name, never
//! a path, so whatever is renamed, linked or mounted around it meanwhile, nothing outside that folder is read or written. A
//! file that is mounted over the name is refused. Pipes and devices are told from files before they are opened, because
//! opening one can wait for ever or do something.
//!
//! What it does not do: know what is right, or judge whether the folder may be used.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use super::kept::{Content, Kept, KeptFile, KeptLink, Moment, Seen, Stamp};
use crate::capability::error::HandError;
use crate::model::escape;

/// The largest configuration that is compared or kept, in bytes. What people write by hand is a hundred times smaller, and
/// each one is held in memory and in the undo journal.
pub(super) const LARGEST: u64 = 1024 * 1024;
/// Extended attributes of one file that are kept, in bytes: an ACL or a label takes a hundred.
const LARGEST_ATTRIBUTES: usize = 64 * 1024;
/// The kernel asks to try again when a mount or a rename got in its way.
const TRIES: u32 = 8;

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
    path: PathBuf,
    /// Which folder it is: device and inode.
    pub(super) which: (u64, u64),
}

impl Place {
    /// Opens the folder of `path`, following no link.
    ///
    /// # Ambient Authority
    /// Opens the operator's path.
    pub(super) fn open(path: &Path) -> Result<Self, HandError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(HandError::Invalid { what: format!("`{}` is not the path of a file", shown(path)) });
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = again(|| openat2(rustix::fs::CWD, parent, flags, Mode::empty(), resolve))
            .map_err(|error| cannot_open(parent, error))?;
        let stat = fstat(&folder).map_err(HandError::io("look at a folder"))?;
        Ok(Self { folder, name: name.to_owned(), path: path.to_owned(), which: (stat.st_dev, stat.st_ino) })
    }

    /// The path, for messages.
    pub(super) fn shown(&self) -> String {
        shown(&self.path)
    }

    /// What lies there.
    pub(super) fn look(&self) -> Result<Seen, HandError> {
        self.look_at(&self.name)
    }

    /// What lies at another name in the same folder.
    pub(super) fn look_at(&self, name: &OsStr) -> Result<Seen, HandError> {
        let held = match self.open_at(name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(held) => held,
            Err(Errno::NOENT) => return Ok(Seen::Plain(Kept::Absent)),
            Err(Errno::XDEV) => return Ok(Seen::Other("a mount point")),
            Err(error) => return Err(self.cannot_read(error)),
        };
        let stat = fstat(&held).map_err(|error| self.cannot_read(error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.read(name, &stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&held, "", Vec::new()).map_err(|error| self.cannot_read(error))?;
                let target = Content(target.into_bytes());
                Ok(Seen::Plain(Kept::Link(KeptLink { target, uid: stat.st_uid, gid: stat.st_gid })))
            }
            FileType::Directory => Ok(Seen::Other("a folder")),
            _ => Ok(Seen::Other("a pipe, a socket or a device")),
        }
    }

    fn read(&self, name: &OsStr, held: &Stat) -> Result<Seen, HandError> {
        // NONBLOCK: should it have become a pipe since, the open must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.open_at(name, flags) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Err(self.changing()),
            Err(error) => return Err(self.cannot_read(error)),
        };
        let before = fstat(&file).map_err(|error| self.cannot_read(error))?;
        if (before.st_dev, before.st_ino) != (held.st_dev, held.st_ino) {
            return Err(self.changing());
        }
        let stamp = Stamp { uid: before.st_uid, gid: before.st_gid, mode: before.st_mode & 0o7777 };
        let mut bytes = Vec::new();
        let mut file = File::from(file);
        let read = file.by_ref().take(LARGEST.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(HandError::io("read a configuration"))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
            return Ok(Seen::Large(stamp));
        }
        let attributes = self.attributes(&file)?;
        // Written while it was read: half of it is one content and half another.
        let after = fstat(&file).map_err(|error| self.cannot_read(error))?;
        let marks = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        if marks(&before) != marks(&after) {
            return Err(self.changing());
        }
        #[allow(
            clippy::unnecessary_cast,
            reason = "the types of the C library differ from one architecture to the next"
        )]
        let changed = Moment { seconds: after.st_mtime as i64, nanoseconds: after.st_mtime_nsec as i64 };
        Ok(Seen::Plain(Kept::File(KeptFile { content: Content(bytes), stamp, changed: Some(changed), attributes })))
    }

    /// The attributes that a person or a policy gave the file. What the kernel makes by itself (signatures, capabilities of
    /// programs) is left out: it could not be set again.
    fn attributes(&self, file: &File) -> Result<BTreeMap<String, Content>, HandError> {
        let mut list = vec![0; LARGEST_ATTRIBUTES];
        let length = match rustix::fs::flistxattr(file, list.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NOTSUP | Errno::NOSYS) => 0,
            Err(error) => return Err(self.cannot_read(error)),
        };
        let mut kept = BTreeMap::new();
        let mut room = LARGEST_ATTRIBUTES;
        for name in list.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let worth = name.starts_with("user.")
                || ["system.posix_acl_access", "security.selinux", "security.SMACK64"].contains(&name);
            if !worth {
                continue;
            }
            let mut value = vec![0; room];
            let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice()).map_err(|error| match error {
                Errno::RANGE => HandError::Failed {
                    what: format!("`{}` has more attributes than are kept; nothing was changed", self.shown()),
                },
                error => self.cannot_read(error),
            })?;
            value.truncate(length);
            room = room.saturating_sub(length);
            kept.insert(name.to_owned(), Content(value));
        }
        Ok(kept)
    }

    pub(super) fn open_at(&self, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        again(|| openat2(self.folder.as_fd(), name, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
    }

    pub(super) fn changing(&self) -> HandError {
        HandError::Busy { what: format!("`{}` is being changed by somebody else; nothing was done", self.shown()) }
    }

    fn cannot_read(&self, error: Errno) -> HandError {
        HandError::Unavailable {
            what: format!("cannot read `{}`: {}", self.shown(), std::io::Error::from(error)),
            remedy: "see its mode, and as whom Guardian runs".to_owned(),
        }
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

fn cannot_open(parent: &Path, error: Errno) -> HandError {
    let folder = shown(parent);
    let (what, remedy) = match error {
        Errno::NOENT => (format!("the folder `{folder}` is not there"), "make it, or correct guardian.toml".to_owned()),
        Errno::LOOP => (
            format!("a link is on the way to `{folder}`, and links are not followed"),
            match std::fs::canonicalize(parent) {
                Ok(real) => format!("write `{}` in guardian.toml", shown(&real)),
                Err(_) => "write the path without links".to_owned(),
            },
        ),
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

pub(super) fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// The name under which something new waits beside `name`: always the same one, so that what a crash left is found.
pub(super) fn waiting_name(name: &OsStr) -> OsString {
    // Names can be 255 bytes long, so this one does not contain that one. Programs that read a whole folder of
    // configuration pass over names with a leading dot.
    OsString::from(format!(".guardian-{}.new", crate::model::Digest::of(name.as_bytes()).short()))
}
