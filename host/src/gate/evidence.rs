//! Where evidence is kept: `state/evidence/RUN`, for the owner only, beside the trail and not on it.
//!
//! What a service wrote last can hold anything, so the trail has only the place, the length and a keyed digest. It is not
//! synced: evidence that is lost with the power is worth less than an earlier heal. It goes when its run is forgotten.

use std::collections::BTreeSet;

use crate::capability::Evidence;
use crate::durable::{DurableError, Folder};
use crate::model::RunId;

/// The largest evidence, in bytes: a hundred lines of a service and its sockets.
const LARGEST: u64 = 256 * 1024;

/// The folder of evidence, or nowhere for a plan.
#[derive(Debug)]
pub struct EvidenceFolder(Option<Folder>);

impl EvidenceFolder {
    /// `state/evidence/`.
    #[must_use]
    pub const fn in_folder(folder: Folder) -> Self {
        Self(Some(folder))
    }

    /// For a plan: nothing is kept, because nothing is destroyed.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self(None)
    }

    /// Keeps the evidence of a run. Gives its bytes; none if it is kept nowhere.
    pub(super) fn keep(&self, run: &RunId, evidence: &Evidence) -> Result<Option<Vec<u8>>, DurableError> {
        let Some(folder) = &self.0 else { return Ok(None) };
        let bytes = serde_json::to_vec(evidence).unwrap_or_default();
        folder.write_unsynced(run.as_str(), &bytes)?;
        Ok(Some(bytes))
    }

    /// What was kept for a run.
    ///
    /// # Errors
    /// When there is something and it cannot be read.
    pub fn of(&self, run: &RunId) -> Result<Option<Evidence>, DurableError> {
        let Some(folder) = &self.0 else { return Ok(None) };
        match folder.read_bounded(run.as_str(), LARGEST) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what belongs to none of `runs`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, runs: &BTreeSet<RunId>) -> Result<(), DurableError> {
        let Some(folder) = &self.0 else { return Ok(()) };
        for name in folder.names()? {
            if name.parse::<RunId>().is_ok_and(|run| !runs.contains(&run)) {
                folder.remove(&name)?;
            }
        }
        Ok(())
    }
}
