//! The hands that act.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock::ClockHand;
use super::command::CommandHand;
use super::config::ConfigHand;
use super::deadline::Deadline;
use super::error::HandError;
use super::evidence::Evidence;
use super::evidence::sockets;
use super::probe::{ProbeHand, verdict_of};
use super::service::{ServiceHand, ServiceTools};
use super::storage::StorageHand;
use super::undo::{Begun, Reconciled, UndoMaterial};
use super::{Hand, Prepared, Work, log, not_an_effect, plain_name};
use crate::inventory::Inventory;
use crate::model::{
    Action, Clock, ConfigVerb, GuestError, Name, Outcome, Reading, Reply, ResourceKind, ResourceName, ServiceVerb,
    StorageVerb, Verdict,
};

/// Every hand on the real world.
#[derive(Clone)]
pub struct RealHands {
    pub(super) services: Arc<ServiceHand>,
    pub(super) storages: Arc<StorageHand>,
    pub(super) configs: Arc<ConfigHand>,
    pub(super) commands: Arc<CommandHand>,
    pub(super) probes: Arc<ProbeHand>,
    pub(super) clock: Arc<ClockHand>,
    /// What belongs to which target, for evidence.
    belonging: Arc<BTreeMap<ResourceName, Vec<ResourceName>>>,
}

impl RealHands {
    /// Hands on everything that `inventory` names. Touches none of it.
    ///
    /// # Ambient Authority
    /// As [`ServiceHand::new`]; later calls open the paths and run the commands of the inventory.
    ///
    /// # Errors
    /// When a folder of the keepers cannot be made, or can be written by others.
    pub fn on(inventory: &Inventory, tools: &ServiceTools, clock: Arc<dyn Clock>) -> Result<Self, HandError> {
        let services = Arc::new(ServiceHand::new(inventory, tools)?);
        let mut belonging: BTreeMap<ResourceName, Vec<ResourceName>> = BTreeMap::new();
        for name in inventory.names() {
            belonging.entry(inventory.target_of(&name)).or_default().push(name);
        }
        let probes = Arc::new(ProbeHand::new(inventory, Arc::clone(&services)));
        Ok(Self {
            storages: Arc::new(StorageHand::new(inventory, Arc::clone(&services))),
            configs: Arc::new(ConfigHand::new(inventory)),
            commands: Arc::new(CommandHand::new(inventory, &tools.keeper)),
            services,
            probes,
            clock: Arc::new(ClockHand::new(clock)),
            belonging: Arc::new(belonging),
        })
    }

    /// Touches a resource for real without changing it, and says in a line what was seen: what a playbook would need of it
    /// is there, or the error says what is not.
    ///
    /// # Errors
    /// The first thing that is wrong, with what mends it.
    pub fn touch(&self, resource: &ResourceName, deadline: Deadline) -> Result<String, HandError> {
        let name = || plain_name(resource.name());
        match resource.kind() {
            ResourceKind::Service => self
                .services
                .status(&name()?, deadline)
                .map(|status| format!("its supervisor says: {}", status.state.word())),
            ResourceKind::Storage => self.storages.touch(&name()?),
            ResourceKind::Config => self.configs.touch(&name()?),
            ResourceKind::Command => self.commands.touch(&name()?),
            ResourceKind::Probe => {
                let reading = self.probes.look(resource, deadline)?;
                let seen = format!("{} {}", reading.verdict.word(), crate::model::escape_to(&reading.seen, 120));
                match reading.verdict {
                    // Nothing can be said of what is looked at.
                    Verdict::Unknown => Err(HandError::Unavailable {
                        what: format!("`{resource}` cannot be looked at: {seen}"),
                        remedy: "see its check in guardian.toml".to_owned(),
                    }),
                    _ => Ok(seen),
                }
            }
            ResourceKind::Run => Ok(String::new()),
        }
    }

