//! The hands that act.

use std::sync::Arc;

use super::deadline::Deadline;
use super::error::HandError;
use super::probe::ProbeHand;
use super::run::RunHand;
use super::service::ServiceHand;
use super::{Hand, Prepared, Work, not_an_effect, service_name};
use crate::model::{Action, GuestError, Outcome, ServiceVerb};

/// Every hand on the real world.
#[derive(Clone)]
pub struct RealHands {
    pub(super) services: Arc<ServiceHand>,
    pub(super) probes: Arc<ProbeHand>,
    pub(super) run: Arc<RunHand>,
}

impl RealHands {
    /// The hands, put together.
    #[must_use]
    pub fn new(services: Arc<ServiceHand>, probes: Arc<ProbeHand>, run: Arc<RunHand>) -> Self {
        Self { services, probes, run }
    }
}

impl Hand for RealHands {
    fn prepare(&self, action: &Action, deadline: Deadline) -> Result<Prepared, GuestError> {
        match action {
            Action::Service { verb: ServiceVerb::Status, .. }
            | Action::Probe { .. }
            | Action::Log { .. }
            | Action::Now
            | Action::Sleep { .. } => Err(not_an_effect(action).into_guest_error()),
            Action::Service { verb, name } => {
                let name = service_name(name).map_err(HandError::into_guest_error)?;
                Ok(Prepared(Work::Service(self.services.prepare(*verb, &name, deadline)?)))
            }
        }
    }

    fn perform(&self, prepared: Prepared, deadline: Deadline) -> Outcome {
        match prepared.0 {
            Work::Service(prepared) => self.services.perform(prepared, deadline),
        }
    }

    fn observe(&self, action: &Action, deadline: Deadline) -> Outcome {
        match action {
            Action::Service { verb: ServiceVerb::Status, name } => match service_name(name) {
                Ok(name) => self.services.observe(&name, deadline),
                Err(error) => error.into_outcome(),
            },
            Action::Service { .. } => not_a_read(action),
            Action::Probe { .. } => match super::resource(action) {
                Ok(probe) => self.probes.observe(&probe, deadline),
                Err(error) => error.into_outcome(),
            },
            Action::Log { .. } => RunHand::write(),
            Action::Now => self.run.now(),
            Action::Sleep { milliseconds } => self.run.sleep(*milliseconds, deadline),
        }
    }
}

/// INVARIANT 1: an effect cannot come in by the door of the reads, which needs no durable intent.
pub(super) fn not_a_read(action: &Action) -> Outcome {
    HandError::Invalid { what: format!("{} is an effect and cannot be observed", action.verb()) }.into_outcome()
}
