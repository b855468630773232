//! Exit codes: the contract with whatever calls `guardian`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Healed, or done.
    Ok,
    /// Anything that fits nowhere else.
    Other,
    /// The command line or the configuration is wrong.
    Usage,
    /// Trust, policy or load said no.
    Refused,
    /// The playbook ran; the target is not healed.
    NotHealed,
    /// The audit trail cannot take records.
    AuditUnavailable,
    /// A person must approve first.
    ApprovalNeeded,
    /// An effect may or may not have happened: a person is needed.
    Indeterminate,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotHealed => 4,
            Self::AuditUnavailable => 5,
            Self::ApprovalNeeded => 6,
            Self::Indeterminate => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
