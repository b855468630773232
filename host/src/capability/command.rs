//! The hand on the operator's commands.

use super::deadline::Deadline;
use super::error::HandError;
use crate::inventory::Inventory;
use crate::model::{GuestError, Name, Outcome};

/// An act on command that may be done.
#[derive(Debug)]
#[must_use]
pub(super) struct PreparedCommand {
    name: Name,
}

impl PreparedCommand {
    pub(super) const fn name(&self) -> &Name {
        &self.name
    }
}

/// The hand.
#[derive(Debug)]
pub struct CommandHand {}

impl CommandHand {
    /// A hand.
    pub fn new(_inventory: &Inventory) -> Result<Self, HandError> {
        Ok(Self {})
    }

    pub(super) fn prepare(&self, name: &Name, _deadline: Deadline) -> Result<PreparedCommand, GuestError> {
        Err(HandError::NotFound {
            what: format!("command `{name}`"),
            remedy: format!("name it in guardian.toml as [command.{name}]"),
        }
        .into_guest_error())
    }

    pub(super) fn perform(&self, prepared: PreparedCommand, _deadline: Deadline) -> Outcome {
        let name = prepared.name;
        HandError::NotFound {
            what: format!("command `{name}`"),
            remedy: format!("name it in guardian.toml as [command.{name}]"),
        }
        .into_outcome()
    }

    /// What the act would come to, for a plan.
    pub(super) fn imagine(&self, prepared: &PreparedCommand) -> Outcome {
        let name = &prepared.name;
        HandError::NotFound {
            what: format!("command `{name}`"),
            remedy: format!("name it in guardian.toml as [command.{name}]"),
        }
        .into_outcome()
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, name: &Name) -> Option<String> {
        let _ = name;
        None
    }
}
