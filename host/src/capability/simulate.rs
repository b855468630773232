//! The simulated hands: what a plan acts with.
//!
//! They look at the real world and change nothing. An effect is prepared as for real, so that what would be refused for
//! real is refused here, and then answers what the verb declares it leaves behind. From then on reads of that service and
//! of its checks answer the declared state, marked `assumed`: otherwise a playbook that looks after it acted would take
//! the wrong branch, and the plan would be of something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::real::service_of;
use super::{Deadline, Hands, Prepared, RealHands, same_act};
use crate::audit::{Intent, ReadTicket};
use crate::model::{
    Action, ErrorCode, GuestError, Outcome, Reading, Reply, ResourceName, ServiceState, ServiceStatus, ServiceVerb,
    Verdict,
};
use crate::policy::Permit;

/// The simulated hands of one plan.
#[derive(Debug)]
pub struct SimulatedHands {
    real: RealHands,
    fails: BTreeSet<u32>,
    assumed: Mutex<Assumed>,
}

/// What is assumed so far. INVARIANT 7: bounded by the services of the inventory, because an act was permitted first.
#[derive(Debug, Default)]
struct Assumed {
    effects: u32,
    services: BTreeMap<ResourceName, ServiceState>,
    slept: u64,
}

impl SimulatedHands {
    /// Hands that look through `real`; the effects whose numbers (from 1) are in `fails` are assumed to fail.
    #[must_use]
    pub fn new(real: RealHands, fails: BTreeSet<u32>) -> Self {
        Self { real, fails, assumed: Mutex::default() }
    }

    fn state_of(&self, service: &ResourceName) -> Option<ServiceState> {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner).services.get(service).copied()
    }

    /// The next effect: its number decides whether it fails.
    fn act(&self, verb: ServiceVerb, service: ResourceName) -> Outcome {
        let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        assumed.effects += 1;
        if self.fails.contains(&assumed.effects) {
            let message = format!("assumed to fail: effect {} of the plan", assumed.effects);
            return Outcome::Failed { error: GuestError::new(ErrorCode::Failed, message) };
        }
        let state = match verb {
            ServiceVerb::Start | ServiceVerb::Restart | ServiceVerb::Reload => Some(ServiceState::Running),
            ServiceVerb::Stop | ServiceVerb::ResetFailed => Some(ServiceState::Stopped),
            ServiceVerb::Status => None,
        };
        if let Some(state) = state {
            assumed.services.insert(service, state);
        }
        Outcome::Done { reply: Reply::Service(status(state.unwrap_or(ServiceState::Unknown))) }
    }
}

fn status(state: ServiceState) -> ServiceStatus {
    ServiceStatus { assumed: true, ..ServiceStatus::of(state) }
}

fn reading(state: ServiceState) -> Reading {
    let verdict = if state == ServiceState::Running { Verdict::Healthy } else { Verdict::Failed };
    Reading { verdict, latency_us: 0, seen: format!("assumed {}", state.word()), assumed: true }
}

impl Hands for SimulatedHands {
    fn prepare(&self, permit: &Permit, deadline: Deadline) -> Result<Prepared, GuestError> {
        self.real.prepare(permit, deadline)
    }

    fn perform(&self, permit: Permit, _prepared: Prepared, intent: Intent, _deadline: Deadline) -> Outcome {
        if let Err(refused) = same_act(permit.action(), intent.action()) {
            return *refused;
        }
        match service_of(&permit) {
            Ok((verb, _)) => self.act(verb, permit.resource().clone()),
            Err(error) => Outcome::Failed { error },
        }
    }

    fn observe(&self, permit: Permit, ticket: ReadTicket, deadline: Deadline) -> Outcome {
        let owner = self.real.owner_of(permit.resource());
        match (permit.action(), self.state_of(&owner)) {
            (Action::Service { verb: ServiceVerb::Status, .. }, Some(state)) => {
                Outcome::Done { reply: Reply::Service(status(state)) }
            }
            (Action::Probe { .. }, Some(state)) => Outcome::Done { reply: Reply::Probe(reading(state)) },
            // Waiting changes nothing that is assumed; a plan that waited would only be slower.
            (Action::Sleep { milliseconds }, _) => {
                let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
                assumed.slept = assumed.slept.saturating_add(*milliseconds);
                let unix_ms = self.real.now().millis().saturating_add(assumed.slept);
                Outcome::Done { reply: Reply::Time { unix_ms } }
            }
            _ => self.real.observe(permit, ticket, deadline),
        }
    }

    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        match self.state_of(&self.real.owner_of(target)) {
            Some(state) => reading(state),
            None => Reading { assumed: true, ..self.real.check(target, deadline) },
        }
    }
}