    /// What stands outside `guardian.toml` and decides what an act on a resource comes to, as bytes for a keyed digest: of a
    /// configuration what its baseline says now. Empty for everything else.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn baseline(&self, resource: &ResourceName) -> Result<Vec<u8>, HandError> {
        match resource.kind() {
            ResourceKind::Config => self.configs.installs(&plain_name(resource.name())?),
            _ => Ok(Vec::new()),
        }
    }

    /// The hand on services, for what a person does with them.
    #[must_use]
    pub fn services(&self) -> &ServiceHand {
        &self.services
    }
}

impl Hand for RealHands {
    fn prepare(&self, action: &Action, deadline: Deadline) -> Result<Prepared, GuestError> {
        let name = |given: &str| plain_name(given).map_err(HandError::into_guest_error);
        match action {
            Action::Service { verb, name: given } if *verb != ServiceVerb::Status => {
                Ok(Prepared::service(self.services.prepare(*verb, &name(given)?, deadline)?))
            }
            Action::Storage { verb, name: given } if *verb != StorageVerb::Usage => {
                Ok(Prepared::storage(self.storages.prepare(*verb, &name(given)?, deadline)?))
            }
            Action::Config { verb, name: given } if *verb != ConfigVerb::Check => {
                Ok(Prepared::config(self.configs.prepare(*verb, &name(given)?, deadline)?))
            }
            Action::Command { name: given } => Ok(Prepared::command(self.commands.prepare(&name(given)?, deadline)?)),
            read => Err(not_an_effect(read).into_guest_error()),
        }
    }

    fn perform(&self, prepared: Prepared, deadline: Deadline) -> Outcome {
        match prepared.work {
            Work::Service(work) => self.services.perform(work, deadline),
            Work::Storage(work) => self.storages.perform(work, deadline),
            Work::Config(work) => self.configs.perform(work, deadline),
            Work::Command(work) => self.commands.perform(work, deadline),
        }
    }

