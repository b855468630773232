//! What a guest is told when a call did not do what was asked.
//!
//! A denial is a value, never a trap, and it says no more than the guest may know: action, resource, code and record
//! number. Which policies decided, and the line that would grant it, are for the operator (`guardian policy explain`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a call did not do what was asked. The open list of the WIT documentation; all codes are reserved from day one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Policy said no.
    Denied,
    /// No such resource.
    NotFound,
    /// An argument is malformed.
    Invalid,
    /// The deadline of the call passed before it had an effect.
    Timeout,
    /// The part that would do it is not there.
    Unavailable,
    /// It was tried and did not work.
    Failed,
    /// Another run holds the resource.
    Busy,
    /// A budget of this run is spent.
    Quota,
    /// A person must approve first.
    NeedsApproval,
    /// Not in the approved plan.
    DepartsFromPlan,
    /// The trail cannot take the record, so nothing was done.
    AuditUnavailable,
    /// It may or may not have had its effect.
    Indeterminate,
    /// The playbook was taken out of service.
    Revoked,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Denied,
        Self::NotFound,
        Self::Invalid,
        Self::Timeout,
        Self::Unavailable,
        Self::Failed,
        Self::Busy,
        Self::Quota,
        Self::NeedsApproval,
        Self::DepartsFromPlan,
        Self::AuditUnavailable,
        Self::Indeterminate,
        Self::Revoked,
    ];

    /// The word in WIT.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::NeedsApproval => "needs-approval",
            Self::DepartsFromPlan => "departs-from-plan",
            Self::AuditUnavailable => "audit-unavailable",
            Self::Indeterminate => "indeterminate",
            Self::Revoked => "revoked",
        }
    }

    /// The code of that word; an unknown word is `failed`, as the WIT documentation tells every reader to do.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.word() == word).unwrap_or(Self::Failed)
    }

    /// Whether the same call can succeed later without a person doing anything.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Timeout | Self::Unavailable | Self::Busy)
    }
}

/// Why policy said no, as far as a guest may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenialCode {
    /// No permit covers it.
    NoPermit,
    /// A rule forbids it.
    Forbidden,
    /// A policy could not be evaluated, which always means no.
    PolicyError,
    /// The playbook has spent its budget.
    Budget,
    /// A person must approve first.
    NeedsApproval,
    /// A person paused the resource.
    Paused,
    /// A person froze everything.
    Frozen,
    /// It is not in the plan that people approved.
    DepartsFromPlan,
    /// The playbook was taken out of service.
    Revoked,
    /// Its arguments are longer than they may be; the guest is told `invalid`.
    TooLarge,
}

impl DenialCode {
    /// The word in WIT and in records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoPermit => "no-permit",
            Self::Forbidden => "forbidden",
            Self::PolicyError => "policy-error",
            Self::Budget => "budget",
            Self::NeedsApproval => "needs-approval",
            Self::Paused => "paused",
            Self::Frozen => "frozen",
            Self::DepartsFromPlan => "departs-from-plan",
            Self::Revoked => "revoked",
            Self::TooLarge => "too-large",
        }
    }
}

/// A refusal by policy, as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// `service.restart`.
    pub action: String,
    /// `service.web`, as the guest named it.
    pub resource: String,
    /// Why, in one word.
    pub code: DenialCode,
    /// The audit record that holds the refusal.
    pub record: u64,
}

/// Why a call did not do what was asked, as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestError {
    /// One word of the open list.
    pub code: ErrorCode,
    /// One line for people, without secrets.
    pub message: String,
    /// Set exactly when the code is `denied`, `needs-approval`, `departs-from-plan` or `revoked`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub denial: Option<Denial>,
}

impl GuestError {
    /// An error that is not a denial.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), denial: None }
    }

    /// A refusal by policy.
    #[must_use]
    pub fn denied(denial: Denial) -> Self {
        let message = format!(
            "{} on {} is not permitted (record {})",
            denial.action,
            super::escape(&denial.resource),
            denial.record
        );
        let code = match denial.code {
            DenialCode::NeedsApproval => ErrorCode::NeedsApproval,
            DenialCode::DepartsFromPlan => ErrorCode::DepartsFromPlan,
            DenialCode::Revoked => ErrorCode::Revoked,
            _ => ErrorCode::Denied,
        };
        Self { code, message, denial: Some(denial) }
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code.word(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_unknown_means_failed() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_word(code.word()), code);
        }
        assert_eq!(ErrorCode::from_word("later-addition"), ErrorCode::Failed);
    }
}
