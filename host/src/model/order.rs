//! Orders: what people said that holds now, and until when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::clock::Timestamp;
use super::escape::escape;
use super::name::{Name, ResourceName};

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// No new effect on a resource, nor on anything that belongs to it.
    Pause {
        /// Which.
        resource: ResourceName,
    },
    /// No new effect at all.
    Freeze,
    /// No call of any playbook of a publisher.
    Withdraw {
        /// Whose.
        publisher: Name,
    },
    /// Glass that was broken up to now is broken no more.
    EndGlass,
}

/// An order as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// What is ordered.
    pub what: Order,
    /// When it was given.
    pub at: Timestamp,
    /// When it ends by itself. Not later than `at` for an order that was lifted.
    pub until: Timestamp,
    /// Why, in the words of who gave it.
    pub reason: String,
    /// Who gave it.
    pub by: Actor,
}

impl Given {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it was lifted, not given.
    #[must_use]
    pub fn lifts(&self) -> bool {
        self.until <= self.at
    }
}

/// In words, for a person: what, until when, who and why.
impl fmt::Display for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = escape(&self.reason);
        match &self.what {
            Order::Pause { resource } => write!(out, "{resource} is paused")?,
            Order::Freeze => write!(out, "everything is frozen")?,
            Order::Withdraw { publisher } => write!(out, "the publisher {publisher} is withdrawn")?,
            // It holds for as long as any glass could have lasted, and is about what was broken before it.
            Order::EndGlass => {
                return write!(out, "glass broken up to {} is over (uid {}): {reason}", self.at, self.by.uid);
            }
        }
        if self.lifts() {
            return write!(out, " no longer: {reason}");
        }
        write!(out, " until {} (uid {}): {reason}", self.until, self.by.uid)
    }
}
