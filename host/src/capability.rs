//! The hands: the only code that touches the world for a playbook.
//!
//! One hand per interface (`service`, `storage`, `config`, ...), each built from the operator's inventory, so that it can reach
//! what the operator named and nothing else. Everything below this file is out of reach for the rooms above: they see
//! [`Hands`], and through it an effect has two halves. *Prepare* looks, refuses what must not be done, keeps what it takes to
//! put the effect back, and changes nothing. *Perform* acts, once, by a deadline, and says what is known afterwards; a hand
//! never tries again by itself (INVARIANT 9). *Observe* takes the reads, and refuses effects.
//!
//! The seam has two implementors in daily use: [`RealHands`] for a run, [`SimulatedHands`] for a plan.
//!
//! What it does not do: judge whether an act is permitted, or record it. Those proofs are asked for by the front door,
//! [`Hands`]; who has none cannot reach a hand.

mod clock;
mod command;
mod config;
mod deadline;
mod error;
mod evidence;
mod folder;
mod keeper;
#[cfg(test)]
mod left_out;
mod log;
mod login;
mod probe;
mod real;
mod service;
mod simulate;
mod storage;
mod trusted;
mod undo;

pub use clock::ClockHand;
pub use command::{CommandHand, command_worker_main};
pub use config::{ConfigHand, ConfigUndo};
pub use deadline::Deadline;
pub use error::HandError;
pub use evidence::Evidence;
pub use keeper::keeper_main;
pub use login::login_uid;
pub use probe::ProbeHand;
pub use real::RealHands;
pub use service::{PreparedService, SYSTEM_BUS, ServiceHand, ServiceTools, StopReason};
pub use simulate::SimulatedHands;
pub use storage::{StorageHand, StorageUndo};
pub use undo::{Begun, Reconciled, ServiceUndo, UndoMaterial};

use self::command::PreparedCommand;
use self::config::PreparedConfig;
use self::storage::PreparedStorage;
use crate::audit::{Intent, ReadTicket};
use crate::model::{Action, GuestError, Name, Outcome, Reading, ResourceName};
use crate::policy::Permit;

/// An act that was looked at and may be done, with what puts it back.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    work: Work,
    undo: Option<UndoMaterial>,
}

#[derive(Debug)]
enum Work {
    Service(PreparedService),
    Storage(PreparedStorage),
    Config(PreparedConfig),
    Command(PreparedCommand),
}

impl Prepared {
    fn service(work: PreparedService) -> Self {
        let undo = work.undo().cloned().map(UndoMaterial::Service);
        Self { work: Work::Service(work), undo }
    }

    fn storage(work: PreparedStorage) -> Self {
        let undo = work.undo().cloned().map(UndoMaterial::Storage);
        Self { work: Work::Storage(work), undo }
    }

    fn config(work: PreparedConfig) -> Self {
        let undo = work.undo().cloned().map(UndoMaterial::Config);
        Self { work: Work::Config(work), undo }
    }

    const fn command(work: PreparedCommand) -> Self {
        Self { work: Work::Command(work), undo: None }
    }

    /// What puts it back: to be on the disk before the act begins. None if the act leaves nothing to put back.
    #[must_use]
    pub const fn undo(&self) -> Option<&UndoMaterial> {
        self.undo.as_ref()
    }

    /// Whether this is the preparation of that act.
    fn is_for(&self, action: &Action) -> bool {
        let named = match (&self.work, action) {
            (Work::Service(work), Action::Service { verb, .. }) if *verb == work.verb() => work.name(),
            (Work::Storage(work), Action::Storage { verb, .. }) if *verb == work.verb() => work.name(),
            (Work::Config(work), Action::Config { verb, .. }) if *verb == work.verb() => work.name(),
            (Work::Command(work), Action::Command { .. }) => work.name(),
            _ => return false,
        };
        action.named().is_some_and(|name| name == named.as_str())
    }
}