    fn observe(&self, action: &Action, deadline: Deadline) -> Outcome {
        let named = |observe: &dyn Fn(&Name) -> Outcome| match action.named().map(|name| plain_name(name)) {
            Some(Ok(name)) => observe(&name),
            Some(Err(error)) => error.into_outcome(),
            None => not_a_read(action),
        };
        match action {
            Action::Service { verb: ServiceVerb::Status, .. } => named(&|name| self.services.observe(name, deadline)),
            Action::Storage { verb: StorageVerb::Usage, .. } => named(&|name| self.storages.observe(name, deadline)),
            Action::Config { verb: ConfigVerb::Check, .. } => named(&|name| self.configs.observe(name, deadline)),
            Action::Service { .. } | Action::Storage { .. } | Action::Config { .. } | Action::Command { .. } => {
                not_a_read(action)
            }
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
        let Ok(name) = target.name().parse() else { return self.probe(target, deadline) };
        match target.kind() {
            ResourceKind::Storage => self.storages.check(&name, deadline),
            ResourceKind::Config => self.configs.check(&name, deadline),
            ResourceKind::Service => {
                match target.check_of().and_then(|probe| self.probes.look(&probe, deadline).ok()) {
                    Some(reading) => reading,
                    None => self.supervisors_word(&name, deadline),
                }
            }
            ResourceKind::Probe | ResourceKind::Command | ResourceKind::Run => self.probe(target, deadline),
        }
    }

    fn reconcile(&self, begun: Begun<'_>, deadline: Deadline) -> Reconciled {
        let Some(Ok(name)) = begun.action.named().map(|name| plain_name(name)) else { return Reconciled::Unknown };
        match (begun.action, begun.undo) {
            (Action::Service { verb, .. }, None | Some(UndoMaterial::Service(_))) => {
                self.services.reconcile(*verb, &name, begun.ago, deadline)
            }
            (Action::Storage { verb, .. }, None) => self.storages.reconcile(*verb, &name, None, deadline),
            (Action::Storage { verb, .. }, Some(UndoMaterial::Storage(undo))) => {
                self.storages.reconcile(*verb, &name, Some(undo), deadline)
            }
            (Action::Config { verb, .. }, None) => self.configs.reconcile(*verb, &name, None, deadline),
            (Action::Config { verb, .. }, Some(UndoMaterial::Config(undo))) => {
                self.configs.reconcile(*verb, &name, Some(undo), deadline)
            }
            // A command leaves no sign of its own that the host could read.
            _ => Reconciled::Unknown,
        }
    }

    fn put_back(&self, action: &Action, undo: &UndoMaterial, deadline: Deadline) -> Outcome {
        let name = match super::resource(action).and_then(|resource| plain_name(resource.name())) {
            Ok(name) => name,
            Err(error) => return error.into_outcome(),
        };
        match (action, undo) {
            (Action::Service { .. }, UndoMaterial::Service(undo)) => self.services.put_back(&name, undo, deadline),
            (Action::Storage { .. }, UndoMaterial::Storage(undo)) => self.storages.put_back(&name, undo, deadline),
            (Action::Config { .. }, UndoMaterial::Config(undo)) => self.configs.put_back(&name, undo, deadline),
            _ => super::different().into_outcome(),
        }
    }

    fn by_hand(&self, action: &Action) -> Option<String> {
        let name = plain_name(action.named()?).ok()?;
        match action {
            Action::Service { verb, .. } => self.services.by_hand(*verb, &name),
            Action::Storage { verb, .. } => self.storages.by_hand(*verb, &name),
            Action::Config { verb, .. } => self.configs.by_hand(*verb, &name),
            Action::Command { .. } => self.commands.by_hand(&name),
            Action::Probe { .. } | Action::Log { .. } | Action::Now | Action::Sleep { .. } => None,
        }
    }

    fn evidence(&self, target: &ResourceName, deadline: Deadline) -> Evidence {
        let service = Some(target).filter(|target| target.kind() == ResourceKind::Service);
        let name = service.and_then(|target| target.name().parse::<Name>().ok());
        Evidence {
            check: self.check(target, deadline),
            service: name.as_ref().and_then(|name| self.services.status(name, deadline).ok()),
            lines: name.as_ref().map(|name| self.services.last_lines(name)).unwrap_or_default(),
            sockets: name
                .as_ref()
                .map(|name| sockets::of(&self.services.processes(name, deadline)))
                .unwrap_or_default(),
            storage: self.beside(target, ResourceKind::Storage, |name| match self.storages.observe(name, deadline) {
                Outcome::Done { reply: Reply::Storage(usage) } => Some(usage),
                _ => None,
            }),
            configs: self.beside(target, ResourceKind::Config, |name| match self.configs.observe(name, deadline) {
                Outcome::Done { reply: Reply::Config(status) } => Some(status),
                _ => None,
            }),
            target: target.clone(),
        }
    }
}

impl RealHands {
    /// What is seen of the resources of a kind that belong to a target.
    fn beside<T>(&self, target: &ResourceName, kind: ResourceKind, see: impl Fn(&Name) -> Option<T>) -> Vec<(Name, T)> {
        let belonging = self.belonging.get(target).into_iter().flatten().filter(|name| name.kind() == kind);
        belonging
            .filter_map(|resource| plain_name(resource.name()).ok())
            .filter_map(|name| Some((name.clone(), see(&name)?)))
            .collect()
    }

    fn probe(&self, target: &ResourceName, deadline: Deadline) -> Reading {
        let looked = self.probes.look(target, deadline);
        looked.unwrap_or_else(|_| unknown("there is nothing to look at".to_owned()))
    }

    fn supervisors_word(&self, service: &Name, deadline: Deadline) -> Reading {
        match self.services.status(service, deadline) {
            Ok(status) => Reading {
                verdict: verdict_of(status.state),
                latency_us: 0,
                seen: status.state.word().to_owned(),
                assumed: false,
            },
            Err(error) => unknown(error.to_string()),
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
