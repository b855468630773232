//! The real hands: what a run acts with.

use std::sync::Arc;

use super::service::{ServiceHand, ServiceTools};
use super::{Deadline, HandError, Hands, Prepared, clock, log, probe, same_act};
use crate::audit::{Intent, ReadTicket};
use crate::inventory::Inventory;
use crate::model::{
    Action, Clock, ErrorCode, GuestError, Name, Outcome, Reading, Reply, ResourceKind, ResourceName, ServiceStatus,
    ServiceVerb, Timestamp, Verdict,
};
use crate::policy::Permit;

/// The real hands, on one inventory.
pub struct RealHands {
    inventory: Inventory,
    services: ServiceHand,
    clock: Arc<dyn Clock>,
    /// What the bus is awaited on; it must outlive the hand on services.
    _runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for RealHands {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RealHands").finish_non_exhaustive()
    }
}

impl RealHands {
    /// Hands on this inventory. Touches none of it. `runtime` is the one that `tools` has the handle of.
    ///
    /// # Errors
    /// When the keepers' folder cannot be made.
    pub fn new(
        inventory: &Inventory,
        tools: &ServiceTools,
        runtime: tokio::runtime::Runtime,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HandError> {
        let services = ServiceHand::new(inventory, tools)?;
        Ok(Self { inventory: inventory.clone(), services, clock, _runtime: runtime })
    }

    /// What a service is doing.
    ///
    /// # Errors
    /// When its supervisor does not say.
    pub fn status(&self, name: &Name, deadline: Deadline) -> Result<ServiceStatus, GuestError> {
        self.services.status(name, deadline).map_err(HandError::into_guest_error)
    }

    /// Acts for a person, not for a playbook: a stop is remembered as theirs, a start hands the service back.
    ///
    /// # Errors
    /// When it did not work.
    pub fn by_person(&self, verb: ServiceVerb, name: &Name, deadline: Deadline) -> Result<ServiceStatus, HandError> {
        self.services.by_person(verb, name, deadline)
    }

    /// The time, as the guest is told it.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What a resource belongs to.
    pub(super) fn owner_of(&self, resource: &ResourceName) -> ResourceName {
        self.inventory.target_of(resource)
    }

    /// Looks at a probe, or at the check of a service.
    fn reading(&self, probe: &ResourceName, deadline: Deadline) -> Option<Reading> {
        let check = self.inventory.check(probe)?;
        let owner = self.inventory.target_of(probe);
        Some(probe::look(check, deadline, || self.services.status(&owner.name().parse().ok()?, deadline).ok()))
    }
}

/// The service that a permit is about.
pub(super) fn service_of(permit: &Permit) -> Result<(ServiceVerb, Name), GuestError> {
    match permit.action() {
        Action::Service { verb, name } => {
            let name = name.parse().map_err(|error| GuestError::new(ErrorCode::Invalid, format!("{error}")))?;
            Ok((*verb, name))
        }
        other => Err(GuestError::new(ErrorCode::Failed, format!("{} has no effect to prepare", other.verb()))),
    }
}

impl Hands for RealHands {
    fn prepare(&self, permit: &Permit, deadline: Deadline) -> Result<Prepared, GuestError> {
        let (verb, name) = service_of(permit)?;
        Ok(Prepared { act: self.services.prepare(verb, &name, deadline)? })
    }

    fn perform(&self, permit: Permit, prepared: Prepared, intent: Intent, deadline: Deadline) -> Outcome {
        if let Err(refused) = same_act(permit.action(), intent.action()) {
            return *refused;
        }
        self.services.perform(prepared.act, deadline)
    }

    fn observe(&self, permit: Permit, ticket: ReadTicket, deadline: Deadline) -> Outcome {
        if let Err(refused) = same_act(permit.action(), ticket.action()) {
            return *refused;
        }
        match permit.action() {
            Action::Service { verb: ServiceVerb::Status, .. } => match service_of(&permit) {
                Ok((_, name)) => self.services.observe(&name, deadline),
                Err(error) => Outcome::Failed { error },
            },
            Action::Service { verb, .. } => {
                let message = format!("service.{verb:?} is an effect, not a look").to_lowercase();
                Outcome::Failed { error: GuestError::new(ErrorCode::Failed, message) }
            }
            Action::Probe { .. } => match self.reading(permit.resource(), deadline) {
                Some(reading) => Outcome::Done { reply: Reply::Probe(reading) },
                None => Outcome::Failed { error: GuestError::new(ErrorCode::NotFound, "there is no such probe") },
            },
            Action::Log { .. } => log::write(),
            Action::Now => clock::now(&*self.clock),
            Action::Sleep { milliseconds } => clock::sleep(&*self.clock, *milliseconds, deadline),
        }
    }

    fn check(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        let probe = match target.kind() {
            ResourceKind::Service => target.check_of(),
            ResourceKind::Probe | ResourceKind::Run => Some(target.clone()),
        };
        if let Some(reading) = probe.and_then(|probe| self.reading(&probe, deadline)) {
            return reading;
        }
        match target.name().parse() {
            Ok(name) if target.kind() == ResourceKind::Service => probe::supervised(self.services.status(&name, deadline).ok()),
            _ => Reading { verdict: Verdict::Unknown, latency_us: 0, seen: "nothing to look at".to_owned(), assumed: false },
        }
    }
}
