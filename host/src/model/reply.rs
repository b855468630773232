//! What comes back: replies to a guest, and the outcome of an effect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::GuestError;

/// What the supervisor says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Its main process runs and the supervisor calls it started.
    Running,
    /// It is being started.
    Starting,
    /// It is being stopped.
    Stopping,
    /// It does not run, and nothing failed.
    Stopped,
    /// It does not run because it failed.
    Failed,
    /// It failed, and its supervisor is about to start it again.
    Restarting,
    /// An answer that fits none of these.
    Unknown,
}

impl ServiceState {
    /// The word in records and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::Unknown => "unknown",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A service, seen once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// What the supervisor says.
    pub state: ServiceState,
    /// How long it has been so, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_ms: Option<u64>,
    /// How often the supervisor started it again by itself.
    pub restarts: u32,
    /// How its last main process ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_exit: Option<ExitStatus>,
    /// Whether a person stopped it.
    pub stopped_by_person: bool,
    /// Set in a plan: not seen, but what the service would be after a simulated effect.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub assumed: bool,
}

impl ServiceStatus {
    /// A status that says only the state.
    #[must_use]
    pub const fn of(state: ServiceState) -> Self {
        Self { state, since_ms: None, restarts: 0, last_exit: None, stopped_by_person: false, assumed: false }
    }
}

/// What one look at something says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// As it should be.
    Healthy,
    /// It answers, but slower than allowed.
    Degraded,
    /// It does not answer, or not as it should.
    Failed,
    /// The look itself was not possible.
    Unknown,
}

impl Verdict {
    /// The word on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One look at one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What it says.
    pub verdict: Verdict,
    /// How long it took, in microseconds.
    pub latency_us: u64,
    /// What was seen. Written by the thing that was probed: escape before showing.
    pub seen: String,
    /// Set in a plan: not seen, but assumed after a simulated effect.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub assumed: bool,
}

/// The answer to a call that did what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// The status of a service.
    Service(ServiceStatus),
    /// A reading of a probe.
    Probe(Reading),
    /// Nothing to say but that it was done.
    Done,
    /// A time, in milliseconds since 1970.
    Time {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        unix_ms: u64,
    },
}

/// How an effect or a read ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what was asked.
    Done {
        /// The answer.
        reply: Reply,
    },
    /// It did not, and the hand knows that.
    Failed {
        /// Why.
        error: GuestError,
    },
    /// It may or may not have. A person has to look.
    Indeterminate {
        /// What is known.
        error: GuestError,
    },
}

impl Outcome {
    /// What the guest is told.
    ///
    /// # Errors
    /// The error of an outcome that is not `done`.
    pub fn into_reply(self) -> Result<Reply, GuestError> {
        match self {
            Self::Done { reply } => Ok(reply),
            Self::Failed { error } | Self::Indeterminate { error } => Err(error),
        }
    }
}

/// Where the material lies that puts an effect back, as the intent names it. The material itself stays outside the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoReference {
    /// What putting back means: `service.start`.
    pub kind: String,
    /// The file under `state/undo/`: `RUN/STEP`.
    pub reference: String,
    /// The digest of the material, keyed with the host's key, so that the trail does not betray what it is.
    pub digest: Digest,
}

/// What a playbook says it did. Written by the guest: escape before showing, believe nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One or two sentences.
    pub summary: String,
    /// What later versions may add.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub extra: BTreeMap<String, String>,
}
