//! What was planned, whether it happened, and putting it back.
//!
//! The undo material is the plan itself: every file that may be taken, by what it is known by, and the name of its other
//! form. Which of them were taken is not written down while it happens; the disk says it. So a Guardian that was killed
//! anywhere knows as much as one that was not: where the other form is there and the file is not, the file is made again
//! from it, whole, with owner, mode and time, and only then the other form goes. Doing it twice is doing it once.
//!
//! Whose a form is matters more than its name: the folder may belong to the service, and a file that is put back gets the
//! owner and the mode of the old one. So a form that is not as it was left (owner, mode, time, one name only) is not put
//! back, and neither is anything written over what has the name by now. Both stay, and a person is told.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use rustix::fs::Stat;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::take::{Stopped, aside_name, copy, make, named, parts};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::capability::folder::{Folder, is_file, shown, waiting_name};

/// What puts an act on storage back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageUndo {
    /// The inode of the storage's folder. Not its device: that number may be another one after a reboot.
    pub(super) root: u64,
    /// The inode of the trash, if something was to be moved there.
    pub(super) trash: Option<u64>,
    /// The files that may have been taken.
    pub(super) items: Vec<Item>,
}

/// One file that may have been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    pub(super) path: String,
    pub(super) mark: Mark,
    pub(super) form: Form,
}

/// The other form of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// `NAME.gz` beside it.
    Compressed,
    /// In the trash, under this name.
    Trash(String),
}

/// The folders of an act, open.
pub(super) struct Place<'a> {
    pub(super) root: &'a Folder,
    pub(super) trash: Option<&'a Folder>,
}

/// What is known of one item when it was to be put back.
enum Back {
    /// It is there.
    There,
    /// It is not, and why.
    Left(String),
}

/// The folder and the name of an item's other form.
struct Other<'a> {
    folder: &'a Folder,
    name: String,
}

impl Place<'_> {
    fn other<'f>(&'f self, item: &Item, folder: &'f Folder) -> Option<Other<'f>> {
        let (_, name) = parts(&item.path);
        match &item.form {
            Form::Compressed => Some(Other { folder, name: format!("{name}.gz") }),
            Form::Trash(name) => self.trash.map(|folder| Other { folder, name: name.clone() }),
        }
    }

    /// Whether anything was done to the item: its other form is there, or something of the hand's own waits.
    pub(super) fn begun(&self, item: &Item) -> Result<bool, Errno> {
        let waiting = waiting_name(OsStr::new(&item.path));
        let in_trash = |name: &str| self.trash.map_or(Ok(false), |trash| Ok(trash.look(OsStr::new(name))?.is_some()));
        if let Form::Trash(name) = &item.form
            && (in_trash(name)? || in_trash(&waiting)?)
        {
            return Ok(true);
        }
        let Some(folder) = self.folder(item)? else { return Ok(false) };
        let there = |name: &str| folder.look(OsStr::new(name)).map(|stat| stat.is_some());
        if there(&waiting)? || there(&aside_name(&item.path))? {
            return Ok(true);
        }
        let (_, name) = parts(&item.path);
        Ok(item.form == Form::Compressed && there(&format!("{name}.gz"))?)
    }

    /// The folder of an item; none if it is not there any more.
    fn folder(&self, item: &Item) -> Result<Option<Folder>, Errno> {
        match self.root.below(Path::new(parts(&item.path).0)) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts every item back, and says which are not.
    pub(super) fn put_back(&self, items: &[Item], deadline: Deadline) -> Result<(), HandError> {
        let mut left = Vec::new();
        let mut late = 0_usize;
        // Backwards: what was planned twice is there again before its first plan is looked at.
        for item in items.iter().rev() {
            if deadline.passed() {
                late += 1;
                continue;
            }
            match self.put_item_back(item, deadline) {
                Ok(Back::There) => {}
                Ok(Back::Left(why)) => left.push(why),
                Err(Stopped::Late) => late += 1,
                Err(Stopped::Error(error)) => {
                    let why = std::io::Error::from(error);
                    left.push(format!("`{}` was not put back: {why}", shown(Path::new(&item.path))));
                }
            }
        }
        if late > 0 {
            left.insert(0, format!("time was up before {late} files were looked at; put back once more"));
        }
        if left.is_empty() {
            return Ok(());
        }
        // The first few say what kind of trouble it is; all of them would fill a record.
        let more = left.len().saturating_sub(SHOWN);
        let mut what = left.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
        if more > 0 {
            what.push_str(&format!("; and {more} more"));
        }
        Err(HandError::Failed { what })
    }

    fn put_item_back(&self, item: &Item, deadline: Deadline) -> Result<Back, Stopped> {
        let path = shown(Path::new(&item.path));
        let waiting = waiting_name(OsStr::new(&item.path));
        if let (Form::Trash(_), Some(trash)) = (&item.form, self.trash) {
            trash.unlink(OsStr::new(&waiting))?;
        }
        let Some(folder) = self.folder(item)? else {
            return Ok(Back::Left(format!("the folder of `{path}` is not there any more")));
        };
        folder.unlink(OsStr::new(&waiting))?;
        let (_, name) = parts(&item.path);
        let aside = aside_name(&item.path);
        if folder.look(OsStr::new(&aside))?.is_some() && !named(&folder, &aside, name)? {
            return Ok(Back::Left(format!(
                "`{path}` has something new in it; the old one lies beside it as `{aside}`"
            )));
        }
        let Some(other) = self.other(item, &folder) else {
            return Ok(Back::Left(format!("the trash that `{path}` may be in is not there")));
        };
        let Some((from, stat)) = other.folder.read(OsStr::new(&other.name))? else { return Ok(Back::There) };
        if !as_left(item, &stat) {
            let why = "was changed since; neither was touched";
            return Ok(Back::Left(format!("`{}`, the other form of `{path}`, {why}", other.name)));
        }
        let mut from = content(item, from);
        match folder.read(OsStr::new(name))? {
            Some((there, _)) if same(&mut &there, &mut from, deadline)? => {}
            Some(_) => return Ok(Back::Left(new_there(&path, &other.name))),
            None if folder.look(OsStr::new(name))?.is_some() => return Ok(Back::Left(new_there(&path, &other.name))),
            None => {
                if let Some(why) = restore(&folder, item, &waiting, from, deadline)? {
                    return Ok(Back::Left(format!("`{path}` {why}; it is still there as `{}`", other.name)));
                }
            }
        }
        other.folder.unlink(OsStr::new(&other.name))?;
        other.folder.sync()?;
        Ok(Back::There)
    }
}

