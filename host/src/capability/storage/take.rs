//! Taking one file: compressing it, moving it to the trash, removing it.
//!
//! A file is whole in its old form or whole in its new one, whenever the power goes. The new form is written under a
//! waiting name, gets owner, mode and time, is made durable, and only then gets its own name, which nothing may have. Only
//! after that the old form goes, and it too leaves under the eye: it is renamed aside, looked at, and if it is not what was
//! planned (somebody rotated the logs in that instant), it goes back to its name and the new form is removed. So is it if the
//! old form cannot be removed: a file that is immutable, or mounted on, stays as it was.
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
use super::mark::{Mark, occupied};
use crate::capability::deadline::Deadline;
use crate::capability::folder::{Folder, OURS, is_file, waiting_name};
use crate::model::Digest;

/// What is read at once; between two reads the deadline is looked at.
const CHUNK: usize = 128 * 1024;

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It was taken; so many bytes of the disk came back.
    Freed(u64),
    /// It is left, for this reason: changed since it was planned, or not worth it.
    Left(&'static str),
    /// It is as it was: there is no room for its new form, for now.
    Cramped,
    /// It is as it was, and time is up.
    Late,
}

/// Why a file could not be taken, and whether it is worth going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It lies with this file; the others may do.
    File(Errno),
    /// Its folder keeps what the hand has made there; whatever else is begun in it would lie there as well.
    Folder(Errno),
    /// It lies with the file system, or with this process: nothing else will do either.
    System(Errno),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::System(error),
            _ => Self::File(error),
        }
    }
}

/// The file is not the one that was planned.
pub(super) const CHANGED: &str = "was changed since it was planned";
/// Whoever owns the folder took the name that the hand needs.
const IN_THE_WAY: &str = "something has the name that its new form needs";

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
pub(super) fn compress(folder: &Folder, file: &Found, deadline: Deadline) -> Result<Took, Fault> {
    let (_, name) = parts(&file.path);
    let Some((mut from, stat)) = planned(folder, name, &file.mark)? else { return Ok(Took::Left(CHANGED)) };
    let new = format!("{name}.gz");
    if folder.look(OsStr::new(&new))?.is_some() {
        return Ok(Took::Left(IN_THE_WAY));
    }
    if free(folder)? < file.mark.size {
        return Ok(Took::Cramped);
    }
    let waiting = waiting_name(OsStr::new(&file.path));
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
    let why = if size >= occupied(&stat) {
        Some("would not get smaller")
    } else {
        (!fstat(&from).is_ok_and(|now| file.mark.is(&now))).then_some(CHANGED)
    };
    let took = settle(folder, file, (folder, &waiting, &new), why)?;
    Ok(took.unwrap_or_else(|| Took::Freed(occupied(&stat).saturating_sub(size))))
}

/// Moves a file to the trash, under a name of its own.
pub(super) fn trash(
    folder: &Folder,
    file: &Found,
    trash: &Folder,
    new: &str,
    deadline: Deadline,
) -> Result<Took, Fault> {
    let (_, name) = parts(&file.path);
    let Some((mut from, stat)) = planned(folder, name, &file.mark)? else { return Ok(Took::Left(CHANGED)) };
    if free(trash)? < file.mark.size {
        return Ok(Took::Cramped);
    }
    let waiting = waiting_name(OsStr::new(&file.path));
    let made = make(trash, &waiting, &file.mark, 0o777, |to| copy(&mut from, to, deadline));
    let made = match made {
        Ok(made) => made,
        Err(stopped) => return gave_up(trash, &waiting, stopped),
    };
    let whole = u64::try_from(made.st_size) == Ok(file.mark.size) && fstat(&from).is_ok_and(|now| file.mark.is(&now));
    let took = settle(folder, file, (trash, &waiting, new), (!whole).then_some(CHANGED))?;
    Ok(took.unwrap_or_else(|| Took::Freed(occupied(&stat))))
}

/// Removes a file for good.
pub(super) fn purge(folder: &Folder, file: &Found) -> Result<Took, Fault> {
    Ok(match remove(folder, file)? {
        None => Took::Freed(file.occupied),
        Some(why) => Took::Left(why),
    })
}

