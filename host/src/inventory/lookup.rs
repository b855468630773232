//! Looking a resource up: whether it is there, what it belongs to, and what the operator said of it.

use std::collections::BTreeSet;

use crate::model::{Action, Name, ResourceKind, ResourceName, ServiceVerb, StorageVerb, Verb, nearest};

use super::resource::{AfterFailure, Inventory};
use super::{InventoryError, Step};

/// The verb whose acts can do something to other resources than their own.
const ACTS_BESIDES: Verb = Verb::Storage(StorageVerb::Reclaim);

impl Inventory {
    /// A storage with a holder that is no service of the inventory, if there is one; and that holder.
    pub(super) fn missing_holder(&self) -> Option<(&Name, &Name)> {
        self.storages.iter().find_map(|(name, storage)| {
            let holders = storage.steps.iter().flat_map(|step| match step {
                Step::Holders(services) => services.as_slice(),
                Step::Compress(_) | Step::Trash(_) | Step::Purge(_) => &[],
            });
            let missing = holders.into_iter().find(|service| !self.services.contains_key(*service));
            missing.map(|missing| (name, missing))
        })
    }

    /// Every resource of the operator's that a playbook can name, in order. The run itself is not among them: it is nobody's.
    #[must_use]
    pub fn names(&self) -> Vec<ResourceName> {
        let services = self.services.iter().map(|(name, service)| (ResourceName::service(name), service));
        let mut names = Vec::new();
        for (name, service) in services {
            names.extend(service.check.is_some().then(|| name.check_of()).flatten());
            names.push(name);
        }
        let mut all = |kind, of_kind: &mut dyn Iterator<Item = &Name>| {
            names.extend(of_kind.filter_map(|name| ResourceName::new(kind, name.as_str()).ok()));
        };
        all(ResourceKind::Storage, &mut self.storages.keys());
        all(ResourceKind::Config, &mut self.configs.keys());
        all(ResourceKind::Command, &mut self.commands.keys());
        all(ResourceKind::Probe, &mut self.probes.keys());
        names
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, resource: &ResourceName) -> bool {
        let plain = |name: &str| name.parse::<Name>().ok();
        match resource.kind() {
            ResourceKind::Service => plain(resource.name()).is_some_and(|name| self.services.contains_key(&name)),
            ResourceKind::Storage => plain(resource.name()).is_some_and(|name| self.storages.contains_key(&name)),
            ResourceKind::Config => plain(resource.name()).is_some_and(|name| self.configs.contains_key(&name)),
            ResourceKind::Command => plain(resource.name()).is_some_and(|name| self.commands.contains_key(&name)),
            ResourceKind::Probe => self.check(resource).is_some(),
            ResourceKind::Run => *resource == ResourceName::this_run(),
        }
    }

    /// How to look at a probe, or at the check of a service.
    #[must_use]
    pub fn check(&self, probe: &ResourceName) -> Option<&super::Check> {
        match probe.name().strip_prefix("service.") {
            Some(service) => self.services.get(&service.parse::<Name>().ok()?)?.check.as_ref(),
            None => self.probes.get(&probe.name().parse::<Name>().ok()?).map(|probe| &probe.check),
        }
    }

    /// What the operator said a resource belongs to (`of`).
    #[must_use]
    pub fn of(&self, resource: &ResourceName) -> Option<&ResourceName> {
        let name: Name = resource.name().parse().ok()?;
        match resource.kind() {
            ResourceKind::Storage => self.storages.get(&name)?.of.as_ref(),
            ResourceKind::Config => self.configs.get(&name)?.of.as_ref(),
            ResourceKind::Command => self.commands.get(&name)?.of.as_ref(),
            ResourceKind::Probe => self.probes.get(&name)?.of.as_ref(),
            ResourceKind::Service | ResourceKind::Run => None,
        }
    }

    /// What a resource belongs to: itself, or what its `of` names, or for a check its service.
    #[must_use]
    pub fn target_of(&self, resource: &ResourceName) -> ResourceName {
        let checked = match (resource.kind(), resource.name().strip_prefix("service.")) {
            (ResourceKind::Probe, Some(service)) => ResourceName::new(ResourceKind::Service, service).ok(),
            _ => None,
        };
        checked.or_else(|| self.of(resource).cloned()).unwrap_or_else(|| resource.clone())
    }

    /// What an act does to other resources than its own, because the operator's definition says so: making room can reload
    /// services, so that they close deleted files. Each as the action that it is, and each once; none for most acts.
    #[must_use]
    pub fn besides(&self, verb: Verb, resource: &ResourceName) -> Vec<Action> {
        if verb != ACTS_BESIDES || resource.kind() != ResourceKind::Storage {
            return Vec::new();
        }
        let storage = resource.name().parse::<Name>().ok().and_then(|name| self.storages.get(&name));
        let holders = storage.into_iter().flat_map(|storage| &storage.steps).flat_map(|step| match step {
            Step::Holders(services) => services.as_slice(),
            Step::Compress(_) | Step::Trash(_) | Step::Purge(_) => &[],
        });
        let services: BTreeSet<&Name> = holders.collect();
        let reload = |name: &Name| Action::Service { verb: ServiceVerb::Reload, name: name.to_string() };
        services.into_iter().map(reload).collect()
    }

