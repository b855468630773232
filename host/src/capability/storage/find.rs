//! Which files a step would take, and in which order. Changes nothing.
//!
//! Bounded in every direction, because the folder may belong to whoever wants to keep the host busy: so many files are
//! taken per call, so many names looked at, so many folders deep, and no longer than half of what is left of the call. What
//! is cut off is looked at again by the next call. Left out, and named as such ([`left`](super::left)): links, pipes, devices
//! and names that are not UTF-8, if they look like what a step takes; what cannot be looked at. Left out in silence: other file
//! systems; the hand's own files; for what is to be put back also files with a second name and set-user-id programs, which
//! would come back as something else.
//!
//! A bound is also a lever: whoever owns the folder can spend all of it, with thousands of tiny files whose time says that
//! they are the oldest, so that the large ones are never reached. So no step can spend what the next one needs, no folder
//! what its neighbour needs, and where bytes are missing the files that matter come first ([`Rank`]), the oldest of them
//! first: so many that they make enough room have a place in every plan.

use std::borrow::Cow;
use std::collections::{BinaryHeap, VecDeque};
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::left::LeftOver;
use super::mark::{Mark, occupied};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::capability::folder::{Folder, OURS, cannot_open, is_file};
use crate::inventory::Files;

/// Files per call: their undo material fits the journal, and a person can still read what was done.
const MOST: usize = 10_000;
/// Names looked at per call: on a slow disk some seconds.
const NAMES: usize = 1_000_000;
/// Names between two looks at the clock.
const NAMES_AT_ONCE: usize = 256;
/// Bytes of the paths of folders that wait for their turn: hundreds of thousands of folders as people name them.
const WAITING: usize = 16 * 1024 * 1024;
/// Folders below the folder of a step: deeper trees are an application's own, not logs.
pub(super) const DEEPEST: usize = 8;
/// The undo journal takes 4 MiB a step; this leaves room for what stands around the files.
const UNDO_BYTES: usize = 3_500_000;
/// What one file takes there beside its path and its name in the trash, which is hardly longer than its path.
const UNDO_BYTES_EACH: usize = 260;
/// The longest path there, in bytes of JSON: with longer ones a few files would fill the journal.
const LONGEST_PATH: usize = 1_024;
/// So many files of the first rank make enough room, whatever else lies in the folder; shared among the steps, because each
/// has only its share of a plan.
const ENOUGH: u64 = 1_000;
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

/// How much a file is worth to whoever needs room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It gives back its share of the bytes that are missing.
    Matters,
    /// It gives back an inode, and few bytes or none that are missing.
    Small,
    /// It gives back nothing: it has a second name.
    Nothing,
}

/// A file in the order in which files are taken.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    rank: Rank,
    found: Found,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |of: &Self| (of.rank, of.found.mark.changed);
        key(self).cmp(&key(other)).then_with(|| self.found.path.cmp(&other.found.path))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The best candidates of a step; the last of them goes when a better one comes.
struct Best {
    most: usize,
    heap: BinaryHeap<Candidate>,
}

impl Best {
    fn add(&mut self, candidate: Candidate) {
        self.heap.push(candidate);
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }
}

/// A walk through the folders of a storage, for one call.
pub(super) struct Walk<'a> {
    root: &'a Folder,
    now: Duration,
    deadline: Deadline,
    /// The walk ends when no more than this is left of the call.
    reserve: Duration,
    /// Bytes that a file must give back to matter; none: no bytes are missing.
    matters: Option<u64>,
    /// Steps that are still to be walked; what is left of each bound is shared among them.
    steps: usize,
    files: usize,
    names: usize,
    bytes: usize,
    /// What could not be looked at.
    pub(super) left: LeftOver,
}

/// What lies at a name.
enum What {
    File(Stat),
    Folder,
    Other(FileType),
    /// Nothing, or nothing that can be looked at.
    Gone,
}

/// What one step may spend.
struct Share {
    names: usize,
    /// The step's walk ends when no more than this is left of the call.
    reserve: Duration,
}

impl<'a> Walk<'a> {
    /// A walk for so many steps, where so many bytes are missing.
    pub(super) fn new(root: &'a Folder, missing: u64, steps: usize, deadline: Deadline) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let reserve = deadline.remaining() / 2;
        let enough = (ENOUGH / u64::try_from(steps).unwrap_or(u64::MAX).max(1)).max(1);
        let matters = (missing > 0).then(|| (missing / enough).max(1));
        let (files, names, bytes) = (MOST, NAMES, UNDO_BYTES);
        Self { root, now, deadline, reserve, matters, steps, files, names, bytes, left: LeftOver::default() }
    }

