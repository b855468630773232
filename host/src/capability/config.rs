//! The hand on configuration files.

use super::deadline::Deadline;
use super::error::HandError;
use super::undo::Reconciled;
use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::model::{ConfigVerb, GuestError, Name, Outcome, Reading, Verdict};

/// What puts an act on config back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigUndo {}

/// An act on config that may be done.
#[derive(Debug)]
#[must_use]
pub(super) struct PreparedConfig {
    verb: ConfigVerb,
    name: Name,
}

impl PreparedConfig {
    pub(super) const fn undo(&self) -> Option<&ConfigUndo> {
        None
    }

    pub(super) const fn verb(&self) -> ConfigVerb {
        self.verb
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }
}

/// The hand.
#[derive(Debug)]
pub struct ConfigHand {}

impl ConfigHand {
    /// A hand.
    pub fn new(_inventory: &Inventory) -> Result<Self, HandError> {
        Ok(Self {})
    }

    pub(super) fn observe(&self, name: &Name, _deadline: Deadline) -> Outcome {
        HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn prepare(
        &self,
        verb: ConfigVerb,
        name: &Name,
        _deadline: Deadline,
    ) -> Result<PreparedConfig, GuestError> {
        let _ = verb;
        Err(HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        }
        .into_guest_error())
    }

    pub(super) fn perform(&self, prepared: PreparedConfig, _deadline: Deadline) -> Outcome {
        let name = prepared.name;
        HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        }
        .into_outcome()
    }

    /// What the act would come to, for a plan.
    pub(super) fn imagine(&self, prepared: &PreparedConfig) -> Outcome {
        let name = &prepared.name;
        HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn reconcile(
        &self,
        verb: ConfigVerb,
        name: &Name,
        undo: Option<&ConfigUndo>,
        _deadline: Deadline,
    ) -> Reconciled {
        let _ = (verb, name, undo);
        Reconciled::Unknown
    }

    pub(super) fn put_back(&self, name: &Name, _undo: &ConfigUndo, _deadline: Deadline) -> Outcome {
        HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        }
        .into_outcome()
    }

    pub(super) fn check(&self, name: &Name, _deadline: Deadline) -> Reading {
        let seen = format!("config `{name}` is not known");
        Reading { verdict: Verdict::Unknown, latency_us: 0, seen, assumed: false }
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, verb: ConfigVerb, name: &Name) -> Option<String> {
        let _ = (verb, name);
        None
    }
}
