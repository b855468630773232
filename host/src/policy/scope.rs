//! The scope of a policy: whom, what and which resource its first line names.
//!
//! Slicing, the scope rule of permits, the link fence and `explain` all ask the same question, whether a scope can match;
//! it is answered here once, from Cedar's own constraints. A scope matches too much rather than too little: Cedar judges
//! every policy of a slice again, so a policy too many costs time and one too few would change the answer.

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::model::Verb;

use super::schema;

/// What a principal or resource must be.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// `== ENTITY` or `in ENTITY`; none: anything.
    pub(super) entity: Option<EntityUid>,
    /// Whether it must be that entity itself.
    pub(super) exact: bool,
    type_name: Option<EntityTypeName>,
}

impl Side {
    /// Whether an entity with these parents can match.
    pub(super) fn matches(&self, uid: &EntityUid, parents: &[EntityUid]) -> bool {
        let type_fits = self.type_name.as_ref().is_none_or(|name| name == uid.type_name());
        let entity_fits =
            self.entity.as_ref().is_none_or(|entity| entity == uid || (!self.exact && parents.contains(entity)));
        type_fits && entity_fits
    }

    /// `Type::"id"` without the namespace's quoting: the type and the id.
    pub(super) fn named(&self) -> Option<(String, &str)> {
        self.entity.as_ref().map(|uid| (schema::type_of(uid), uid.id().unescaped()))
    }
}

/// A scope.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) principal: Side,
    /// The verbs it covers, by name or through a group.
    pub(super) verbs: BTreeSet<Verb>,
    /// Whether it names no action at all.
    pub(super) any_action: bool,
    pub(super) resource: Side,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        let side = |entity, exact, type_name| Side { entity, exact, type_name };
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => side(None, false, None),
            PrincipalConstraint::Is(name) => side(None, false, Some(name)),
            PrincipalConstraint::Eq(uid) => side(Some(uid), true, None),
            PrincipalConstraint::In(uid) => side(Some(uid), false, None),
            PrincipalConstraint::IsIn(name, uid) => side(Some(uid), false, Some(name)),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => side(None, false, None),
            ResourceConstraint::Is(name) => side(None, false, Some(name)),
            ResourceConstraint::Eq(uid) => side(Some(uid), true, None),
            ResourceConstraint::In(uid) => side(Some(uid), false, None),
            ResourceConstraint::IsIn(name, uid) => side(Some(uid), false, Some(name)),
        };
        let (any_action, named) = match policy.action_constraint() {
            ActionConstraint::Any => (true, Vec::new()),
            ActionConstraint::Eq(uid) => (false, vec![uid]),
            ActionConstraint::In(uids) => (false, uids),
        };
        let covered = |verb: &Verb| {
            let names = |id: &str| named.iter().any(|uid| uid.id().unescaped() == id);
            any_action || names(verb.id()) || verb.groups().into_iter().any(names)
        };
        Self { principal, verbs: Verb::ALL.into_iter().filter(covered).collect(), any_action, resource }
    }
}
