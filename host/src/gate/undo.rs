//! The undo material: kept before the intent, outside the trail.
//!
//! What it takes to put an effect back can say more about a machine than a trail may: so it lies in files of its own,
//! `state/undo/RUN/STEP`, for the owner only, fsynced before the intent that refers to it, and the trail holds only its
//! kind, its place and a keyed digest. It is erased when the run is committed.

use std::sync::Arc;

use crate::durable::{DurableError, Folder};
use crate::model::{Digest, RunId, UndoReference};

/// Makes a digest that nobody without the host's key can guess the material from.
pub type KeyedDigest = Arc<dyn Fn(&[u8]) -> Digest + Send + Sync>;

/// The folder of undo material, or nowhere for a plan, which changes nothing.
pub struct UndoJournal {
    folder: Option<Folder>,
    digest: KeyedDigest,
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
        Self { folder: Some(folder), digest }
    }

    /// A journal for a plan: it names what would be kept, and keeps nothing.
    #[must_use]
    pub fn of_a_plan(digest: KeyedDigest) -> Self {
        Self { folder: None, digest }
    }

    /// Keeps the material of one step, durably, before its intent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(
        &self,
        run: &RunId,
        step: u32,
        kind: &str,
        material: &[u8],
    ) -> Result<UndoReference, DurableError> {
        if let Some(folder) = &self.folder {
            folder.make_sub(run.as_str())?.create(&step.to_string(), material)?;
        }
        let reference = format!("{run}/{step}");
        Ok(UndoReference { kind: kind.to_owned(), reference, digest: (self.digest)(material) })
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
