//! What it takes to put an effect back, and what a hand can say about an effect that nobody saw end.
//!
//! Undo material is plain data that the host keeps outside the trail, because it can say more about a machine than a trail
//! may: how a service was, what stood in a file. After a crash the host asks the hand that began an effect whether it
//! happened ([`Reconciled`]); a hand that cannot tell says so, and a person is called (INVARIANT 9). What it does not do:
//! decide whether something is put back, or record it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Action, ServiceStatus};

use super::config::ConfigUndo;
use super::storage::StorageUndo;

/// What puts an act back: plain data, kept by the host until the run is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hand", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UndoMaterial {
    /// Of a service.
    Service(ServiceUndo),
    /// Of storage.
    Storage(StorageUndo),
    /// Of a configuration.
    Config(ConfigUndo),
}

/// What puts an act on a service back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceUndo {
    /// The act that puts it back: `service.start`, `service.stop`.
    pub kind: String,
    /// How the service was before.
    pub was: ServiceStatus,
}

impl UndoMaterial {
    /// What putting back means, in a word: `service.start`. It stands on the trail.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Service(undo) => &undo.kind,
            Self::Storage(_) => "storage.put-back",
            Self::Config(_) => "config.put-back",
        }
    }
}

/// What is known of an effect whose outcome is not on the trail.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// What was asked.
    pub action: &'a Action,
    /// What would put it back, if something was kept.
    pub undo: Option<&'a UndoMaterial>,
    /// How long ago its intent was written.
    pub ago: Duration,
}

/// What a hand says about an effect that nobody saw end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// It happened, all of it or a part that its undo material covers.
    Done,
    /// It did not happen, and will not any more.
    NotDone,
    /// The hand cannot tell. A person has to look.
    Unknown,
}
