//! Why a run, or an acceptance, did not get as far as guest code.

use crate::audit::{AuditError, RefusingRoom};
use crate::capability::HandError;
use crate::durable::DurableError;
use crate::inventory::InventoryError;
use crate::model::RunId;
use crate::policy::PolicyError;
use crate::registry::RegistryError;
use crate::sandbox::{LoadRefusal, SandboxError};
use crate::trust::TrustError;

/// Why not, by the room that said so.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration, or a name that is not in it.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A file.
    #[error(transparent)]
    File(#[from] DurableError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Request(String),
    /// The signature, the publisher, the release or the time.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The policy does not load.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy has nothing for this playbook.
    #[error("no permit names `{playbook}` or its publisher, so it may do nothing; add one under `{folder}`")]
    NoPermit {
        /// The playbook.
        playbook: String,
        /// The folder of the permits.
        folder: String,
    },
    /// The component asks for what it may not have, or is none.
    #[error(transparent)]
    Load(#[from] LoadRefusal),
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// The compiler said no, or hit its limits.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// The store.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A hand cannot be made ready.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// An earlier effect on the target may or may not have happened.
    #[error(
        "whether {verb} on {resource} happened is not known (record {record}): look at it, then say so with `guardian audit settle {record} --reason WHAT-YOU-FOUND`"
    )]
    InDoubt {
        /// The intent.
        record: u64,
        /// What was tried.
        verb: String,
        /// On what.
        resource: String,
    },
    /// A person holds back what people approved. The approval is not used up.
    #[error("`{run}` is approved and goes on when nobody holds it back: {why}; then `guardian run --resume {run}`")]
    HeldBack {
        /// The run.
        run: RunId,
        /// The order, in words.
        why: String,
    },
    /// The manifest's roles and parameters do not fit what the operator bound.
    #[error("{0}")]
    Binding(String),
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Refused(refusal) => Self::Load(refusal),
            other => Self::Sandbox(other),
        }
    }
}

impl RunError {
    /// The room that refused a playbook, if this is a refusal and not a fault of the host or the request.
    #[must_use]
    pub const fn refused_by(&self) -> Option<RefusingRoom> {
        match self {
            Self::Trust(_) => Some(RefusingRoom::Trust),
            Self::Policy(_) | Self::NoPermit { .. } => Some(RefusingRoom::Policy),
            Self::Load(_) | Self::Compile(_) | Self::Binding(_) => Some(RefusingRoom::Load),
            Self::Registry(RegistryError::WrongBytes { .. } | RegistryError::Damaged { .. }) => {
                Some(RefusingRoom::Registry)
            }
            Self::Inventory(_)
            | Self::File(_)
            | Self::Request(_)
            | Self::Sandbox(_)
            | Self::Registry(_)
            | Self::Hand(_)
            | Self::InDoubt { .. }
            | Self::HeldBack { .. }
            | Self::Audit(_) => None,
        }
    }
}
