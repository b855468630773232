//! Finding the few policies that can matter for a call, so that a thousand others cost nothing.
//!
//! Cedar evaluates every policy it is given. At load each policy is filed under its verbs, under the principal its scope
//! names (a playbook, a publisher, or none) and under the resource (itself, a group, a target, or none). A call looks under
//! what it is and what it is in; anything else cannot match it. A property test holds sliced and full decisions equal.
//!
//! What is made per playbook (its entities) and per call shape (its policy sets) is kept, within bounds: only verified
//! playbooks and resources of the inventory ever get here, and the bounds hold even if there are very many of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{Entities, EntityUid, PolicySet as CedarSet};

use crate::model::{PlaybookId, ResourceName, Verb};

use super::facts::Lately;
use super::finding::PolicyError;
use super::load::{Kind, Loaded};
use super::world::{Known, World};

/// Playbooks kept ready. A host runs tens; each costs a table of pointers as long as the inventory.
const PLAYBOOKS: usize = 128;
/// Resources kept ready per playbook: far more than one playbook touches in its life.
const RESOURCES: usize = 1_024;

type Key = (Option<EntityUid>, Option<EntityUid>);

/// The policies by verb, principal and resource.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_verb: BTreeMap<Verb, HashMap<Key, Vec<usize>>>,
}

impl Index {
    pub(super) fn of(policies: &[Loaded]) -> Self {
        let mut by_verb: BTreeMap<Verb, HashMap<Key, Vec<usize>>> = BTreeMap::new();
        for (place, policy) in policies.iter().enumerate() {
            let key = (policy.scope.principal.entity.clone(), policy.scope.resource.entity.clone());
            for verb in &policy.scope.verbs {
                by_verb.entry(*verb).or_default().entry(key.clone()).or_default().push(place);
            }
        }
        Self { by_verb }
    }

    /// The places of all policies whose scope can match, in the order of the load.
    fn candidates(&self, verb: Verb, principals: [&EntityUid; 2], resource: &Known) -> Vec<usize> {
        let Some(filed) = self.by_verb.get(&verb) else { return Vec::new() };
        let mut places = Vec::new();
        for principal in principals.into_iter().map(Some).chain([None]) {
            for resource in std::iter::once(&resource.uid).chain(&resource.parents).map(Some).chain([None]) {
                places.extend(filed.get(&(principal.cloned(), resource.cloned())).into_iter().flatten());
            }
        }
        places.sort_unstable();
        places
    }
}

/// The policy sets of one call shape.
#[derive(Debug)]
pub(super) struct Slice {
    /// Hard rules and permits.
    pub(super) rules: CedarSet,
    /// The permits alone: whether there would have been one is asked when a hard rule forbids.
    pub(super) permits: CedarSet,
    /// Gates; none: nothing to ask.
    pub(super) gates: Option<CedarSet>,
}

/// One playbook as a principal, with what was made for it.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) uid: EntityUid,
    pub(super) publisher: EntityUid,
    pub(super) entities: Entities,
    pub(super) lately: Lately,
    slices: RwLock<HashMap<ResourceName, BTreeMap<Verb, Arc<Slice>>>>,
}

/// The playbooks that have asked.
#[derive(Debug, Default)]
pub(super) struct Askers(RwLock<HashMap<PlaybookId, Arc<Asker>>>);

impl Askers {
    /// That playbook as a principal.
    pub(super) fn get(&self, playbook: &PlaybookId, world: &World) -> Result<Arc<Asker>, PolicyError> {
        if let Some(asker) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(playbook) {
            return Ok(Arc::clone(asker));
        }
        let (uid, publisher, entities) = world.with_playbook(playbook)?;
        let asker = Arc::new(Asker { uid, publisher, entities, lately: Lately::default(), slices: RwLock::default() });
        // INVARIANT 7: emptied when full; making an entry again costs well under a millisecond.
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PLAYBOOKS {
            kept.clear();
        }
        kept.insert(playbook.clone(), Arc::clone(&asker));
        Ok(asker)
    }
}

impl Asker {
    /// The policies that can matter when this playbook asks for `verb` on `resource`.
    pub(super) fn slice(
        &self,
        verb: Verb,
        name: &ResourceName,
        resource: &Known,
        index: &Index,
        policies: &[Loaded],
    ) -> Result<Arc<Slice>, String> {
        let kept = self.slices.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = kept.get(name).and_then(|verbs| verbs.get(&verb)) {
            return Ok(Arc::clone(slice));
        }
        drop(kept);
        let places = index.candidates(verb, [&self.uid, &self.publisher], resource);
        let slice = Arc::new(sets(places.into_iter().filter_map(|place| policies.get(place)))?);
        let mut kept = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        // INVARIANT 7, as above.
        if kept.len() >= RESOURCES {
            kept.clear();
        }
        kept.entry(name.clone()).or_default().insert(verb, Arc::clone(&slice));
        Ok(slice)
    }
}

/// Policies as the sets that are judged.
pub(super) fn sets<'a>(policies: impl Iterator<Item = &'a Loaded>) -> Result<Slice, String> {
    let (mut rules, mut permits, mut gates) = (CedarSet::new(), CedarSet::new(), CedarSet::new());
    for loaded in policies {
        let sets: &mut [&mut CedarSet] = match loaded.kind {
            Kind::Gate => &mut [&mut gates],
            Kind::Hard => &mut [&mut rules],
            Kind::Permit => &mut [&mut rules, &mut permits],
        };
        for set in sets {
            set.add(loaded.policy.clone()).map_err(|error| error.to_string())?;
        }
    }
    Ok(Slice { rules, permits, gates: (!gates.is_empty()).then_some(gates) })
}
