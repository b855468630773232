//! The undo material: kept before the intent, outside the trail.
//!
//! What it takes to put an effect back can say more about a machine than a trail may: so it lies in files of its own,
//! `state/undo/RUN/STEP`, for the owner only, fsynced before the intent that refers to it, and the trail holds only its
//! kind, its place and a keyed digest. It is erased when the run is committed, or when nothing of it is left to put back;
//! what belongs to no run that the trail remembers is swept. A quota keeps playbooks from filling the disk with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::{DurableError, Folder};
use crate::model::{Digest, RunId, UndoReference};

/// The material of one step, in bytes: a configuration file of 1 MiB as JSON, or the list of ten thousand files.
const LARGEST: usize = 4 * 1024 * 1024;
/// All of it together, in bytes: a hundred large steps that nobody has looked at yet.
const QUOTA: u64 = 256 * 1024 * 1024;

/// Makes a digest that nobody without the host's key can guess the material from.
pub type KeyedDigest = Arc<dyn Fn(&[u8]) -> Digest + Send + Sync>;

/// The folder of undo material, or nowhere for a plan, which changes nothing.
pub struct UndoJournal {
    folder: Option<Folder>,
    digest: KeyedDigest,
    kept: AtomicU64,
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
        Self { folder: Some(folder), digest, kept: AtomicU64::new(0) }
    }

    /// Removes what belongs to none of `runs`: a process ended between keeping it and the intent that refers to it, or the
    /// run is so old that the trail's projection has forgotten it. What is left counts against the quota.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, runs: &BTreeSet<RunId>) -> Result<(), DurableError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut kept = 0;
        for name in folder.names()? {
            match name.parse::<RunId>() {
                Ok(run) if runs.contains(&run) => kept += folder.sub(&name)?.size()?,
                Ok(run) => self.commit(&run)?,
                // Not ours.
                Err(_) => {}
            }
        }
        self.kept.store(kept, Ordering::Relaxed);
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
        Self { folder: None, digest, kept: AtomicU64::new(0) }
    }

    /// Keeps the material of one step, durably, before its intent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, run: &RunId, step: u32, kind: &str, material: &[u8]) -> Result<UndoReference, String> {
        let length = u64::try_from(material.len()).unwrap_or(u64::MAX);
        if material.len() > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        if self.kept.load(Ordering::Relaxed).saturating_add(length) > QUOTA {
            let most = QUOTA >> 20;
            return Err(format!("{most} MiB are kept already; `guardian status` names the runs they belong to"));
        }
        if let Some(folder) = &self.folder {
            let keep = || folder.make_sub(run.as_str())?.create(&step.to_string(), material);
            keep().map_err(|error| error.to_string())?;
            self.kept.fetch_add(length, Ordering::Relaxed);
        }
        let reference = format!("{run}/{step}");
        Ok(UndoReference { kind: kind.to_owned(), reference, digest: (self.digest)(material) })
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
            // An orphan is harmless: nothing on the trail refers to it.
            let _ = folder.remove(&step.to_string());
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
        folder.remove_sub(run.as_str())
    }
}
