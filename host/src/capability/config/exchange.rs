//! Putting one thing in the place of another, and noticing if the other was not what it should have been.
//!
//! Looking first and renaming then leaves a gap in which somebody's edit is lost. So the new file is written beside the old
//! one, made durable with owner and mode already set, and then the two *change places* (`RENAME_EXCHANGE`): what came out
//! is looked at, and if it is not what was kept, they change back, and the edit has won. Where nothing should have been, the
//! rename refuses to replace anything. A reader sees the old file or the new one, and so does whoever looks after a crash.
//!
//! Left open: somebody who writes on into a file that was opened before the exchange writes into the old one, as with any
//! editor that saves by renaming. On a file system that cannot exchange, the old file is looked at once more right before
//! a plain rename.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, futimens, renameat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::kept::{Kept, KeptFile, KeptLink, Seen};
use super::place::Place;
use crate::capability::error::HandError;

impl Place {
    /// Puts `new` where `old` is. Of what an earlier act left behind, what equals `known` is removed.
    ///
    /// # Errors
    /// [`HandError::Busy`] if there was something else than `old`, which then still is there; [`HandError::Failed`] if it
    /// cannot be written, and everything is as it was; [`HandError::Unsure`] if only that is not known to last.
    pub(super) fn replace(&self, old: &Kept, new: &Kept, known: &[&[u8]]) -> Result<(), HandError> {
        let waiting = self.waiting();
        self.sweep(known)?;
        let made = match new {
            Kept::Absent => return self.take_away(old),
            Kept::File(file) => self.make_file(&waiting, file),
            Kept::Link(link) => self.make_link(&waiting, link),
        };
        let swapped = made.map_err(|error| self.cannot_write(error)).and_then(|()| self.swap(&waiting, old));
        if swapped.is_err() {
            // Only what is ours: what changed places twice in the middle of somebody's edits may be theirs. The error that
            // matters is the first one.
            let _ = self.sweep(&[new.bytes()]);
            return swapped;
        }
        self.made_durable()
    }

    /// Removes what an earlier act left beside the file when it was killed, whole or in part. Anything else that lies there
    /// is somebody's, and stays.
    pub(super) fn sweep(&self, known: &[&[u8]]) -> Result<(), HandError> {
        let waiting = self.waiting();
        let left = match self.look_at(&waiting)? {
            Seen::Plain(Kept::Absent) => return Ok(()),
            Seen::Plain(left) => left,
            Seen::Large(_) | Seen::Other(_) => return Err(self.in_the_way(&waiting)),
        };
        let ours = match &left {
            Kept::File(file) => known.iter().any(|known| known.starts_with(&file.content.0)),
            Kept::Link(link) => known.iter().any(|known| *known == link.target.0),
            Kept::Absent => true,
        };
        if !ours {
            return Err(self.in_the_way(&waiting));
        }
        unlinkat(&self.folder, &waiting, AtFlags::empty()).map_err(|error| self.cannot_write(error))
    }

    fn in_the_way(&self, waiting: &OsStr) -> HandError {
        HandError::Failed {
            what: format!(
                "`{}` lies beside `{}` and is not known: look at it and remove it; nothing was changed",
                waiting.to_string_lossy(),
                self.shown()
            ),
        }
    }

