//! The hands of a plan: they look for real and act in thought.
//!
//! A dry run that fakes everything proves nothing, and one that acts is none. So preparing is real (a refusal is found in
//! the plan, not at three in the morning), an effect only sets down what the resource *would* be afterwards, and from then
//! on every look at that resource and at its checks answers from there, marked `assumed`. Looks at anything else are real.
//! Time is not spent: a sleep moves the plan's own clock.
//!
//! `--assume fail:N` lets the N-th effect fail, to see the other branch. There is no way from here to an effect: the only
//! hands this one holds are asked to prepare and to observe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::deadline::Deadline;
use super::error::HandError;
use super::probe::verdict_of;
use super::real::{RealHands, not_a_read};
use super::service::PreparedService;
use super::{Hand, Prepared, Work, clock, not_an_effect, resource, service_name};
use crate::model::{
    Action, GuestError, Name, Outcome, Reading, Reply, ResourceKind, ResourceName, ServiceState, ServiceStatus,
    ServiceVerb,
};

/// Hands for one plan.
pub struct SimulatedHands {
    real: RealHands,
    /// Which effects fail, counted from 1.
    fails: BTreeSet<u32>,
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    effects: u32,
    slept_ms: u64,
    /// What services would be. Bounded by the inventory: a name gets in only after it was prepared for real.
    services: BTreeMap<Name, ServiceStatus>,
}

impl SimulatedHands {
    /// Hands that look through `real`; the effects whose numbers, counted from 1, are in `fails` are assumed to fail.
    #[must_use]
    pub fn new(real: RealHands, fails: BTreeSet<u32>) -> Self {
        Self { real, fails, world: Mutex::default() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic elsewhere leaves plain data behind.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assumed(&self, name: &Name) -> Option<ServiceStatus> {
        self.world().services.get(name).cloned()
    }

    fn probe(&self, action: &Action, deadline: Deadline) -> Outcome {
        let found = resource(action).and_then(|probe| Ok((self.assumed_of(self.real.probes.of(&probe)?), probe)));
        match found {
            Ok((Some(status), _)) => Outcome::Done { reply: Reply::Probe(assumed_reading(&status)) },
            Ok((None, probe)) => self.real.probes.observe(&probe, deadline),
            Err(error) => error.into_outcome(),
        }
    }

    fn assumed_of(&self, of: Option<&ResourceName>) -> Option<ServiceStatus> {
        let service = of.filter(|of| of.kind() == ResourceKind::Service)?;
        self.assumed(&service.name().parse().ok()?)
    }

    fn time(&self) -> Outcome {
        match self.real.clock.now() {
            Outcome::Done { reply: Reply::Time { unix_ms } } => {
                Outcome::Done { reply: Reply::Time { unix_ms: unix_ms.saturating_add(self.world().slept_ms) } }
            }
            other => other,
        }
    }
}

/// What a check would say of a service that is so.
fn assumed_reading(status: &ServiceStatus) -> Reading {
    let seen = format!("assumed: the service is {}", status.state.word());
    Reading { verdict: verdict_of(status.state), latency_us: 0, seen, assumed: true }
}

/// What an effect is declared to leave behind.
fn afterwards(verb: ServiceVerb, was: &ServiceStatus) -> ServiceStatus {
    let state = match verb {
        ServiceVerb::Start | ServiceVerb::Restart => ServiceState::Running,
        ServiceVerb::Stop if was.state != ServiceState::Failed => ServiceState::Stopped,
        ServiceVerb::ResetFailed if was.state == ServiceState::Failed => ServiceState::Stopped,
        ServiceVerb::Status | ServiceVerb::Stop | ServiceVerb::Reload | ServiceVerb::ResetFailed => was.state,
    };
    let came_up = state == ServiceState::Running && was.state != ServiceState::Running;
    ServiceStatus {
        state,
        since_ms: if state == was.state { was.since_ms } else { Some(0) },
        restarts: if came_up { 0 } else { was.restarts },
        assumed: true,
        ..was.clone()
    }
}

impl Hand for SimulatedHands {
    fn prepare(&self, action: &Action, deadline: Deadline) -> Result<Prepared, GuestError> {
        if let Action::Service { verb, name } = action {
            let name = service_name(name).map_err(HandError::into_guest_error)?;
            if let Some(was) = self.assumed(&name).filter(|_| *verb != ServiceVerb::Status) {
                let judged = PreparedService::judge(*verb, &name, was).map_err(HandError::into_guest_error)?;
                return Ok(Prepared(Work::Service(judged)));
            }
        }
        if !action.verb().class().is_effect() {
            return Err(not_an_effect(action).into_guest_error());
        }
        self.real.prepare(action, deadline)
    }

    fn perform(&self, prepared: Prepared, _deadline: Deadline) -> Outcome {
        let Work::Service(prepared) = prepared.0;
        let mut world = self.world();
        world.effects = world.effects.saturating_add(1);
        if self.fails.contains(&world.effects) {
            let what = format!("assumed to fail (--assume fail:{})", world.effects);
            return HandError::Failed { what }.into_outcome();
        }
        if prepared.verb() == ServiceVerb::Reload && prepared.was().state != ServiceState::Running {
            let what = format!("service `{}` is {}, so it cannot reload", prepared.name(), prepared.was().state.word());
            return HandError::Failed { what }.into_outcome();
        }
        let after = afterwards(prepared.verb(), prepared.was());
        world.services.insert(prepared.name().clone(), after.clone());
        Outcome::Done { reply: Reply::Service(after) }
    }

    fn observe(&self, action: &Action, deadline: Deadline) -> Outcome {
        match action {
            Action::Service { verb: ServiceVerb::Status, name } => {
                match service_name(name).map(|name| self.assumed(&name)) {
                    Ok(Some(status)) => Outcome::Done { reply: Reply::Service(status) },
                    Ok(None) => self.real.observe(action, deadline),
                    Err(error) => error.into_outcome(),
                }
            }
            Action::Service { .. } => not_a_read(action),
            Action::Probe { .. } => self.probe(action, deadline),
            Action::Log { .. } => self.real.observe(action, deadline),
            Action::Now => self.time(),
            Action::Sleep { milliseconds } => {
                if let Err(error) = clock::bounded(*milliseconds, deadline) {
                    return error.into_outcome();
                }
                let mut world = self.world();
                world.slept_ms = world.slept_ms.saturating_add(*milliseconds);
                drop(world);
                self.time()
            }
        }
    }

    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        let service = match target.kind() {
            ResourceKind::Service => Some(target.clone()),
            ResourceKind::Probe | ResourceKind::Run => self.real.probes.of(target).ok().flatten().cloned(),
        };
        match self.assumed_of(service.as_ref()) {
            Some(status) => assumed_reading(&status),
            None => self.real.check(target, deadline),
        }
    }
}

#[cfg(test)]
mod tests;
