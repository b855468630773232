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

/// How full storage is, seen once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageUsage {
    /// Size of the file system, in bytes.
    pub bytes_total: u64,
    /// What is free there for others than root, in bytes.
    pub bytes_free: u64,
    /// How many files and folders it can hold; 0 where the file system does not say.
    pub inodes_total: u64,
    /// How many more it can hold.
    pub inodes_free: u64,
    /// Whether as much is free as the operator wants.
    pub enough: bool,
    /// Set in a plan: not seen, but assumed after a simulated effect.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub assumed: bool,
}

/// What making room came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaimed {
    /// Bytes that the steps took away; what became free can differ, because others write meanwhile.
    pub bytes: u64,
    /// Files that the steps took away.
    pub files: u64,
    /// The steps that were taken, in order, in the operator's words.
    pub steps: Vec<String>,
    /// What was to be taken and was not, each with the reason: the first few, and how many more. For the operator: the names of
    /// files are none of a playbook's business.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left: Vec<String>,
    /// How full it is now.
    pub usage: StorageUsage,
}

/// How a configuration stands beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigState {
    /// Content, owner and mode are those of the baseline.
    Matches,
    /// Something differs.
    Differs,
    /// There is no file.
    Missing,
    /// There is something that is no regular file: a link, a folder.
    Replaced,
}

impl ConfigState {
    /// The word in records and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Differs => "differs",
            Self::Missing => "missing",
            Self::Replaced => "replaced",
        }
    }
}

/// A configuration, seen once. It never says what stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// How it stands.
    pub state: ConfigState,
    /// What differs, of `content`, `owner` and `mode`.
    pub differs: Vec<String>,
    /// Set in a plan: not seen, but assumed after a simulated effect.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub assumed: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// How its process ended.
    pub exit: ExitStatus,
    /// Whether the operator calls that a success.
    pub success: bool,
    /// The end of what it wrote, both streams together, as text. For the guest only: see [`Reply::for_the_trail`].
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
    /// On the trail, in place of the output: its digest, keyed with the host's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_digest: Option<Digest>,
    /// How much it wrote, in bytes.
    pub output_bytes: u64,
    /// How long it ran, in milliseconds.
    pub millis: u64,
    /// Set in a plan: not run.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub assumed: bool,
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
    /// How full storage is.
    Storage(StorageUsage),
    /// What making room came to.
    Reclaimed(Reclaimed),
    /// How a configuration stands.
    Config(ConfigStatus),
    /// How a command ended.
    Command(CommandResult),
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

impl Reply {
    /// The reply as a record holds it: what a command wrote can be anything, so only its keyed digest stands there.
    #[must_use]
    pub fn for_the_trail(&self, digest: impl FnOnce(&[u8]) -> Digest) -> Self {
        match self {
            Self::Command(result) if !result.output.is_empty() => Self::Command(CommandResult {
                output: String::new(),
                output_digest: Some(digest(result.output.as_bytes())),
                ..result.clone()
            }),
            other => other.clone(),
        }
    }
}

impl Outcome {
    /// The outcome as a record holds it; see [`Reply::for_the_trail`].
    #[must_use]
    pub fn for_the_trail(&self, digest: impl FnOnce(&[u8]) -> Digest) -> Self {
        match self {
            Self::Done { reply } => Self::Done { reply: reply.for_the_trail(digest) },
            other => other.clone(),
        }
    }

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