    fn make_file(&self, name: &OsStr, new: &KeptFile) -> rustix::io::Result<()> {
        // For its owner only until it has its own owner and mode.
        let mut file = File::from(self.folder.open_at(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        file.write_all(&new.content.0).map_err(io)?;
        let now = rustix::fs::fstat(&file)?;
        if (now.st_uid, now.st_gid) != (new.stamp.uid, new.stamp.gid) {
            fchown(&file, Some(Uid::from_raw(new.stamp.uid)), Some(Gid::from_raw(new.stamp.gid)))?;
        }
        for (name, value) in &new.attributes {
            fsetxattr(&file, name.as_str(), &value.0, XattrFlags::empty())?;
        }
        // After the owner, whose change takes bits away.
        fchmod(&file, Mode::from_raw_mode(new.stamp.mode))?;
        if let Some(changed) = new.changed {
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let changed = Timespec { tv_sec: changed.seconds, tv_nsec: changed.nanoseconds };
            futimens(&file, &Timestamps { last_access: omit, last_modification: changed })?;
        }
        file.sync_all().map_err(io)
    }

    fn make_link(&self, name: &OsStr, new: &KeptLink) -> rustix::io::Result<()> {
        symlinkat(OsStr::from_bytes(&new.target.0), &self.folder, name)?;
        let now = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (now.st_uid, now.st_gid) == (new.uid, new.gid) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(new.uid), Gid::from_raw(new.gid));
        chownat(&self.folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Lets `waiting` and the file change places, if the file is `old`.
    fn swap(&self, waiting: &OsStr, old: &Kept) -> Result<(), HandError> {
        if matches!(old, Kept::Absent) {
            return match renameat_with(&self.folder, waiting, &self.folder, &self.name, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                Err(Errno::EXIST) => Err(self.changing()),
                Err(Errno::INVAL) => self.swap_plainly(waiting, old),
                Err(error) => Err(self.cannot_write(error)),
            };
        }
        match self.exchange(waiting) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(self.changing()),
            Err(Errno::INVAL) => return self.swap_plainly(waiting, old),
            Err(error) => return Err(self.cannot_write(error)),
        }
        if matches!(self.look_at(waiting), Ok(Seen::Plain(out)) if out == *old) {
            if let Err(error) = unlinkat(&self.folder, waiting, AtFlags::empty()) {
                tracing::warn!("the old `{}` was not removed: {}", self.shown(), std::io::Error::from(error));
            }
            return Ok(());
        }
        match self.exchange(waiting) {
            Ok(()) => Err(self.changing()),
            Err(_) => Err(self.lies_aside(waiting)),
        }
    }

    fn exchange(&self, waiting: &OsStr) -> rustix::io::Result<()> {
        renameat_with(&self.folder, waiting, &self.folder, &self.name, RenameFlags::EXCHANGE)
    }

    fn swap_plainly(&self, waiting: &OsStr, old: &Kept) -> Result<(), HandError> {
        if !matches!(self.look()?, Seen::Plain(now) if now == *old) {
            return Err(self.changing());
        }
        renameat(&self.folder, waiting, &self.folder, &self.name).map_err(|error| self.cannot_write(error))
    }

    /// Removes the file, if it is `old`.
    fn take_away(&self, old: &Kept) -> Result<(), HandError> {
        let waiting = self.waiting();
        let aside = |from: &OsStr, to: &OsStr| match renameat_with(
            &self.folder,
            from,
            &self.folder,
            to,
            RenameFlags::NOREPLACE,
        ) {
            Err(Errno::INVAL) => renameat(&self.folder, from, &self.folder, to),
            moved => moved,
        };
        aside(&self.name, &waiting).map_err(|error| self.cannot_write(error))?;
        if matches!(self.look_at(&waiting), Ok(Seen::Plain(out)) if out == *old) {
            let removed = unlinkat(&self.folder, &waiting, AtFlags::empty());
            return removed.map_err(|_| self.lies_aside(&waiting)).and_then(|()| self.made_durable());
        }
        aside(&waiting, &self.name).map_err(|_| self.lies_aside(&waiting))?;
        Err(self.changing())
    }

    fn lies_aside(&self, waiting: &OsStr) -> HandError {
        HandError::Unsure {
            what: format!("what was `{}` lies beside it as `{}`", self.shown(), waiting.to_string_lossy()),
        }
    }

    fn made_durable(&self) -> Result<(), HandError> {
        rustix::fs::fsync(&self.folder).map_err(|error| HandError::Unsure {
            what: format!("`{}` was written, but not onto the disk: {}", self.shown(), std::io::Error::from(error)),
        })
    }

    fn cannot_write(&self, error: Errno) -> HandError {
        let hint = match error {
            Errno::PERM | Errno::ACCESS => {
                "; it may be immutable (see `lsattr`, mend with `chattr -i`), or Guardian has to run as root"
            }
            Errno::BUSY => "; something is mounted there",
            Errno::NOSPC | Errno::DQUOT => "; the disk is full",
            Errno::ROFS => "; the file system is mounted for reading only",
            _ => "",
        };
        let what = format!("cannot replace `{}`: {}; it is as it was{hint}", self.shown(), std::io::Error::from(error));
        HandError::Failed { what }
    }
}
