//! The hands that act.

use std::sync::Arc;

use super::clock::ClockHand;
use super::deadline::Deadline;
use super::error::HandError;
use super::probe::{ProbeHand, verdict_of};
use super::service::ServiceHand;
use super::{Hand, Prepared, Work, log, not_an_effect, service_name};
use crate::model::{Action, GuestError, Outcome, Reading, ResourceKind, ResourceName, ServiceVerb, Verdict};

/// Every hand on the real world.
#[derive(Clone)]
pub struct RealHands {
    pub(super) services: Arc<ServiceHand>,
    pub(super) probes: Arc<ProbeHand>,
    pub(super) clock: Arc<ClockHand>,
}

impl RealHands {
    /// The hands, put together.
    #[must_use]
    pub fn new(services: Arc<ServiceHand>, probes: Arc<ProbeHand>, clock: Arc<ClockHand>) -> Self {
        Self { services, probes, clock }
    }

    /// The hand on services, for what a person does with them.
    #[must_use]
    pub fn services(&self) -> &ServiceHand {
        &self.services
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
            Action::Log { .. } => log::write(),
            Action::Now => self.clock.now(),
            Action::Sleep { milliseconds } => self.clock.sleep(*milliseconds, deadline),
        }
    }

    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        let probe = match target.kind() {
            ResourceKind::Service => target.check_of(),
            ResourceKind::Probe | ResourceKind::Run => Some(target.clone()),
        };
        if let Some(reading) = probe.and_then(|probe| self.probes.look(&probe, deadline).ok()) {
            return reading;
        }
        let service = target.name().parse().ok().filter(|_| target.kind() == ResourceKind::Service);
        match service.map(|name| self.services.status(&name, deadline)) {
            Some(Ok(status)) => Reading {
                verdict: verdict_of(status.state),
                latency_us: 0,
                seen: status.state.word().to_owned(),
                assumed: false,
            },
            Some(Err(error)) => unknown(error.to_string()),
            None => unknown("there is nothing to look at".to_owned()),
        }
    }
}

const fn unknown(seen: String) -> Reading {
    Reading { verdict: Verdict::Unknown, latency_us: 0, seen, assumed: false }
}

/// INVARIANT 1: an effect cannot come in by the door of the reads, which needs no durable intent.
pub(super) fn not_a_read(action: &Action) -> Outcome {
    HandError::Invalid { what: format!("{} is an effect and cannot be observed", action.verb()) }.into_outcome()
}
