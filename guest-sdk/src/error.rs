//! Why a call, or a whole playbook, did not do what was asked.

use std::fmt;

use crate::Denial;
use crate::bindings::guardian::playbook::types::Error as Wit;

/// An error of the contract. The same record as in wit/, with the rare part boxed, so that every `Result` stays small.
#[derive(Clone, Debug)]
pub struct Error {
    /// A code from an open list: `denied`, `not-found`, `invalid`, `timeout`, `unavailable`, `failed`, `busy`, `quota`,
    /// `needs-approval`, `departs-from-plan`, `audit-unavailable`, `indeterminate`, `revoked`. Treat an unknown one as
    /// `failed`.
    pub code: String,
    /// For people. One line, no secrets.
    pub message: String,
    /// Whether the same call can succeed later without a person doing anything.
    pub retryable: bool,
    /// Set exactly when the code is `denied`.
    pub denial: Option<Box<Denial>>,
}

impl Error {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retryable: false, denial: None }
    }

    /// It was tried and did not work.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", message)
    }

    /// The incident is not one that this playbook is for.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid", message)
    }

    /// Whether the operator's policy said no. Trying again changes nothing.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.code == "denied"
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Wit> for Error {
    fn from(error: Wit) -> Self {
        let denial = error.denial.map(Box::new);
        Self { code: error.code, message: error.message, retryable: error.retryable, denial }
    }
}

impl From<Error> for Wit {
    fn from(error: Error) -> Self {
        let denial = error.denial.map(|denial| *denial);
        Self { code: error.code, message: error.message, retryable: error.retryable, denial }
    }
}
