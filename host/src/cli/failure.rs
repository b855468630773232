//! Why a command ended early: one line, and the exit code that goes with it.

use crate::audit::AuditError;
use crate::durable::DurableError;
use crate::inventory::InventoryError;
use crate::model::{InvalidDigest, InvalidManifest, InvalidName};
use crate::policy::PolicyError;
use crate::registry::RegistryError;
use crate::run::RunError;
use crate::sandbox::LoadRefusal;
use crate::trust::TrustError;

use super::Exit;

/// One line and a code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    pub(super) fn other(message: impl Into<String>) -> Self {
        Self { exit: Exit::Other, message: message.into() }
    }
}

macro_rules! failures {
    ($($error:ty => $exit:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { exit: Exit::$exit, message: error.to_string() }
            }
        })*
    };
}

failures! {
    InventoryError => Usage,
    DurableError => Usage,
    InvalidName => Usage,
    InvalidDigest => Usage,
    InvalidManifest => Usage,
    PolicyError => Refused,
    LoadRefusal => Refused,
    RegistryError => Usage,
    serde_json::Error => Other,
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let exit = match error {
            AuditError::NoRecord { .. } | AuditError::Option(_) => Exit::Usage,
            AuditError::BudgetSpent(_) | AuditError::TooLarge { .. } | AuditError::Encoding(_) => Exit::Other,
            _ => Exit::AuditUnavailable,
        };
        Self { exit, message: error.to_string() }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        let slip = match &error {
            TrustError::Change(_) | TrustError::PublicKey { .. } | TrustError::PrivateKey { .. } => true,
            TrustError::File(file) => file.is_not_found(),
            _ => false,
        };
        Self { exit: if slip { Exit::Usage } else { Exit::Refused }, message: error.to_string() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Usage, message: format!("{error:#}") }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        if error.refused_by().is_some() {
            return Self { exit: Exit::Refused, message: error.to_string() };
        }
        match error {
            RunError::Audit(error) => error.into(),
            RunError::Inventory(error) => error.into(),
            RunError::Registry(error) => error.into(),
            RunError::File(error) => error.into(),
            RunError::Request(message) => Self::usage(message),
            error @ RunError::InDoubt { .. } => Self { exit: Exit::Indeterminate, message: error.to_string() },
            error @ RunError::HeldBack { .. } => Self { exit: Exit::ApprovalNeeded, message: error.to_string() },
            other => Self::other(other.to_string()),
        }
    }
}
