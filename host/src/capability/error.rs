//! What can go wrong with a hand, and how much is known about the effect when it does.
//!
//! The distinction that matters to everybody above is not the cause but the certainty: did the request leave this
//! process or not? A fault before that is a plain failure and may be tried again; a fault after it is
//! [`HandError::Unsure`], which stops for a person, because repeating an effect that may have happened is how an outage
//! is made worse. Causes are kept as sources for the operator's log; a guest gets one line.

use crate::durable::DurableError;
use crate::model::{ErrorCode, GuestError, Name, Outcome};

/// Why a hand did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// The inventory has no such resource, or the supervisor does not know it.
    #[error("{what} is not known; {remedy}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// How to mend it.
        remedy: String,
    },
    /// An argument is malformed.
    #[error("{what}")]
    Invalid {
        /// Which, and why.
        what: String,
    },
    /// The deadline passed before anything was asked of the world.
    #[error("{what} did not come in time; nothing was changed")]
    Timeout {
        /// What was waited for.
        what: String,
    },
    /// The part that would do it is not there, or does not let us.
    #[error("{what}; {remedy}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// How to mend it.
        remedy: String,
    },
    /// It was tried and did not work.
    #[error("{what}")]
    Failed {
        /// What happened.
        what: String,
    },
    /// Somebody else is at it.
    #[error("{what}")]
    Busy {
        /// Who, or what.
        what: String,
    },
    /// A person stopped the service, and a person's hand wins.
    #[error("service `{name}` was stopped by a person; start it by hand to hand it back")]
    StoppedByPerson {
        /// The service.
        name: Name,
    },
    /// It may or may not have had its effect.
    #[error("{what}; whether it had its effect is not known")]
    Unsure {
        /// What is known.
        what: String,
    },
    /// A file of the hand's own.
    #[error(transparent)]
    File(#[from] DurableError),
    /// The operating system refused.
    #[error("cannot {act}: {source}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

impl HandError {
    /// An error of the operating system while doing `act`.
    pub(crate) fn io<E: Into<std::io::Error>>(act: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { act, source: source.into() }
    }

    /// The guest's word for it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Invalid { .. } => ErrorCode::Invalid,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::Unavailable { .. } | Self::File(_) | Self::Io { .. } => ErrorCode::Unavailable,
            Self::Failed { .. } | Self::StoppedByPerson { .. } => ErrorCode::Failed,
            Self::Busy { .. } => ErrorCode::Busy,
            Self::Unsure { .. } => ErrorCode::Indeterminate,
        }
    }

    /// What the guest is told.
    #[must_use]
    pub fn into_guest_error(self) -> GuestError {
        GuestError::new(self.code(), self.to_string())
    }

    /// How the act ended.
    ///
    /// INVARIANT 9: what is not known to have failed is not called failed.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        let unsure = matches!(self, Self::Unsure { .. });
        let error = self.into_guest_error();
        if unsure { Outcome::Indeterminate { error } } else { Outcome::Failed { error } }
    }
}
