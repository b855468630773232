//! The undo material: kept before the intent, outside the trail.
//!
//! What it takes to put an effect back can say more about a machine than a trail may: so it lies in files of its own,
//! `state/undo/RUN/STEP`, for the owner only, fsynced before the intent that refers to it, and the trail holds only its
//! kind, its place and a keyed digest. It is erased when the run is committed, or when nothing of it is left to put back;
//! what belongs to no run that the trail remembers is swept.
//!
//! A quota keeps playbooks from filling the disk with it, and each has a share of it, so that one of them cannot use up what
//! the others need to act at all. Room is taken before anything is written, and given back with what is erased.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::durable::{DurableError, Folder};
use crate::model::{Digest, PlaybookId, RunId, Timestamp, UndoReference};

/// The material of one step, in bytes: a configuration file of 1 MiB as JSON, or the list of ten thousand files.
const LARGEST: usize = 4 * 1024 * 1024;
/// All of it together, in bytes: a hundred large steps that nobody has looked at yet.
const QUOTA: u64 = 256 * 1024 * 1024;
/// Of that one playbook, in bytes: a quarter, which is sixteen of the largest steps.
const SHARE: u64 = QUOTA / 4;

/// Makes a digest that nobody without the host's key can guess the material from.
pub type KeyedDigest = Arc<dyn Fn(&[u8]) -> Digest + Send + Sync>;

/// The folder of undo material, or nowhere for a plan, which changes nothing.
pub struct UndoJournal {
    folder: Option<Folder>,
    digest: KeyedDigest,
    /// INVARIANT 7: bounded by the quota; an entry leaves with its run.
    kept: Mutex<BTreeMap<RunId, Kept>>,
}

/// What is kept of one run.
#[derive(Debug)]
struct Kept {
    /// None if the records that said so are lost.
    playbook: Option<PlaybookId>,
    /// What was there when this process began, in bytes.
    before: u64,
    /// By step, in bytes.
    steps: BTreeMap<u32, u64>,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.steps.values().fold(self.before, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl std::fmt::Debug for UndoJournal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("UndoJournal").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl UndoJournal {
    /// A journal in `state/undo/`.
    #[must_use]
    pub fn new(folder: Folder, digest: KeyedDigest) -> Self {
        Self { folder: Some(folder), digest, kept: Mutex::default() }
    }

    /// Removes what belongs to none of `runs`: a process ended between keeping it and the intent that refers to it, or the
    /// run is so old that the trail's projection has forgotten it. What is left counts against the quota and the share of the
    /// playbook whose run it is. Runs from before `blind_until` may stand on records that are lost: what is kept for them stays
    /// until a person removes it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, runs: &BTreeMap<RunId, PlaybookId>, blind_until: Timestamp) -> Result<(), DurableError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut kept = BTreeMap::new();
        for name in folder.names()? {
            // What is no run is not ours.
            let Ok(run) = name.parse::<RunId>() else { continue };
            let playbook = runs.get(&run).cloned();
            if playbook.is_none() && run.begun() >= blind_until {
                self.commit(&run)?;
                continue;
            }
            let before = folder.sub(&name)?.size()?;
            kept.insert(run, Kept { playbook, before, steps: BTreeMap::new() });
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }

    /// The digest of something that must not stand on the trail.
    #[must_use]
    pub fn digest(&self, material: &[u8]) -> Digest {
        (self.digest)(material)
    }

    /// A journal for a plan: it names what would be kept, and keeps nothing.
    #[must_use]
    pub fn of_a_plan(digest: KeyedDigest) -> Self {
        Self { folder: None, digest, kept: Mutex::default() }
    }

    /// Keeps the material of one step of a playbook's run, durably, before its intent.
    ///
    /// # Errors
    /// When there is no room for it, or it cannot be written.
    pub(super) fn keep(
        &self,
        playbook: &PlaybookId,
        (run, step): (&RunId, u32),
        kind: &str,
        material: &[u8],
    ) -> Result<UndoReference, String> {
        let length = u64::try_from(material.len()).unwrap_or(u64::MAX);
        if material.len() > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        if let Some(folder) = &self.folder {
            self.reserve(playbook, (run, step), length)?;
            let keep = || folder.make_sub(run.as_str())?.create(&step.to_string(), material);
            keep().map_err(|error| {
                self.give_back(run, step);
                error.to_string()
            })?;
        }
        let reference = format!("{run}/{step}");
        Ok(UndoReference { kind: kind.to_owned(), reference, digest: (self.digest)(material) })
    }

    /// Takes room for one step, or says whose is used up: looking and taking are one act, so that calls at the same moment
    /// do not all find the same room.
    fn reserve(&self, playbook: &PlaybookId, (run, step): (&RunId, u32), length: u64) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: &mut dyn Iterator<Item = &Kept>| of.fold(length, |sum, kept| sum.saturating_add(kept.bytes()));
        let runs = "`guardian status` names the runs they belong to";
        if sum(&mut kept.values().filter(|kept| kept.playbook.as_ref() == Some(playbook))) > SHARE {
            return Err(format!("{} MiB are kept for `{playbook}` already; {runs}", SHARE >> 20));
        }
        if sum(&mut kept.values()) > QUOTA {
            return Err(format!("{} MiB are kept already; {runs}", QUOTA >> 20));
        }
        let own = kept.entry(run.clone());
        let own = own.or_insert_with(|| Kept { playbook: Some(playbook.clone()), before: 0, steps: BTreeMap::new() });
        own.steps.insert(step, length);
        Ok(())
    }

    fn give_back(&self, run: &RunId, step: u32) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = kept.get_mut(run) {
            own.steps.remove(&step);
            if own.bytes() == 0 {
                kept.remove(run);
            }
        }
    }

