//! Which files a step would take, oldest first. Changes nothing.
//!
//! Bounded in every direction, because the folder may belong to whoever wants to keep the host busy: so many files are
//! taken per call, so many names looked at, so many folders deep, and no longer than half of what is left of the call. What
//! is cut off is looked at again by the next call. Left out: links, pipes and devices; other file systems; names that are
//! not UTF-8; the hand's own files; for what is to be put back also files with a second name and set-user-id programs,
//! which would come back as something else.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::folder::{Folder, Mark, OURS, cannot_open, is_file, occupied};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::inventory::Files;

/// Files per call: their undo material fits the journal, and a person can still read what was done.
const MOST: usize = 10_000;
/// Names looked at per call: on a slow disk some seconds.
const NAMES: usize = 500_000;
/// Folders below the folder of a step: deeper trees are an application's own, not logs.
pub(super) const DEEPEST: usize = 8;
/// The undo journal takes 4 MiB a step; this leaves room for what stands around the files.
const UNDO_BYTES: usize = 3_500_000;
/// What one file takes there beside its path and its name in the trash, which is hardly longer than its path.
const UNDO_BYTES_EACH: usize = 260;
/// What is compressed already.
const COMPRESSED: [&str; 7] = [".gz", ".xz", ".zst", ".bz2", ".lz4", ".zip", ".7z"];

/// A file that a step would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Below the storage's path.
    pub(super) path: String,
    pub(super) mark: Mark,
    /// Bytes on the disk that come back with it.
    pub(super) occupied: u64,
}

/// What will become of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Compress,
    Trash,
    Purge,
}

/// A walk through the folders of a storage, for one call.
pub(super) struct Walk<'a> {
    root: &'a Folder,
    now: Duration,
    deadline: Deadline,
    /// The walk ends when no more than this is left of the call.
    reserve: Duration,
    files: usize,
    names: usize,
    bytes: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Folder, deadline: Deadline) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let reserve = deadline.remaining() / 2;
        Self { root, now, deadline, reserve, files: MOST, names: NAMES, bytes: UNDO_BYTES }
    }

    /// The files that a step would take.
    pub(super) fn find(&mut self, step: &Files, fate: Fate) -> Result<Vec<Found>, HandError> {
        let mut found = Vec::new();
        let mut folders = vec![(step.folder.to_string_lossy().into_owned(), 0_usize)];
        while let Some((path, depth)) = folders.pop() {
            if self.names == 0 || self.deadline.remaining() <= self.reserve {
                tracing::warn!("not all of `{}` was looked at; the next call goes on", step.folder.display());
                break;
            }
            let folder = match self.root.below(Path::new(&path)) {
                Ok(folder) => folder,
                // Nothing of ours lies there: it went, it was replaced, or something is mounted on it.
                Err(error @ (Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV)) => {
                    if depth == 0 {
                        tracing::warn!("the folder `{path}` of a step was left out: {}", std::io::Error::from(error));
                    }
                    continue;
                }
                Err(error) => return Err(cannot_open(Path::new(&path), error)),
            };
            self.read(&folder, &path, step, fate, &mut found, &mut |below| {
                if depth < DEEPEST {
                    folders.push((below, depth + 1));
                }
            })?;
        }
        Ok(self.oldest(found))
    }

    fn read(
        &mut self,
        folder: &Folder,
        path: &str,
        step: &Files,
        fate: Fate,
        found: &mut Vec<Found>,
        enter: &mut dyn FnMut(String),
    ) -> Result<(), HandError> {
        for entry in Dir::read_from(folder.fd()).map_err(HandError::io("read a folder"))? {
            let entry = entry.map_err(HandError::io("read a folder"))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." || name.starts_with(OURS) {
                continue;
            }
            let Some(left) = self.names.checked_sub(1) else { break };
            self.names = left;
            let below = || if path == "." { name.to_owned() } else { format!("{path}/{name}") };
            let mut kind = entry.file_type();
            let stat = match kind {
                FileType::Directory => None,
                FileType::RegularFile | FileType::Unknown => folder.look(OsStr::new(name)).ok().flatten(),
                _ => continue,
            };
            if let Some(stat) = &stat {
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            if kind == FileType::Directory {
                enter(below());
                continue;
            }
            let Some(stat) = stat else { continue };
            if matches(&step.matching, name) && self.suits(folder, name, &stat, step, fate) {
                found.push(Found { path: below(), mark: Mark::of(&stat), occupied: freed(&stat) });
                if found.len() >= 2 * MOST {
                    sort(found);
                    found.truncate(MOST);
                }
            }
        }
        Ok(())
    }

    fn suits(&self, folder: &Folder, name: &str, stat: &Stat, step: &Files, fate: Fate) -> bool {
        let mark = Mark::of(stat);
        let changed = Duration::from_secs(u64::try_from(mark.changed.0).unwrap_or(0));
        let old = self.now.checked_sub(changed).is_some_and(|age| age >= step.older_than);
        let comes_back = stat.st_nlink == 1 && mark.mode & 0o7000 == 0;
        let suits = match fate {
            Fate::Purge => true,
            Fate::Trash => comes_back,
            Fate::Compress => comes_back && occupied(stat) > 0 && is_compressible(folder, name),
        };
        is_file(stat) && old && suits
    }

    /// Cut to what is left of this call's bounds.
    fn oldest(&mut self, mut found: Vec<Found>) -> Vec<Found> {
        sort(&mut found);
        let fits = found.iter().take(self.files).take_while(|file| {
            let needs = serde_json::to_string(&file.path).map_or(usize::MAX, |path| 2 * path.len() + UNDO_BYTES_EACH);
            match self.bytes.checked_sub(needs) {
                Some(left) => {
                    self.bytes = left;
                    true
                }
                None => false,
            }
        });
        let fits = fits.count();
        found.truncate(fits);
        self.files -= fits;
        found
    }
}

fn sort(found: &mut [Found]) {
    found.sort_by(|one, other| (one.mark.changed, &one.path).cmp(&(other.mark.changed, &other.path)));
}

/// A file with a second name takes no bytes along.
fn freed(stat: &Stat) -> u64 {
    if stat.st_nlink == 1 { occupied(stat) } else { 0 }
}

fn is_compressible(folder: &Folder, name: &str) -> bool {
    let free = |name: &str| matches!(folder.look(OsStr::new(name)), Ok(None));
    !COMPRESSED.iter().any(|ending| name.ends_with(ending)) && name.len() <= 252 && free(&format!("{name}.gz"))
}

/// Whether a name fits a pattern of `*` and `?`, as `find -name` reads it. Takes at most pattern times name steps.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and the first character that it does not cover yet.
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == letter => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, covered)) = star else { return false };
                star = Some((at, covered + 1));
                p = at + 1;
                n = covered + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_find_means() {
        for (pattern, name, fits) in [
            ("*", "a", true),
            ("*", ".hidden", true),
            ("*.log.*", "app.log.1", true),
            ("*.log.*", "app.log", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("ä?", "äö", true),
            ("a**b", "ab", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        // As many stars as there can be are no trap.
        assert!(!matches(&"*a".repeat(127), &"a".repeat(120)));
    }
}
