//! The life of a run, as one total function.
//!
//! A run is never in two states, never skips one, and every event in every state has an answer: a new state, or nothing
//! because the event cannot follow. What is written on the trail is the state reached, so a reader can replay it.

use serde::{Deserialize, Serialize};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Asked for; nothing is checked yet.
    Requested,
    /// Signature, publisher, release and permits hold; no guest code has run.
    Admitted,
    /// Guest code runs.
    Executing,
    /// The guest is done; the target's own check is being asked.
    Checking,
    /// It was not healed; what the operator wants put back is being put back.
    Unwinding,
    /// The target's check holds. The end.
    Healed,
    /// It does not, or the guest did not finish. What was done is left, and a person is called. The end.
    NotHealed,
    /// It does not, or the guest did not finish, and what was done is put back. The end.
    Unwound,
    /// Trust, policy or load said no before any guest code ran. The end.
    Refused,
    /// A person must approve before it goes on.
    AwaitingApproval,
    /// The trail cannot take records, so nothing more was done. The end.
    AuditUnavailable,
    /// An effect may or may not have happened. A person is needed. The end.
    Indeterminate,
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// All of admission held.
    Admitted,
    /// Some of it did not.
    Refused,
    /// A gate asks for a person.
    ApprovalNeeded,
    /// Guest code was entered.
    Started,
    /// Guest code returned `ok`.
    Returned,
    /// Guest code returned `err`, trapped, or spent a limit.
    Broke,
    /// The check held long enough.
    CheckHeld,
    /// The check's deadline passed.
    CheckFailed,
    /// Nothing was to be put back, or not everything could be.
    Left,
    /// All that was done is put back.
    PutBack,
    /// An effect's outcome is not known, or could not be put back.
    LostTrack,
    /// The trail cannot take records.
    TrailLost,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::Requested,
        Self::Admitted,
        Self::Executing,
        Self::Checking,
        Self::Unwinding,
        Self::Healed,
        Self::NotHealed,
        Self::Unwound,
        Self::Refused,
        Self::AwaitingApproval,
        Self::AuditUnavailable,
        Self::Indeterminate,
    ];

    /// The state after `event`, or nothing if it cannot happen here.
    #[must_use]
    pub const fn next(self, event: RunEvent) -> Option<Self> {
        use RunEvent as E;
        match (self, event) {
            (Self::Requested | Self::AwaitingApproval, E::Admitted) => Some(Self::Admitted),
            (Self::Requested | Self::Admitted | Self::AwaitingApproval, E::Refused) => Some(Self::Refused),
            (Self::Admitted | Self::Executing, E::ApprovalNeeded) => Some(Self::AwaitingApproval),
            (Self::Admitted, E::Started) => Some(Self::Executing),
            (Self::Executing, E::Returned) => Some(Self::Checking),
            (Self::Executing, E::Broke) | (Self::Checking, E::CheckFailed) => Some(Self::Unwinding),
            (Self::Unwinding, E::Left) => Some(Self::NotHealed),
            (Self::Unwinding, E::PutBack) => Some(Self::Unwound),
            (Self::Checking, E::CheckHeld) => Some(Self::Healed),
            (Self::Executing | Self::Checking | Self::Unwinding, E::LostTrack) => Some(Self::Indeterminate),
            (
                Self::Requested
                | Self::Admitted
                | Self::Executing
                | Self::Checking
                | Self::Unwinding
                | Self::AwaitingApproval,
                E::TrailLost,
            ) => Some(Self::AuditUnavailable),
            _ => None,
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::Healed
                | Self::NotHealed
                | Self::Unwound
                | Self::Refused
                | Self::AuditUnavailable
                | Self::Indeterminate
        )
    }

    /// The word in records and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Admitted => "admitted",
            Self::Executing => "executing",
            Self::Checking => "checking",
            Self::Healed => "healed",
            Self::Unwinding => "unwinding",
            Self::NotHealed => "not healed",
            Self::Unwound => "not healed, and put back",
            Self::Refused => "refused",
            Self::AwaitingApproval => "awaiting approval",
            Self::AuditUnavailable => "audit unavailable",
            Self::Indeterminate => "indeterminate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [RunEvent; 12] = [
        RunEvent::Admitted,
        RunEvent::Refused,
        RunEvent::ApprovalNeeded,
        RunEvent::Started,
        RunEvent::Returned,
        RunEvent::Broke,
        RunEvent::CheckHeld,
        RunEvent::CheckFailed,
        RunEvent::Left,
        RunEvent::PutBack,
        RunEvent::LostTrack,
        RunEvent::TrailLost,
    ];

    #[test]
    fn ends_are_ends_and_everything_else_goes_on() {
        for state in RunState::ALL {
            let goes_on = EVENTS.into_iter().any(|event| state.next(event).is_some());
            assert_eq!(goes_on, !state.is_end(), "{state:?}");
        }
    }

    #[test]
    fn healed_only_through_a_check() {
        for state in RunState::ALL {
            for event in EVENTS {
                if state.next(event) == Some(RunState::Healed) {
                    assert_eq!((state, event), (RunState::Checking, RunEvent::CheckHeld));
                }
            }
        }
    }
}