/// Hands, real or simulated. Each call is over by its deadline.
pub(crate) trait Hand: Send + Sync {
    /// Gets an effect ready. Changes nothing. A read is refused with `invalid`.
    fn prepare(&self, action: &Action, deadline: Deadline) -> Result<Prepared, GuestError>;
    /// Does what was prepared.
    fn perform(&self, prepared: Prepared, deadline: Deadline) -> Outcome;
    /// Looks. An effect is refused with `invalid`.
    fn observe(&self, action: &Action, deadline: Deadline) -> Outcome;
    /// Asks a target's own check.
    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading;
    /// Says whether an effect happened that nobody saw end. Changes nothing.
    fn reconcile(&self, begun: Begun<'_>, deadline: Deadline) -> Reconciled;
    /// Puts an effect back. Doing it twice is doing it once.
    fn put_back(&self, action: &Action, undo: &UndoMaterial, deadline: Deadline) -> Outcome;
    /// What a person would type to do the same.
    fn by_hand(&self, action: &Action) -> Option<String>;
    /// How a target looks before anything is done to it.
    fn evidence(&self, target: &ResourceName, deadline: Deadline) -> Evidence;
}

/// The front door of this room.
///
/// It is where the proofs are taken in: [`prepare`](Hands::prepare) asks for the permit, [`perform`](Hands::perform)
/// consumes permit, preparation and durable intent, [`observe`](Hands::observe) consumes the ticket of a recorded read.
pub struct Hands {
    hand: Box<dyn Hand>,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hands").finish_non_exhaustive()
    }
}

impl Hands {
    /// Hands that act.
    #[must_use]
    pub fn real(hands: RealHands) -> Self {
        Self { hand: Box::new(hands) }
    }

    /// Hands that act in thought.
    #[must_use]
    pub fn simulated(hands: SimulatedHands) -> Self {
        Self { hand: Box::new(hands) }
    }

    /// Gets a permitted effect ready. Changes nothing.
    ///
    /// # Errors
    /// When it cannot or must not be done; nothing was done then.
    pub fn prepare(&self, permit: &Permit, deadline: Deadline) -> Result<Prepared, GuestError> {
        self.hand.prepare(permit.action(), deadline)
    }

    /// Acts, once.
    pub fn perform(&self, permit: Permit, prepared: Prepared, intent: Intent, deadline: Deadline) -> Outcome {
        // INVARIANT 1: a permit for one act and an intent for another are no permission for either.
        if permit.action() != intent.action() || intent.undoes().is_some() || !prepared.is_for(permit.action()) {
            return different().into_outcome();
        }
        self.hand.perform(prepared, deadline)
    }

    /// Says whether an effect happened whose outcome is not on the trail. Changes nothing.
    #[must_use]
    pub fn reconcile(&self, begun: Begun<'_>, deadline: Deadline) -> Reconciled {
        self.hand.reconcile(begun, deadline)
    }

    /// Puts an effect back: the host's own act, which needs no permit and has an intent of its own, made for undoing that
    /// effect and no other.
    pub fn put_back(&self, intent: Intent, undo: &UndoMaterial, deadline: Deadline) -> Outcome {
        // INVARIANT 1: an intent to do something is none to undo it.
        if intent.undoes().is_none() {
            return different().into_outcome();
        }
        self.hand.put_back(intent.action(), undo, deadline)
    }

    /// How a target looks before anything is done to it. What cannot be seen by the deadline is missing.
    #[must_use]
    pub fn evidence(&self, target: &ResourceName, deadline: Deadline) -> Evidence {
        self.hand.evidence(target, deadline)
    }

    /// What a person would type to do the same by hand, if the operator's configuration says enough for that.
    #[must_use]
    pub fn by_hand(&self, action: &Action) -> Option<String> {
        self.hand.by_hand(action)
    }

    /// Looks.
    pub fn observe(&self, permit: Permit, ticket: ReadTicket, deadline: Deadline) -> Outcome {
        if permit.action() != ticket.action() {
            return different().into_outcome();
        }
        self.hand.observe(permit.action(), deadline)
    }

    /// Asks a target's own check, or its supervisor if it has none: the host's question, not a playbook's.
    #[must_use]
    pub fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        self.hand.check(target, deadline)
    }
}

fn different() -> HandError {
    HandError::Invalid { what: "permit, preparation and record are about different acts; nothing was done".to_owned() }
}

fn resource(action: &Action) -> Result<ResourceName, HandError> {
    action.resource().map_err(|error| HandError::Invalid { what: error.to_string() })
}

fn plain_name(given: &str) -> Result<Name, HandError> {
    given.parse().map_err(|error: crate::model::InvalidName| HandError::Invalid { what: error.to_string() })
}

fn not_an_effect(action: &Action) -> HandError {
    HandError::Invalid { what: format!("{} is a read and has nothing to prepare", action.verb()) }
}
