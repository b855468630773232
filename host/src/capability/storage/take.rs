//! Taking one file: compressing it, moving it to the trash, removing it.
//!
//! A file is whole in its old form or whole in its new one, whenever the power goes. The new form is written under a
//! waiting name, gets owner, mode and time, is made durable, and only then gets its own name, which nothing may have. Only
//! after that the old form goes, and it too leaves under the eye: it is renamed aside, looked at, and if it is not what was
//! planned (somebody rotated the logs in that instant), it goes back to its name and the new form is removed.
//!
//! Left open: a program that holds the file open for writing and goes on after the last look writes into what is gone. The
//! age that every step asks for is what keeps such files out.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod, fchown, fstat, fstatvfs, futimens};
use rustix::io::Errno;

use super::find::Found;
use super::folder::{Folder, Mark, OURS, is_file, occupied, waiting_name};
use crate::capability::deadline::Deadline;
use crate::model::Digest;

/// What is read at once; between two reads the deadline is looked at.
const CHUNK: usize = 128 * 1024;

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It was taken; so many bytes of the disk came back.
    Freed(u64),
    /// It is as it was: changed since it was planned, or not worth it.
    Skipped,
    /// It is as it was: there is no room for its new form, for now.
    Cramped,
    /// It is as it was, and time is up.
    Late,
}