    /// The files that a step would take, in the order in which they are taken.
    pub(super) fn find(&mut self, step: &Files, fate: Fate) -> Vec<Found> {
        let steps = self.steps.max(1);
        self.steps = steps - 1;
        let time = self.deadline.remaining().saturating_sub(self.reserve);
        let others = time - time / u32::try_from(steps).unwrap_or(u32::MAX);
        let mut share = Share { names: self.names / steps, reserve: self.reserve + others };
        let whole = share.names;
        let mut best = Best { most: self.files / steps, heap: BinaryHeap::new() };
        // Folders near the top first, each in its turn: a deep tree is no way to keep the walk from its neighbours.
        let mut folders = VecDeque::from([(step.folder.to_string_lossy().into_owned(), 0_usize)]);
        let mut waiting = 0;
        while let Some((path, depth)) = folders.pop_front() {
            waiting -= if depth == 0 { 0 } else { path.len() };
            if share.names == 0 || self.deadline.remaining() <= share.reserve {
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
                Err(error) => {
                    self.left.fault(&path, cannot_open(Path::new(&path), error).to_string());
                    continue;
                }
            };
            // Like names: a folder takes no more than half of what is left.
            let most = waiting + (WAITING - waiting) / 2;
            let read = self.read(&folder, &path, (step, fate), &mut share, &mut best, &mut |below| {
                if depth < DEEPEST && waiting + below.len() <= most {
                    waiting += below.len();
                    folders.push_back((below, depth + 1));
                }
            });
            if let Err(error) = read {
                self.left.fault(&path, error.to_string());
            }
        }
        self.names -= whole - share.names;
        self.fitting(best, steps)
    }

    /// Looks at the names in a folder, and at no more than half of those that the step may still look at.
    fn read(
        &mut self,
        folder: &Folder,
        path: &str,
        (step, fate): (&Files, Fate),
        share: &mut Share,
        best: &mut Best,
        enter: &mut dyn FnMut(String),
    ) -> Result<(), HandError> {
        let rest = share.names / 2;
        for entry in Dir::read_from(folder).map_err(HandError::io("read a folder"))? {
            let entry = entry.map_err(HandError::io("read a folder"))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let late = share.names.is_multiple_of(NAMES_AT_ONCE) && self.deadline.remaining() <= share.reserve;
            if share.names <= rest || late {
                tracing::warn!("not all of the folder `{}` was looked at", crate::model::escape(path));
                break;
            }
            share.names -= 1;
            if name.starts_with(OURS.as_bytes()) {
                continue;
            }
            let name = String::from_utf8_lossy(name);
            let below = if path == "." { name.to_string() } else { format!("{path}/{name}") };
            let what = match (entry.file_type(), &name) {
                (FileType::RegularFile | FileType::Directory | FileType::Unknown, Cow::Owned(_)) => {
                    self.note_if(step, &name, &below, "has a name that is not UTF-8");
                    continue;
                }
                (FileType::Directory, _) => What::Folder,
                (FileType::RegularFile | FileType::Unknown, _) => self.look(folder, &name, &below),
                (kind, _) => What::Other(kind),
            };
            match what {
                What::Gone => {}
                What::Folder => enter(below),
                What::Other(kind) => self.note_if(step, &name, &below, is_a(kind)),
                What::File(stat) if matches(&step.matching, &name) && self.suits(folder, &name, &stat, step, fate) => {
                    if in_the_journal(&below) > LONGEST_PATH {
                        self.left.note(&below, "has too long a path for the undo journal");
                        continue;
                    }
                    let found = Found { path: below, mark: Mark::of(&stat), occupied: freed(&stat) };
                    best.add(Candidate { rank: self.rank(&stat), found });
                }
                What::File(_) => {}
            }
        }
        Ok(())
    }

    /// What lies at a name in a folder.
    fn look(&mut self, folder: &Folder, name: &str, path: &str) -> What {
        match folder.look(OsStr::new(name)) {
            Ok(Some(stat)) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => What::File(stat),
                FileType::Directory => What::Folder,
                kind => What::Other(kind),
            },
            Ok(None) => What::Gone,
            Err(error) => {
                self.left.fault(path, std::io::Error::from(error).to_string());
                What::Gone
            }
        }
    }

    /// Names what a step would have taken if it were a file.
    fn note_if(&mut self, step: &Files, name: &str, path: &str, why: &str) {
        if matches(&step.matching, name) {
            self.left.note(path, why);
        }
    }

    fn rank(&self, stat: &Stat) -> Rank {
        match self.matters {
            _ if stat.st_nlink > 1 => Rank::Nothing,
            Some(bytes) if occupied(stat) >= bytes => Rank::Matters,
            _ => Rank::Small,
        }
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

    /// The best of them, cut to the step's share of the journal.
    fn fitting(&mut self, best: Best, steps: usize) -> Vec<Found> {
        let whole = self.bytes / steps;
        let mut room = whole;
        let fits = best.heap.into_sorted_vec().into_iter().map(|candidate| candidate.found).take_while(|found| {
            match room.checked_sub(2 * in_the_journal(&found.path) + UNDO_BYTES_EACH) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            }
        });
        let fits: Vec<Found> = fits.collect();
        self.bytes -= whole - room;
        self.files -= fits.len();
        fits
    }
}

fn is_a(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "is a link",
        FileType::Fifo => "is a pipe",
        FileType::Socket => "is a socket",
        _ => "is a device",
    }
}

/// How long a path is in the undo journal, in bytes.
fn in_the_journal(path: &str) -> usize {
    serde_json::to_string(path).map_or(usize::MAX / 4, |path| path.len())
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
