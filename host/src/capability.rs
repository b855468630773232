//! The hands: the only code that touches the world for a playbook.
//!
//! A hand takes proofs and nothing less: a [`Permit`] that policy made, and an [`Intent`] (for an effect) or a
//! [`ReadTicket`] (for a look) that the trail made. [`Hands::prepare`] looks and says what would put the act back, and
//! never changes the target; [`Hands::perform`] acts, once, within its deadline, and says what is known: done, failed, or
//! not known. There are two live implementors: the real hands, and the simulated ones of a plan.
//!
//! What this room does not do: decide, record, retry, or keep undo material. One file or folder per interface.

mod clock;
mod deadline;
mod error;
mod keeper;
mod log;
mod login;
mod probe;
mod real;
mod service;
mod simulate;

pub use deadline::Deadline;
pub use error::HandError;
pub use keeper::keeper_main;
pub use login::login_uid;
pub use real::RealHands;
pub use service::{PreparedService, SYSTEM_BUS, ServiceHand, ServiceTools, StopReason, UndoMaterial};
pub use simulate::SimulatedHands;

use crate::audit::{Intent, ReadTicket};
use crate::model::{Action, ErrorCode, GuestError, Outcome, Reading, ResourceName};
use crate::policy::Permit;

/// An act that is ready: looked at, not refused, its undo material at hand.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    act: PreparedService,
}

impl Prepared {
    /// What would put it back; none for an act that leaves nothing to put back.
    #[must_use]
    pub const fn undo(&self) -> Option<&UndoMaterial> {
        self.act.undo()
    }
}

/// What acts for a playbook: for real, or simulated.
pub trait Hands: Send + Sync {
    /// Gets a permitted effect ready. Changes nothing.
    ///
    /// # Errors
    /// When it cannot or must not be done; nothing was done then.
    fn prepare(&self, permit: &Permit, deadline: Deadline) -> Result<Prepared, GuestError>;

    /// Acts. The three proofs must be about the same action.
    fn perform(&self, permit: Permit, prepared: Prepared, intent: Intent, deadline: Deadline) -> Outcome;

    /// Looks.
    fn observe(&self, permit: Permit, ticket: ReadTicket, deadline: Deadline) -> Outcome;

    /// Asks the target's own check, or its supervisor if it has none: the host's own question, not a playbook's.
    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading;
}

/// INVARIANT 1: a permit for one act and an intent for another are no permission for either.
fn same_act(permitted: &Action, recorded: &Action) -> Result<(), Box<Outcome>> {
    if permitted == recorded {
        return Ok(());
    }
    let error = GuestError::new(ErrorCode::Failed, "the permit and the record are about different acts; nothing was done");
    Err(Box::new(Outcome::Failed { error }))
}