/// Gives the new form its name and removes the old one, unless there is a reason why not; then the new form goes. None: it
/// is taken.
fn settle(
    folder: &Folder,
    file: &Found,
    (place, waiting, new): (&Folder, &str, &str),
    why: Option<&'static str>,
) -> Result<Option<Took>, Fault> {
    let named = if why.is_some() { Ok(false) } else { named(place, waiting, new) };
    if !matches!(named, Ok(true)) {
        clear(place, waiting)?;
        named?;
        return Ok(Some(Took::Left(why.unwrap_or(IN_THE_WAY))));
    }
    synced(place)?;
    match remove(folder, file) {
        Ok(None) => synced(folder).map(|()| None),
        // The old form is where it was, or lies aside: in either case whole.
        Ok(Some(why)) => clear(place, new).map(|()| Some(Took::Left(why))),
        Err(fault) => clear(place, new).and(Err(fault)),
    }
}

fn synced(folder: &Folder) -> Result<(), Fault> {
    folder.sync().map_err(Fault::System)
}

/// Removes what the hand itself has made.
fn clear(folder: &Folder, name: &str) -> Result<(), Fault> {
    match folder.unlink(OsStr::new(name)) {
        // A folder that somebody put in its place is not the hand's.
        Ok(()) | Err(Errno::ISDIR) => Ok(()),
        Err(error) => Err(match Fault::from(error) {
            Fault::File(error) => Fault::Folder(error),
            fault => fault,
        }),
    }
}

/// Opens a file, if it is still the one that was planned.
fn planned(folder: &Folder, name: &str, mark: &Mark) -> Result<Option<(File, rustix::fs::Stat)>, Errno> {
    let opened = folder.read(OsStr::new(name))?;
    Ok(opened.filter(|(_, stat)| mark.is(stat) && stat.st_nlink == 1))
}

/// Bytes that are free for others than root: what is kept back for root stays with root.
fn free(folder: &Folder) -> Result<u64, Errno> {
    let seen = fstatvfs(folder)?;
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

/// After a new form was not made: nothing is left of it. No room and no time are no faults.
fn gave_up(folder: &Folder, waiting: &str, stopped: Stopped) -> Result<Took, Fault> {
    if let Stopped::Error(Errno::ISDIR | Errno::EXIST) = stopped {
        return Ok(Took::Left(IN_THE_WAY));
    }
    clear(folder, waiting)?;
    match stopped {
        Stopped::Late => Ok(Took::Late),
        Stopped::Error(Errno::NOSPC | Errno::DQUOT) => Ok(Took::Cramped),
        Stopped::Error(error) => Err(error.into()),
    }
}

/// Removes a file, if it is still the one that was planned; otherwise it keeps its name, and the answer is why.
fn remove(folder: &Folder, file: &Found) -> Result<Option<&'static str>, Fault> {
    let (_, name) = parts(&file.path);
    let (name, aside) = (OsStr::new(name), aside_name(&file.path));
    let aside = OsStr::new(&aside);
    let is_planned = |name: &OsStr| match folder.open_at(name, OFlags::PATH) {
        Ok(held) => fstat(&held).map(|stat| is_file(&stat) && file.mark.is(&stat)),
        Err(Errno::NOENT | Errno::XDEV | Errno::LOOP) => Ok(false),
        Err(error) => Err(error),
    };
    if !is_planned(name)? {
        return Ok(Some(CHANGED));
    }
    match folder.rename(name, aside) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Some(CHANGED)),
        Err(Errno::BUSY) => return Ok(Some("something is mounted on it")),
        Err(Errno::EXIST) => return Ok(Some("an older one lies aside as `.guardian-....old`")),
        Err(error) => return Err(error.into()),
    }
    let kept = match is_planned(aside) {
        Ok(true) => match folder.unlink(aside) {
            Ok(()) => return Ok(None),
            Err(error) => Err(error),
        },
        // Somebody's new file, caught in the instant.
        Ok(false) => Ok(Some(CHANGED)),
        Err(error) => Err(error),
    };
    match folder.rename(aside, name) {
        Ok(()) => Ok(kept?),
        Err(_) => Ok(Some("lies aside as `.guardian-....old`, because something has its name")),
    }
}
