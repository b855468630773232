//! The hand on storage.

use super::deadline::Deadline;
use super::error::HandError;
use super::undo::Reconciled;
use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::model::{GuestError, Name, Outcome, Reading, StorageVerb, Verdict};

/// What puts an act on storage back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageUndo {}

/// An act on storage that may be done.
#[derive(Debug)]
#[must_use]
pub(super) struct PreparedStorage {
    verb: StorageVerb,
    name: Name,
}

impl PreparedStorage {
    pub(super) const fn undo(&self) -> Option<&StorageUndo> {
        None
    }

    pub(super) const fn verb(&self) -> StorageVerb {
        self.verb
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }
}

/// The hand.
#[derive(Debug)]
pub struct StorageHand {}

impl StorageHand {
    /// A hand.
    pub fn new(_inventory: &Inventory) -> Result<Self, HandError> {
        Ok(Self {})
    }

    pub(super) fn observe(&self, name: &Name, _deadline: Deadline) -> Outcome {
        HandError::NotFound {
            what: format!("storage `{name}`"),
            remedy: format!("name it in guardian.toml as [storage.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn prepare(
        &self,
        verb: StorageVerb,
        name: &Name,
        _deadline: Deadline,
    ) -> Result<PreparedStorage, GuestError> {
        let _ = verb;
        Err(HandError::NotFound {
            what: format!("storage `{name}`"),
            remedy: format!("name it in guardian.toml as [storage.{name}]"),
        }
        .into_guest_error())
    }

    pub(super) fn perform(&self, prepared: PreparedStorage, _deadline: Deadline) -> Outcome {
        let name = prepared.name;
        HandError::NotFound {
            what: format!("storage `{name}`"),
            remedy: format!("name it in guardian.toml as [storage.{name}]"),
        }
        .into_outcome()
    }

    /// What the act would come to, for a plan.
    pub(super) fn imagine(&self, prepared: &PreparedStorage) -> Outcome {
        let name = &prepared.name;
        HandError::NotFound {
            what: format!("storage `{name}`"),
            remedy: format!("name it in guardian.toml as [storage.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn reconcile(
        &self,
        verb: StorageVerb,
        name: &Name,
        undo: Option<&StorageUndo>,
        _deadline: Deadline,
    ) -> Reconciled {
        let _ = (verb, name, undo);
        Reconciled::Unknown
    }

    pub(super) fn put_back(&self, name: &Name, _undo: &StorageUndo, _deadline: Deadline) -> Outcome {
        HandError::NotFound {
            what: format!("storage `{name}`"),
            remedy: format!("name it in guardian.toml as [storage.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn check(&self, name: &Name, _deadline: Deadline) -> Reading {
        let seen = format!("storage `{name}` is not known");
        Reading { verdict: Verdict::Unknown, latency_us: 0, seen, assumed: false }
    }

    /// Touches it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn touch(&self, name: &Name) -> Result<String, HandError> {
        Err(HandError::NotFound { what: format!("storage `{name}`"), remedy: String::new() })
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, verb: StorageVerb, name: &Name) -> Option<String> {
        let _ = (verb, name);
        None
    }
}
