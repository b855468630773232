//! One name in one folder that is held open: the only way in which this hand reaches a file.
//!
//! The folder is opened once per act ([`Folder`]), and from then on everything goes through that handle and a single name,
//! never a path. A file that is mounted over the name is refused. Pipes and devices are told from files before they are
//! opened, because opening one can wait for ever or do something.
//!
//! What it does not do: know what is right, or judge whether the folder may be used.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::kept::{Content, Kept, KeptFile, KeptLink, Moment, Seen, Stamp};
use crate::capability::error::HandError;
use crate::capability::folder::{Folder, shown, waiting_name};

/// The largest configuration that is compared or kept, in bytes. What people write by hand is a hundred times smaller, and
/// each one is held in memory and in the undo journal.
pub(super) const LARGEST: u64 = 1024 * 1024;
/// Extended attributes of one file that are kept, in bytes: an ACL or a label takes a hundred.
const LARGEST_ATTRIBUTES: usize = 64 * 1024;

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: Folder,
    pub(super) name: OsString,
    path: PathBuf,
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
        Ok(Self { folder: Folder::open(parent)?, name: name.to_owned(), path: path.to_owned() })
    }

    /// The name under which something new waits beside it.
    pub(super) fn waiting(&self) -> OsString {
        waiting_name(&self.name).into()
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
        let held = match self.folder.open_at(name, OFlags::PATH) {
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
        let file = match self.folder.open_at(name, OFlags::RDONLY) {
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