/// Why a new form was not made.
pub(super) enum Stopped {
    Late,
    Error(Errno),
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Error(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// The folder and the name of a path below the storage's path.
pub(super) fn parts(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// The name under which a file waits aside before it is removed.
pub(super) fn aside_name(path: &str) -> String {
    format!("{OURS}{}.old", Digest::of(path.as_bytes()).short())
}

/// Compresses a file into `NAME.gz` beside it.
pub(super) fn compress(folder: &Folder, file: &Found, deadline: Deadline) -> Result<Took, Errno> {
    let (_, name) = parts(&file.path);
    let Some((mut from, stat)) = planned(folder, name, &file.mark)? else { return Ok(Took::Skipped) };
    let new = format!("{name}.gz");
    if folder.look(OsStr::new(&new))?.is_some() {
        return Ok(Took::Skipped);
    }
    if free(folder)? < file.mark.size {
        return Ok(Took::Cramped);
    }
    let waiting = waiting_name(&file.path);
    let made = make(folder, &waiting, &file.mark, 0o777, |to| {
        let mut gzip = GzEncoder::new(to, Compression::default());
        copy(&mut from, &mut gzip, deadline)?;
        gzip.finish()?;
        Ok(())
    });
    let size = match made {
        Ok(made) => occupied(&made),
        Err(stopped) => return gave_up(folder, &waiting, stopped),
    };
    let worth = size < occupied(&stat) && fstat(&from).is_ok_and(|now| file.mark.is(&now));
    if !worth || !named(folder, &waiting, &new)? {
        folder.unlink(OsStr::new(&waiting))?;
        return Ok(Took::Skipped);
    }
    folder.sync()?;
    if !remove(folder, file)? {
        folder.unlink(OsStr::new(&new))?;
        return Ok(Took::Skipped);
    }
    folder.sync()?;
    Ok(Took::Freed(occupied(&stat).saturating_sub(size)))
}

/// Moves a file to the trash, under a name of its own.
pub(super) fn trash(
    folder: &Folder,
    file: &Found,
    trash: &Folder,
    new: &str,
    deadline: Deadline,
) -> Result<Took, Errno> {
    let (_, name) = parts(&file.path);
    let Some((mut from, stat)) = planned(folder, name, &file.mark)? else { return Ok(Took::Skipped) };
    if free(trash)? < file.mark.size {
        return Ok(Took::Cramped);
    }
    let waiting = waiting_name(&file.path);
    let made = make(trash, &waiting, &file.mark, 0o777, |to| copy(&mut from, to, deadline));
    let made = match made {
        Ok(made) => made,
        Err(stopped) => return gave_up(trash, &waiting, stopped),
    };
    let whole = u64::try_from(made.st_size) == Ok(file.mark.size) && fstat(&from).is_ok_and(|now| file.mark.is(&now));
    if !whole || !named(trash, &waiting, new)? {
        trash.unlink(OsStr::new(&waiting))?;
        return Ok(Took::Skipped);
    }
    trash.sync()?;
    if !remove(folder, file)? {
        trash.unlink(OsStr::new(new))?;
        return Ok(Took::Skipped);
    }
    folder.sync()?;
    Ok(Took::Freed(occupied(&stat)))
}

/// Removes a file for good.
pub(super) fn purge(folder: &Folder, file: &Found) -> Result<Took, Errno> {
    Ok(if remove(folder, file)? { Took::Freed(file.occupied) } else { Took::Skipped })
}

/// Opens a file, if it is still the one that was planned.
fn planned(folder: &Folder, name: &str, mark: &Mark) -> Result<Option<(File, rustix::fs::Stat)>, Errno> {
    let opened = folder.read(OsStr::new(name))?;
    Ok(opened.filter(|(_, stat)| mark.is(stat) && stat.st_nlink == 1))
}

/// Bytes that are free for others than root: what is kept back for root stays with root.
fn free(folder: &Folder) -> Result<u64, Errno> {
    let seen = fstatvfs(folder.fd())?;
    Ok(seen.f_bavail.saturating_mul(seen.f_frsize))
}

/// Writes a new file under a waiting name, with owner, mode and time, and makes it durable.
pub(super) fn make(
    folder: &Folder,
    waiting: &str,
    mark: &Mark,
    mode: u32,
    write: impl FnOnce(&mut File) -> Result<(), Stopped>,
) -> Result<rustix::fs::Stat, Stopped> {
    // What a Guardian that was killed has left. Whatever has that name was made by one, or by whoever wants to be in the way.
    folder.unlink(OsStr::new(waiting))?;
    let fd = folder.open_at(OsStr::new(waiting), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    let mut file = File::from(fd);
    write(&mut file)?;
    dress(&file, mark, mode)?;
    file.sync_all()?;
    Ok(fstat(&file)?)
}

fn dress(file: &File, mark: &Mark, mode: u32) -> Result<(), Errno> {
    let now = fstat(file.as_fd())?;
    if (now.st_uid, now.st_gid) != (mark.uid, mark.gid) {
        fchown(file, Some(Uid::from_raw(mark.uid)), Some(Gid::from_raw(mark.gid)))?;
    }
    // After the owner, whose change takes bits away.
    fchmod(file, Mode::from_raw_mode(mark.mode & mode))?;
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let changed = Timespec { tv_sec: mark.changed.0, tv_nsec: mark.changed.1 };
    futimens(file, &Timestamps { last_access: omit, last_modification: changed })
}

/// Copies to the end, in time.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, deadline: Deadline) -> Result<(), Stopped> {
    let mut chunk = vec![0; CHUNK];
    loop {
        if deadline.passed() {
            return Err(Stopped::Late);
        }
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        to.write_all(chunk.get(..read).unwrap_or_default())?;
    }
}

/// Gives the waiting file its name. False if something has it.
pub(super) fn named(folder: &Folder, waiting: &str, name: &str) -> Result<bool, Errno> {
    match folder.rename(OsStr::new(waiting), OsStr::new(name)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// After a new form was not made: nothing is left of it. No room and no time are no errors.
fn gave_up(folder: &Folder, waiting: &str, stopped: Stopped) -> Result<Took, Errno> {
    let cleared = folder.unlink(OsStr::new(waiting));
    match stopped {
        Stopped::Late => cleared.map(|()| Took::Late),
        // A folder that somebody put under the waiting name: this file is left alone.
        Stopped::Error(Errno::NOSPC | Errno::DQUOT) => cleared.map(|()| Took::Cramped),
        Stopped::Error(Errno::ISDIR | Errno::EXIST) => Ok(Took::Skipped),
        Stopped::Error(error) => Err(error),
    }
}

/// Removes a file, if it is still the one that was planned; otherwise it keeps its name, and the answer is false.
fn remove(folder: &Folder, file: &Found) -> Result<bool, Errno> {
    let (_, name) = parts(&file.path);
    let (name, aside) = (OsStr::new(name), aside_name(&file.path));
    let aside = OsStr::new(&aside);
    let is_planned = |name: &OsStr| match folder.open_at(name, OFlags::PATH) {
        Ok(held) => fstat(&held).map(|stat| is_file(&stat) && file.mark.is(&stat)),
        Err(Errno::NOENT | Errno::XDEV | Errno::LOOP) => Ok(false),
        Err(error) => Err(error),
    };
    if !is_planned(name)? {
        return Ok(false);
    }
    match folder.rename(name, aside) {
        Ok(()) => {}
        // Gone, mounted on, or an earlier one waits there: nothing that may be removed.
        Err(Errno::NOENT | Errno::BUSY | Errno::EXIST) => return Ok(false),
        Err(error) => return Err(error),
    }
    if is_planned(aside)? {
        folder.unlink(aside)?;
        return Ok(true);
    }
    // Somebody's new file, caught in the instant: it gets its name back.
    folder.rename(aside, name)?;
    Ok(false)
}
