//! Proofs that something stands on the trail.
//!
//! An [`Intent`] can be made only by [`super::Trail::begin`], after the record is durable; a hand takes nothing less
//! (INVARIANT 1). It cannot be built, cloned or used for a second effect:
//!
//! ```compile_fail,E0451
//! use guardian::audit::Intent;
//! let forged = Intent { seq: 1, run: unreachable!(), step: 1, action: unreachable!() };
//! ```
//! ```compile_fail,E0599
//! fn twice(intent: guardian::audit::Intent) {
//!     let again = intent.clone();
//! }
//! ```
//! ```compile_fail,E0382
//! fn perform(intent: guardian::audit::Intent) {}
//! fn twice(intent: guardian::audit::Intent) {
//!     perform(intent);
//!     perform(intent);
//! }
//! ```
//! ```compile_fail,E0277
//! fn from_outside<'a, T: serde::Deserialize<'a> + Default>() {}
//! from_outside::<guardian::audit::Intent>();
//! ```
//! A [`ReadTicket`] is the same for a read: the record has its number and is on its way, not yet durable.
//!
//! ```compile_fail,E0451
//! use guardian::audit::ReadTicket;
//! let forged = ReadTicket { seq: 1, run: unreachable!(), step: 1, action: unreachable!() };
//! ```
//! ```compile_fail,E0599
//! fn twice(ticket: guardian::audit::ReadTicket) {
//!     let again = ticket.clone();
//! }
//! ```

use crate::model::{Action, EffectClass, PlaybookId, RunId, UndoReference};

/// What [`super::Trail::begin`] and [`super::Trail::begin_read`] are told.
#[derive(Clone, Debug)]
pub struct IntentDraft {
    /// What is about to be done.
    pub action: Action,
    /// Who asked for it: from the verified signature.
    pub playbook: PlaybookId,
    /// What it leaves behind.
    pub class: EffectClass,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The idempotency key; empty for a read.
    pub key: String,
    /// Where the undo material lies.
    pub undo: Option<UndoReference>,
    /// The intent whose effect this one puts back; none for an effect of a playbook.
    pub undoes: Option<u64>,
}

/// Proof that an intent is durable.
#[derive(Debug)]
#[must_use = "a durable intent needs an outcome: pass its number to `Trail::finish`"]
pub struct Intent {
    seq: u64,
    run: RunId,
    step: u32,
    action: Action,
    undoes: Option<u64>,
}

/// Proof that a read is on the trail, or will be with the next batch.
#[derive(Debug)]
#[must_use = "a recorded read needs an outcome: pass its number to `Trail::finish`"]
pub struct ReadTicket {
    seq: u64,
    run: RunId,
    step: u32,
    action: Action,
}

impl Intent {
    pub(super) const fn new(seq: u64, run: RunId, step: u32, action: Action, undoes: Option<u64>) -> Self {
        Self { seq, run, step, action, undoes }
    }

    /// The intent whose effect this one puts back; none for an effect of a playbook.
    #[must_use]
    pub const fn undoes(&self) -> Option<u64> {
        self.undoes
    }
}

impl ReadTicket {
    pub(super) const fn new(seq: u64, run: RunId, step: u32, action: Action) -> Self {
        Self { seq, run, step, action }
    }
}

macro_rules! proof {
    ($proof:ident) => {
        impl $proof {
            /// The number of its record.
            #[must_use]
            pub const fn seq(&self) -> u64 {
                self.seq
            }

            /// What may be done.
            #[must_use]
            pub const fn action(&self) -> &Action {
                &self.action
            }

            /// In which run.
            #[must_use]
            pub const fn run(&self) -> &RunId {
                &self.run
            }

            /// Which call of the run.
            #[must_use]
            pub const fn step(&self) -> u32 {
                self.step
            }
        }
    };
}

proof!(Intent);
proof!(ReadTicket);