    /// Reads the material of one step again, and sees that it is what the trail speaks of.
    ///
    /// # Errors
    /// Why not, in one line.
    pub(super) fn load(&self, reference: &UndoReference) -> Result<Vec<u8>, String> {
        let folder = self.folder.as_ref().ok_or("a plan keeps nothing")?;
        let (run, step) = reference.reference.split_once('/').ok_or("its reference is none")?;
        let (run, step): (RunId, u32) = match (run.parse(), step.parse()) {
            (Ok(run), Ok(step)) => (run, step),
            _ => return Err("its reference is none".to_owned()),
        };
        let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        let read = folder.sub(run.as_str()).and_then(|folder| folder.read_bounded(&step.to_string(), limit));
        let bytes = read.map_err(|error| format!("what puts it back is lost: {error}"))?;
        if (self.digest)(&bytes) != reference.digest {
            return Err("what was kept to put it back was changed since".to_owned());
        }
        Ok(bytes)
    }

    /// Erases the material of one step whose intent never became durable.
    pub(super) fn forget(&self, run: &RunId, step: u32) {
        if let Some(Ok(folder)) = self.folder.as_ref().map(|folder| folder.sub(run.as_str())) {
            // An orphan is harmless: nothing on the trail refers to it. What lies there goes on counting.
            if folder.remove(&step.to_string()).is_ok() {
                self.give_back(run, step);
            }
        }
    }

    /// Erases everything of a run that is committed.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn commit(&self, run: &RunId) -> Result<(), DurableError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let material = match folder.sub(run.as_str()) {
            Ok(material) => material,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in material.names()? {
            material.remove(&name)?;
        }
        folder.remove_sub(run.as_str())?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn journal() -> (tempfile::TempDir, UndoJournal) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        (home, UndoJournal::new(folder, Arc::new(Digest::of)))
    }

    fn run(number: u32) -> RunId {
        RunId::new(Timestamp::from_millis(1_800_000_000_000), number)
    }

    fn playbook(number: usize) -> PlaybookId {
        format!("acme/p{number}").parse().unwrap()
    }

    /// Of a journal that has `bytes` of this playbook from before.
    fn used(journal: &UndoJournal, playbook: &PlaybookId, bytes: u64) {
        let before = Kept { playbook: Some(playbook.clone()), before: bytes, steps: BTreeMap::new() };
        journal.kept.lock().unwrap().insert(run(u32::MAX), before);
    }

    #[test]
    fn one_playbook_uses_up_its_own_share_and_no_more() {
        let (_home, journal) = journal();
        let (greedy, modest) = (playbook(1), playbook(2));
        used(&journal, &greedy, SHARE - 1);
        let full = journal.keep(&greedy, (&run(1), 1), "test", b"ab").unwrap_err();
        assert!(full.contains("acme/p1"), "{full}");
        journal.keep(&greedy, (&run(1), 1), "test", b"a").unwrap();
        journal.keep(&modest, (&run(2), 1), "test", &[0; MIB]).unwrap();
        used(&journal, &playbook(3), QUOTA);
        let full = journal.keep(&modest, (&run(2), 2), "test", b"a").unwrap_err();
        assert!(full.contains("256 MiB"), "{full}");
    }

    #[test]
    fn room_is_given_back_with_what_is_erased() {
        let (_home, journal) = journal();
        let own = playbook(1);
        used(&journal, &own, SHARE - 8);
        let eight = |step| journal.keep(&own, (&run(1), step), "test", b"12345678");
        eight(1).unwrap();
        eight(2).unwrap_err();
        journal.forget(&run(1), 1);
        eight(2).unwrap();
        journal.commit(&run(1)).unwrap();
        eight(3).unwrap();
        // What could not be written took no room: its name is taken.
        journal.commit(&run(1)).unwrap();
        journal.folder.as_ref().unwrap().create(run(1).as_str(), b"in the way").unwrap();
        eight(4).unwrap_err();
        journal.folder.as_ref().unwrap().remove(run(1).as_str()).unwrap();
        eight(5).unwrap();
        let never = Timestamp::from_millis(0);
        journal.sweep(&BTreeMap::from([(run(1), own.clone())]), never).unwrap();
        assert_eq!(journal.kept.lock().unwrap()[&run(1)].bytes(), 8, "found again by the next start");
        journal.sweep(&BTreeMap::new(), run(1).begun()).unwrap();
        assert!(
            journal.kept.lock().unwrap().is_empty() && journal.folder.as_ref().unwrap().names().unwrap().is_empty()
        );
    }

    #[test]
    fn what_may_belong_to_a_lost_record_stays() {
        let (_home, journal) = journal();
        journal.keep(&playbook(1), (&run(1), 1), "test", b"a").unwrap();
        let later = run(1).begun().plus(std::time::Duration::from_millis(1));
        journal.sweep(&BTreeMap::new(), later).unwrap();
        assert_eq!(journal.folder.as_ref().unwrap().names().unwrap(), [run(1).as_str()]);
        journal.sweep(&BTreeMap::new(), run(1).begun()).unwrap();
        assert!(journal.folder.as_ref().unwrap().names().unwrap().is_empty());
    }

    #[test]
    fn of_64_at_once_one_gets_the_last_room() {
        let (_home, journal) = journal();
        let own = playbook(1);
        used(&journal, &own, SHARE - 8);
        let start = std::sync::Barrier::new(64);
        let kept: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..64)
                .map(|number| {
                    let (journal, own, start) = (&journal, &own, &start);
                    scope.spawn(move || {
                        start.wait();
                        usize::from(journal.keep(own, (&run(number), 1), "test", b"12345678").is_ok())
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(kept, 1);
    }
}