    /// Every resource that an act touches: its own first, then those of [`Inventory::besides`]. The verb is the word that
    /// stands for it on the trail and in a plan; of one that is not known only its own resource is.
    #[must_use]
    pub fn touched(&self, verb: &str, resource: &ResourceName) -> Vec<ResourceName> {
        let besides = Verb::from_id(verb).map(|verb| self.besides(verb, resource)).unwrap_or_default();
        let besides = besides.iter().filter_map(|action| action.resource().ok());
        std::iter::once(resource.clone()).chain(besides).collect()
    }

    /// Whether an act touches a resource; the verb and what it was asked of are the words that the trail has. The same as
    /// looking for it in [`Inventory::touched`], for those that ask about many acts.
    #[must_use]
    pub fn touches(&self, verb: &str, on: &str, resource: &ResourceName) -> bool {
        let others = || on.parse().map(|on| self.touched(verb, &on)).unwrap_or_default();
        resource.is_written(on) || (verb == ACTS_BESIDES.id() && others().contains(resource))
    }

    /// The groups of a resource; a check has those of its service.
    #[must_use]
    pub fn groups_of(&self, resource: &ResourceName) -> BTreeSet<Name> {
        let plain: Option<Name> = resource.name().parse().ok();
        let groups = plain.as_ref().and_then(|name| match resource.kind() {
            ResourceKind::Service => self.services.get(name).map(|service| &service.groups),
            ResourceKind::Storage => self.storages.get(name).map(|storage| &storage.groups),
            ResourceKind::Config => self.configs.get(name).map(|config| &config.groups),
            ResourceKind::Command => self.commands.get(name).map(|command| &command.groups),
            ResourceKind::Probe => self.probes.get(name).map(|probe| &probe.groups),
            ResourceKind::Run => None,
        });
        let checked = || self.service(&self.target_of(resource)).ok().map(|service| &service.groups);
        groups.or_else(checked).cloned().unwrap_or_default()
    }

    /// Whether the operator marked a resource, or what it belongs to, as protected.
    #[must_use]
    pub fn protected(&self, resource: &ResourceName) -> bool {
        let own = |resource: &ResourceName| {
            let Ok(name) = resource.name().parse::<Name>() else { return false };
            match resource.kind() {
                ResourceKind::Service => self.services.get(&name).is_some_and(|service| service.protected),
                ResourceKind::Storage => self.storages.get(&name).is_some_and(|storage| storage.protected),
                ResourceKind::Config => self.configs.get(&name).is_some_and(|config| config.protected),
                ResourceKind::Command => self.commands.get(&name).is_some_and(|command| command.protected),
                ResourceKind::Probe | ResourceKind::Run => false,
            }
        };
        own(resource) || own(&self.target_of(resource))
    }

    /// When a resource counts as healed; none if it has no terms of its own.
    #[must_use]
    pub fn healed(&self, resource: &ResourceName) -> Option<&super::Healed> {
        let name: Name = resource.name().parse().ok()?;
        match resource.kind() {
            ResourceKind::Service => Some(&self.services.get(&name)?.healed),
            ResourceKind::Storage => Some(&self.storages.get(&name)?.healed),
            ResourceKind::Config => Some(&self.configs.get(&name)?.healed),
            ResourceKind::Command | ResourceKind::Probe | ResourceKind::Run => None,
        }
    }

    /// What becomes of effects on a resource when the target is not healed.
    #[must_use]
    pub fn unhealed(&self, resource: &ResourceName) -> AfterFailure {
        let Ok(name) = resource.name().parse::<Name>() else { return AfterFailure::Leave };
        let set = match resource.kind() {
            ResourceKind::Service => self.services.get(&name).map(|service| service.unhealed),
            ResourceKind::Storage => self.storages.get(&name).map(|storage| storage.unhealed),
            ResourceKind::Config => self.configs.get(&name).map(|config| config.unhealed),
            ResourceKind::Command | ResourceKind::Probe | ResourceKind::Run => None,
        };
        set.unwrap_or(AfterFailure::Leave)
    }

    /// The service of that resource name.
    ///
    /// # Errors
    /// When there is none; the message has the nearest name.
    pub fn service(&self, resource: &ResourceName) -> Result<&super::Service, InventoryError> {
        let found = match resource.kind() {
            ResourceKind::Service => resource.name().parse::<Name>().ok().and_then(|name| self.services.get(&name)),
            _ => None,
        };
        found.ok_or_else(|| self.unknown(&resource.to_string()))
    }

    /// The error for a name that is not in the inventory, with the nearest that is.
    #[must_use]
    pub fn unknown(&self, given: &str) -> InventoryError {
        let names: Vec<String> = self.names().iter().map(ToString::to_string).collect();
        let hint = nearest(given, names.iter().map(String::as_str)).map_or_else(
            || "; `guardian status` lists what is there".to_owned(),
            |name| format!("; did you mean `{name}`?"),
        );
        InventoryError::Unknown { name: crate::model::escape(given), hint }
    }
}