/// As many files as a message names.
const SHOWN: usize = 3;

fn new_there(path: &str, other: &str) -> String {
    format!("`{path}` is something new by now; the old one is still there as `{other}`")
}

/// Whether the other form is as the hand has left it.
fn as_left(item: &Item, stat: &Stat) -> bool {
    let now = Mark::of(stat);
    let was = item.mark;
    let size = item.form == Form::Compressed || now.size == was.size;
    is_file(stat)
        && stat.st_nlink == 1
        && size
        && (now.uid, now.gid, now.mode, now.changed) == (was.uid, was.gid, was.mode & 0o777, was.changed)
}

/// What the file held, read from its other form, and at most a byte more than it had: what was compressed can be made to
/// swell.
fn content(item: &Item, from: std::fs::File) -> Box<dyn Read> {
    let most = item.mark.size.saturating_add(1);
    match item.form {
        Form::Compressed => Box::new(GzDecoder::new(std::io::BufReader::new(from)).take(most)),
        Form::Trash(_) => Box::new(from.take(most)),
    }
}

/// Makes a file again; or says why not.
fn restore(
    folder: &Folder,
    item: &Item,
    waiting: &str,
    mut from: Box<dyn Read>,
    deadline: Deadline,
) -> Result<Option<String>, Stopped> {
    let made = make(folder, waiting, &item.mark, 0o7777, |to| copy(&mut from, to, deadline));
    let size = match made {
        Ok(stat) => u64::try_from(stat.st_size).unwrap_or(0),
        Err(stopped) => {
            folder.unlink(OsStr::new(waiting))?;
            return match stopped {
                Stopped::Error(Errno::NOSPC | Errno::DQUOT) => {
                    Ok(Some("was not put back: the disk is full".to_owned()))
                }
                stopped => Err(stopped),
            };
        }
    };
    let name = parts(&item.path).1;
    if size != item.mark.size {
        folder.unlink(OsStr::new(waiting))?;
        return Ok(Some("was not put back: its other form does not hold it".to_owned()));
    }
    if !named(folder, waiting, name)? {
        folder.unlink(OsStr::new(waiting))?;
        return Ok(Some("is something new by now".to_owned()));
    }
    folder.sync()?;
    Ok(None)
}

/// Whether two hold the same.
fn same(one: &mut dyn Read, other: &mut dyn Read, deadline: Deadline) -> Result<bool, Stopped> {
    let mut compare = Compare { other, same: true };
    match copy(one, &mut compare, deadline) {
        Err(Stopped::Error(_)) if !compare.same => return Ok(false),
        copied => copied?,
    }
    // Nothing may be left of the other.
    Ok(compare.same && compare.other.read(&mut [0])? == 0)
}

/// A sink that compares what it is given with what it reads.
struct Compare<'a> {
    other: &'a mut dyn Read,
    same: bool,
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut read = vec![0; bytes.len()];
        self.same = self.other.read_exact(&mut read).is_ok() && read == bytes;
        if self.same { Ok(bytes.len()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
