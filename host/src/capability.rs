//! The hands: the only code that touches the world for a playbook.
//!
//! One hand per interface ([`service`], [`probe`], [`run`]), each built from the operator's inventory, so that it can reach
//! what the operator named and nothing else. Everything below this file is out of reach for the rooms above: they see
//! [`Hand`], and through it an effect has two halves. *Prepare* looks, refuses what must not be done, keeps what it takes to
//! put the effect back, and changes nothing. *Perform* acts, once, by a deadline, and says what is known afterwards; a hand
//! never tries again by itself (INVARIANT 9). *Observe* takes the reads, and refuses effects.
//!
//! The seam has two implementors in daily use: [`RealHands`] for a run, [`SimulatedHands`] for a plan.
//!
//! What it does not do: judge whether an act is permitted, or record it. Those proofs are asked for by the front door,
//! [`Hands`]; who has none cannot reach a hand.

mod deadline;
mod error;
mod keeper;
mod probe;
mod real;
mod run;
mod service;
mod simulate;

pub use deadline::Deadline;
pub use error::HandError;
pub use keeper::keeper_main;
pub use probe::ProbeHand;
pub use real::RealHands;
pub use run::RunHand;
pub use service::{PreparedService, SYSTEM_BUS, ServiceHand, ServiceTools, StopReason, UndoMaterial};
pub use simulate::SimulatedHands;

use crate::model::{Action, GuestError, Name, Outcome, ResourceName};

/// An act that was looked at and may be done, with what puts it back.
#[derive(Debug)]
#[must_use]
pub struct Prepared(Work);

#[derive(Debug)]
enum Work {
    Service(PreparedService),
}

impl Prepared {
    /// What puts it back: to be on the disk before the act begins. None if the act leaves nothing to put back.
    #[must_use]
    pub const fn undo(&self) -> Option<&UndoMaterial> {
        match &self.0 {
            Work::Service(prepared) => prepared.undo(),
        }
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
}

/// The front door of this room.
///
/// It is where the proofs are taken in: `prepare` asks for the permit, `perform` consumes permit, preparation and durable
/// intent, `observe` asks for the ticket of a recorded read.
pub struct Hands {
    #[expect(dead_code, reason = "called once the proofs of policy and audit are taken in here")]
    hand: Box<dyn Hand>,
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
}

fn resource(action: &Action) -> Result<ResourceName, HandError> {
    action.resource().map_err(|error| HandError::Invalid { what: error.to_string() })
}

fn service_name(given: &str) -> Result<Name, HandError> {
    given.parse().map_err(|error: crate::model::InvalidName| HandError::Invalid { what: error.to_string() })
}

fn not_an_effect(action: &Action) -> HandError {
    HandError::Invalid { what: format!("{} is a read and has nothing to prepare", action.verb()) }
}
