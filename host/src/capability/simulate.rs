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

use super::config::PreparedConfig;
use super::deadline::Deadline;
use super::error::HandError;
use super::evidence::Evidence;
use super::probe::verdict_of;
use super::real::{RealHands, not_a_read};
use super::service::PreparedService;
use super::storage::Assumed;
use super::undo::{Begun, Reconciled, UndoMaterial};
use super::{Hand, Prepared, Work, clock, not_an_effect, plain_name, resource};
use crate::model::{
    Action, ConfigState, ConfigStatus, ConfigVerb, GuestError, Name, Outcome, Reading, Reply, ResourceKind,
    ResourceName, ServiceState, ServiceStatus, ServiceVerb, StorageVerb, Verdict,
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
    /// How full storage would be, and which files would be gone; bounded alike.
    storages: BTreeMap<Name, Assumed>,
    /// How configurations would stand; bounded alike.
    configs: BTreeMap<Name, ConfigStatus>,
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

    /// What a target's own check would say after what was assumed of it.
    fn assumed_check(&self, target: &ResourceName) -> Option<Reading> {
        let name = || target.name().parse::<Name>().ok();
        match target.kind() {
            ResourceKind::Storage => {
                let usage = self.world().storages.get(&name()?).cloned()?.usage;
                Some(assumed(usage.enough, if usage.enough { "enough is free" } else { "not enough is free" }))
            }
            ResourceKind::Config => {
                let status = self.world().configs.get(&name()?).cloned()?;
                Some(assumed(status.state == ConfigState::Matches, status.state.word()))
            }
            ResourceKind::Service => self.assumed_of(Some(target)).map(|status| assumed_reading(&status)),
            ResourceKind::Probe | ResourceKind::Command | ResourceKind::Run => {
                self.assumed_of(self.real.probes.of(target).ok().flatten()).map(|status| assumed_reading(&status))
            }
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

impl World {
    fn serve(&mut self, work: PreparedService) -> Outcome {
        if work.verb() == ServiceVerb::Reload && work.was().state != ServiceState::Running {
            let what = format!("service `{}` is {}, so it cannot reload", work.name(), work.was().state.word());
            return HandError::Failed { what }.into_outcome();
        }
        let after = afterwards(work.verb(), work.was());
        self.services.insert(work.name().clone(), after.clone());
        Outcome::Done { reply: Reply::Service(after) }
    }

    /// What was assumed of what a read looks at.
    fn reply(&self, read: &Action, name: &Name) -> Option<Reply> {
        match read {
            Action::Service { .. } => self.services.get(name).cloned().map(Reply::Service),
            Action::Storage { .. } => self.storages.get(name).map(|assumed| Reply::Storage(assumed.usage.clone())),
            Action::Config { .. } => self.configs.get(name).cloned().map(Reply::Config),
            _ => None,
        }
    }
}

fn assumed(healthy: bool, seen: &str) -> Reading {
    let verdict = if healthy { Verdict::Healthy } else { Verdict::Failed };
    Reading { verdict, latency_us: 0, seen: format!("assumed: {seen}"), assumed: true }
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
            let name = plain_name(name).map_err(HandError::into_guest_error)?;
            if let Some(was) = self.assumed(&name).filter(|_| *verb != ServiceVerb::Status) {
                let judged = PreparedService::judge(*verb, &name, was)
                    .and_then(|judged| self.real.services.can(*verb, &name, deadline).map(|()| judged))
                    .map_err(HandError::into_guest_error)?;
                return Ok(Prepared::service(judged));
            }
        }
        if let Action::Config { verb: ConfigVerb::Restore, name } = action {
            let name = plain_name(name).map_err(HandError::into_guest_error)?;
            // Assumed only after a restore, so it matches.
            if self.world().configs.contains_key(&name) {
                return Ok(Prepared::config(PreparedConfig::assumed(&name)));
            }
        }
        if let Action::Storage { verb, name } = action {
            let name = plain_name(name).map_err(HandError::into_guest_error)?;
            let assumed = self.world().storages.get(&name).cloned().filter(|_| *verb != StorageVerb::Usage);
            if let Some(assumed) = assumed {
                return Ok(Prepared::storage(self.real.storages.prepare(*verb, &name, deadline)?.after(&assumed)));
            }
        }
        if !action.verb().class().is_effect() {
            return Err(not_an_effect(action).into_guest_error());
        }
        self.real.prepare(action, deadline)
    }

    fn perform(&self, prepared: Prepared, _deadline: Deadline) -> Outcome {
        let mut world = self.world();
        world.effects = world.effects.saturating_add(1);
        if self.fails.contains(&world.effects) {
            let what = format!("assumed to fail (--assume fail:{})", world.effects);
            return HandError::Failed { what }.into_outcome();
        }
        match prepared.work {
            Work::Service(work) => world.serve(work),
            Work::Storage(work) => {
                let (outcome, assumed) = self.real.storages.imagine(&work);
                if let Some(assumed) = assumed {
                    world.storages.insert(work.name().clone(), assumed);
                }
                outcome
            }
            Work::Config(work) => {
                let outcome = self.real.configs.imagine(&work);
                if let Outcome::Done { reply: Reply::Config(status) } = &outcome {
                    world.configs.insert(work.name().clone(), status.clone());
                }
                outcome
            }
            Work::Command(work) => self.real.commands.imagine(&work),
        }
    }

    fn observe(&self, action: &Action, deadline: Deadline) -> Outcome {
        match action {
            Action::Service { verb: ServiceVerb::Status, name }
            | Action::Storage { verb: StorageVerb::Usage, name }
            | Action::Config { verb: ConfigVerb::Check, name } => {
                match plain_name(name).map(|name| self.world().reply(action, &name)) {
                    Ok(Some(reply)) => Outcome::Done { reply },
                    Ok(None) => self.real.observe(action, deadline),
                    Err(error) => error.into_outcome(),
                }
            }
            Action::Service { .. } | Action::Storage { .. } | Action::Config { .. } | Action::Command { .. } => {
                not_a_read(action)
            }
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
        self.assumed_check(target).unwrap_or_else(|| self.real.check(target, deadline))
    }

    /// A plan begins nothing, so there is nothing whose end it could have missed.
    fn reconcile(&self, _begun: Begun<'_>, _deadline: Deadline) -> Reconciled {
        Reconciled::Unknown
    }

    /// A plan is not unwound: it did nothing.
    fn put_back(&self, action: &Action, _undo: &UndoMaterial, _deadline: Deadline) -> Outcome {
        HandError::Invalid { what: format!("{} was only planned", action.verb()) }.into_outcome()
    }

    fn by_hand(&self, action: &Action) -> Option<String> {
        self.real.by_hand(action)
    }

    fn evidence(&self, target: &ResourceName, deadline: Deadline) -> Evidence {
        self.real.evidence(target, deadline)
    }
}

#[cfg(test)]
mod tests;
