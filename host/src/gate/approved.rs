//! What people have approved: which gates that opens, and which effects it covers.
//!
//! An approval is for one run of one plan. A gate is opened if as many different people as it asks for have approved in a
//! role that it names, each gate by itself: two people for one gate are not two people for another. Every effect of an
//! approved run must be in the plan, gated or not, because people approved the whole of it: by kind and number (an envelope),
//! or one by one in their order (exact). The first effect that is not there is denied, and so is every later one: a run that
//! departed from what people saw is not trusted to find its way back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Action, EffectClass, Name, Verb};
use crate::policy::GateTerms;

/// One effect of a plan, as it is hashed and approved: no pids, times or reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedEffect {
    /// `service.start`.
    pub action: String,
    /// `service.web`.
    pub resource: String,
    /// Everything else that is passed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub arguments: BTreeMap<String, String>,
}

impl PlannedEffect {
    /// That effect.
    #[must_use]
    pub fn of(action: &Action) -> Self {
        let arguments = action.arguments().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { action: action.verb().id().to_owned(), resource: action.resource_as_given(), arguments }
    }

    /// What it leaves behind. What this Guardian does not know counts as irreversible.
    #[must_use]
    pub fn class(&self) -> EffectClass {
        Verb::from_id(&self.action).map_or(EffectClass::Irreversible, Verb::class)
    }
}

/// How closely an approved run must follow its plan. It may always stop early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The same effects, each at most as often, in any order.
    #[default]
    Envelope,
    /// The same effects in the same order.
    Exact,
}

/// A person who approved, and the roles they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Who.
    pub person: Name,
    /// As what they may approve.
    pub roles: BTreeSet<Name>,
}

/// What people approved for one run.
#[derive(Clone, Debug)]
pub struct Approved {
    people: Vec<Approver>,
    scope: Scope,
    /// What is left of the plan, in its order.
    left: Vec<PlannedEffect>,
    departed: bool,
}

impl Approved {
    /// The plan that these people approved. Each person counts once, however often they stand there.
    #[must_use]
    pub fn new(mut people: Vec<Approver>, scope: Scope, plan: Vec<PlannedEffect>) -> Self {
        people.sort_by(|one, other| one.person.cmp(&other.person));
        people.dedup_by(|one, other| one.person == other.person);
        Self { people, scope, left: plan, departed: false }
    }

    /// Whether enough of them have a role that the gate names.
    #[must_use]
    pub fn opens(&self, gate: &GateTerms) -> bool {
        let fit = |approver: &&Approver| approver.roles.iter().any(|role| gate.approvers.contains(role.as_str()));
        u32::try_from(self.people.iter().filter(fit).count()).unwrap_or(u32::MAX) >= gate.quorum
    }

    /// The roles that stand for all of them, as policies see it once every gate that is closed is opened.
    pub(super) fn roles(&self) -> BTreeSet<String> {
        self.people.iter().flat_map(|approver| approver.roles.iter().map(ToString::to_string)).collect()
    }

    /// Whether this effect is in what is left of the plan; it is taken out of it. False for ever after the first that was not.
    pub(super) fn covers(&mut self, action: &Action) -> bool {
        let wanted = PlannedEffect::of(action);
        let at = match self.scope {
            Scope::Envelope => self.left.iter().position(|planned| *planned == wanted),
            Scope::Exact => self.left.first().filter(|planned| **planned == wanted).map(|_| 0),
        };
        match at {
            Some(at) if !self.departed => {
                self.left.remove(at);
                true
            }
            _ => {
                self.departed = true;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceVerb;

    fn act(verb: ServiceVerb) -> Action {
        Action::Service { verb, name: "web".to_owned() }
    }

    fn approved(scope: Scope, plan: &[ServiceVerb]) -> Approved {
        Approved::new(Vec::new(), scope, plan.iter().map(|verb| PlannedEffect::of(&act(*verb))).collect())
    }

    #[test]
    fn an_envelope_covers_what_is_in_it_as_often_as_it_is() {
        use ServiceVerb::{Reload, Restart, Stop};
        let mut envelope = approved(Scope::Envelope, &[Restart, Reload, Restart]);
        assert!(envelope.covers(&act(Reload)) && envelope.covers(&act(Restart)) && envelope.covers(&act(Restart)));
        assert!(!envelope.covers(&act(Restart)), "a third time");
        let mut departed = approved(Scope::Envelope, &[Restart]);
        assert!(!departed.covers(&act(Stop)));
        assert!(!departed.covers(&act(Restart)), "nothing after a departure, not even what was planned");
    }

    #[test]
    fn exact_is_in_order() {
        use ServiceVerb::{Reload, Restart};
        let mut exact = approved(Scope::Exact, &[Restart, Reload]);
        assert!(exact.covers(&act(Restart)) && exact.covers(&act(Reload)));
        assert!(!approved(Scope::Exact, &[Restart, Reload]).covers(&act(Reload)));
    }

    #[test]
    fn a_quorum_counts_people_in_a_role_of_the_gate() {
        let person = |name: &str, roles: &[&str]| Approver {
            person: name.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        };
        let gate = GateTerms { approvers: ["sre".to_owned(), "dba".to_owned()].into(), quorum: 2 };
        let by = |people: Vec<Approver>| Approved::new(people, Scope::Envelope, Vec::new()).opens(&gate);
        assert!(by(vec![person("ann", &["sre"]), person("bob", &["dba"])]));
        assert!(!by(vec![person("ann", &["sre", "dba"])]), "one person in two roles");
        assert!(!by(vec![person("ann", &["sre"]), person("ann", &["dba"])]), "one person twice");
        assert!(!by(vec![person("ann", &["sre"]), person("eve", &["intern"])]), "a role that it does not name");
    }
}
