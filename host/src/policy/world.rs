//! What exists, as policies see it: resources with their groups and targets, made once from the inventory.
//!
//! A service, its check and its port are in one `Target`, so that a permit can say "only what the incident is about".
//! Playbooks are not listed: each is an entity in its publisher, made when it first asks (see `slice`), because playbooks
//! are added while the inventory stands. Nothing a guest says makes an entity here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression, Schema, Validator};

use crate::model::{Name, PlaybookId, ResourceKind, ResourceName, Verb};

use super::finding::PolicyError;
use super::schema;

/// One resource, as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceFact {
    /// Its name.
    pub name: ResourceName,
    /// The groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// Whether hard rules may shield it.
    pub protected: bool,
    /// What it belongs to: for a check its service, for everything else itself.
    pub target: ResourceName,
}

/// Everything that policies can name, except playbooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Holds the schema as well: it is a large tree, and one copy serves both.
    validator: Validator,
    entities: Entities,
    resources: HashMap<ResourceName, Known>,
    actions: BTreeMap<Verb, EntityUid>,
    /// Ids by entity type, for refusals that name the nearest.
    names: BTreeMap<&'static str, BTreeSet<String>>,
}

/// A resource of the inventory with the entity ids that a scope can match it by.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) uid: EntityUid,
    /// Its groups and its target.
    pub(super) parents: Vec<EntityUid>,
    pub(super) target: EntityUid,
}

impl World {
    /// The world of these resources. The run itself (`run.self`) is always in it.
    ///
    /// # Errors
    /// When a resource stands there twice.
    pub fn build(facts: &[ResourceFact]) -> Result<Self, PolicyError> {
        let schema = schema::parse()?;
        let mut entities = BTreeMap::new();
        let mut resources = HashMap::new();
        let mut names: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let this_run = ResourceName::this_run();
        let run = ResourceFact { name: this_run.clone(), groups: BTreeSet::new(), protected: false, target: this_run };
        for fact in facts.iter().chain([&run]) {
            let known = known(fact)?;
            for group in &fact.groups {
                names.entry("Group").or_default().insert(group.as_str().to_owned());
            }
            names.entry("Target").or_default().insert(fact.target.to_string());
            names.entry(fact.name.kind().entity()).or_default().insert(fact.name.name().to_owned());
            for parent in &known.parents {
                entities.entry(parent.clone()).or_insert_with(|| Entity::with_uid(parent.clone()));
            }
            entities.insert(known.uid.clone(), resource_entity(&known, fact.protected)?);
            if resources.insert(fact.name.clone(), known).is_some() {
                return Err(PolicyError::Twice { resource: fact.name.to_string() });
            }
        }
        let entities = Entities::from_entities(entities.into_values(), Some(&schema)).map_err(world_error)?;
        let action = |verb: Verb| schema::entity("Action", verb.id()).map(|uid| (verb, uid));
        let actions = Verb::ALL.into_iter().map(action).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner { validator: Validator::new(schema), entities, resources, actions, names })))
    }

    /// Whether the inventory has that resource.
    #[must_use]
    pub fn knows(&self, resource: &ResourceName) -> bool {
        self.0.resources.contains_key(resource)
    }

    pub(super) fn resource(&self, name: &ResourceName) -> Option<&Known> {
        self.0.resources.get(name)
    }

    pub(super) fn action(&self, verb: Verb) -> Option<&EntityUid> {
        self.0.actions.get(&verb)
    }

    pub(super) fn schema(&self) -> &Schema {
        self.0.validator.schema()
    }

    pub(super) fn validator(&self) -> &Validator {
        &self.0.validator
    }

    /// The target that a resource belongs to; for one that the inventory does not have, a target with nothing in it.
    pub(super) fn target_of(&self, resource: &ResourceName) -> Result<EntityUid, PolicyError> {
        match self.resource(resource) {
            Some(known) => Ok(known.target.clone()),
            None => schema::entity("Target", &resource.to_string()),
        }
    }

    /// The entities of a decision: the inventory's, the playbook and its publisher. Resources are shared, not copied.
    pub(super) fn with_playbook(&self, playbook: &PlaybookId) -> Result<(EntityUid, EntityUid, Entities), PolicyError> {
        let publisher = schema::entity("Publisher", playbook.publisher.as_str())?;
        let principal = schema::entity("Playbook", &playbook.to_string())?;
        let added = [
            Entity::new_no_attrs(principal.clone(), HashSet::from([publisher.clone()])),
            Entity::with_uid(publisher.clone()),
        ];
        let entities = self.0.entities.clone().add_entities(added, Some(self.schema())).map_err(world_error)?;
        Ok((principal, publisher, entities))
    }

    /// The ids that exist for an entity type that the inventory fills; `None` for types it does not fill.
    pub(super) fn ids_of(&self, entity_type: &str) -> Option<Vec<&str>> {
        let filled = ["Group", "Target"].into_iter().chain(ResourceKind::ALL.map(ResourceKind::entity));
        let known = filled.into_iter().find(|name| *name == entity_type)?;
        Some(self.0.names.get(known).map(|ids| ids.iter().map(String::as_str).collect()).unwrap_or_default())
    }
}

fn known(fact: &ResourceFact) -> Result<Known, PolicyError> {
    let target = schema::entity("Target", &fact.target.to_string())?;
    let mut parents = vec![target.clone()];
    for group in &fact.groups {
        parents.push(schema::entity("Group", group.as_str())?);
    }
    Ok(Known { uid: schema::entity(fact.name.kind().entity(), fact.name.name())?, parents, target })
}

fn resource_entity(known: &Known, protected: bool) -> Result<Entity, PolicyError> {
    let attributes = HashMap::from([("protected".to_owned(), RestrictedExpression::new_bool(protected))]);
    Entity::new(known.uid.clone(), attributes, known.parents.iter().cloned().collect()).map_err(world_error)
}

fn world_error(error: impl std::error::Error + Send + Sync + 'static) -> PolicyError {
    PolicyError::World { source: Box::new(error) }
}
