//! What policies can read about the moment: `context`.
//!
//! Everything here is the host's own knowledge, except `claimed`, which exists so that a hard rule can refuse on a
//! suspicious label. The context is built without JSON and without parsing entity names; still it is the largest part of
//! a decision's time, so each playbook keeps the last one. Its key is every fact there is, the time to the second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cedar_policy::{Context, EntityUid, Request, RestrictedExpression as Value};

use crate::model::{Name, ResourceName, Timestamp, Verb};

/// How often this playbook has had an effect with this action on this resource: durable intents and open reservations.
/// Reads never count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// In the last five minutes.
    pub m5: u64,
    /// In the last hour.
    pub h1: u64,
    /// In the last day.
    pub d1: u64,
}

/// What policies see in `context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The time of the decision; policies see it to the second.
    pub now: Timestamp,
    /// The incident's kind, from the operator or a monitor.
    pub kind: Name,
    /// 1 (a note) to 10 (everything is down), from the operator or a monitor.
    pub severity: u8,
    /// What the incident is about.
    pub target: ResourceName,
    /// What was spent.
    pub used: Used,
    /// The operator's named time windows that are open now.
    pub windows: BTreeSet<String>,
    /// The approver roles whose quorum has approved exactly this.
    pub approvals: BTreeSet<String>,
    /// The incident's labels as `key=value`: claims of whoever reported it.
    pub labels: Arc<BTreeSet<String>>,
    /// The person who broke the glass for this run. Policies do not see it: it stands in for a permit and opens every gate,
    /// and no hard rule gives way to it.
    pub glass: Option<Name>,
}

impl Facts {
    /// Whether policies would see the same. Here and in [`Facts::incident_alike`] every field is named, so that a new one
    /// cannot be forgotten.
    fn read_alike(&self, other: &Self) -> bool {
        second(self.now) == second(other.now) && self.used == other.used && self.incident_alike(other)
    }

    /// Whether policies would see the same but for the time and what was spent.
    fn incident_alike(&self, other: &Self) -> bool {
        let Self { now: _, kind, severity, target, used: _, windows, approvals, labels, glass: _ } = self;
        *kind == other.kind
            && *severity == other.severity
            && *target == other.target
            && *windows == other.windows
            && *approvals == other.approvals
            && *labels == other.labels
    }

    /// The part of the context that stays while a run goes on; `target` is the `Target` entity that the incident's
    /// resource belongs to.
    fn lasting(&self, target: EntityUid) -> Result<Lasting, String> {
        let set = |texts: &BTreeSet<String>| Value::new_set(texts.iter().cloned().map(Value::new_string));
        let incident = record([
            ("kind", Value::new_string(self.kind.as_str().to_owned())),
            ("severity", Value::new_long(i64::from(self.severity))),
            ("target", Value::new_entity_uid(target)),
        ])?;
        let claimed = record([("labels", set(&self.labels))])?;
        Ok(Lasting { incident, windows: set(&self.windows), approvals: set(&self.approvals), claimed })
    }

    /// The context of a request; `now` is the second as a value.
    ///
    /// Whatever the facts are, keys and types are these: what fits the schema once fits it always.
    ///
    /// # Errors
    /// When a fact has no Cedar value, as a time after the year 9999.
    fn context(&self, lasting: Lasting, now: Value) -> Result<Context, String> {
        let used = record([("m5", long(self.used.m5)), ("h1", long(self.used.h1)), ("d1", long(self.used.d1))])?;
        let Lasting { incident, windows, approvals, claimed } = lasting;
        Context::from_pairs(
            [
                ("now", now),
                ("incident", incident),
                ("used", used),
                ("windows", windows),
                ("approvals", approvals),
                ("claimed", claimed),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        )
        .map_err(|error| format!("the facts cannot be put into a context: {error}"))
    }
}

/// See [`Facts::lasting`].
#[derive(Clone, Debug)]
struct Lasting {
    incident: Value,
    windows: Value,
    approvals: Value,
    claimed: Value,
}

/// What one playbook's questions were lately, to be used again as far as the next one reads alike.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the target of the incident: a playbook may be healing several things at once.
    last: HashMap<ResourceName, Last>,
    /// The last second as a value: Cedar parses the name of its type each time one is made.
    second: Option<(Timestamp, Value)>,
    /// What was asked before in a request that fits the schema.
    fitting: HashMap<ResourceName, BTreeSet<Verb>>,
}

/// The last context that was made: most calls of a run differ in nothing that policies see. With it the requests that were
/// made of it.
#[derive(Debug)]
struct Last {
    facts: Facts,
    lasting: Lasting,
    context: Context,
    requests: HashMap<ResourceName, BTreeMap<Verb, Request>>,
}

/// Resources that are remembered of a playbook: a run touches a handful.
const RESOURCES: usize = 256;

impl Lately {
    /// The context of these facts; `target` as for [`Facts::lasting`], and always the same for the same facts. `again`:
    /// whether the next question may well have the same facts. After a read it may; after an effect, which is counted,
    /// keeping the context would cost and serve nobody.
    pub(super) fn of(&self, facts: &Facts, target: EntityUid, again: bool) -> Result<Context, String> {
        let mut kept = self.lock();
        let lasting = match kept.last.get(&facts.target) {
            Some(last) if last.facts.read_alike(facts) => return Ok(last.context.clone()),
            Some(last) if last.facts.incident_alike(facts) => Some(last.lasting.clone()),
            _ => None,
        };
        let now = kept.second(facts.now);
        drop(kept);
        // Made without the lock: other runs of the playbook go on meanwhile.
        let lasting = match lasting {
            Some(lasting) if !again => return facts.context(lasting, now),
            Some(lasting) => lasting,
            None => facts.lasting(target)?,
        };
        let context = facts.context(lasting.clone(), now)?;
        let last = Last { facts: facts.clone(), lasting, context: context.clone(), requests: HashMap::new() };
        let mut kept = self.lock();
        make_room(&mut kept.last, &facts.target);
        // Dropped after the lock: it is a tree of small parts.
        let earlier = kept.last.insert(facts.target.clone(), last);
        drop(kept);
        drop(earlier);
        Ok(context)
    }

    /// The request that was made of facts that read alike, for this verb and resource.
    pub(super) fn request(&self, facts: &Facts, verb: Verb, resource: &ResourceName) -> Option<Request> {
        let kept = self.lock();
        let last = kept.last.get(&facts.target).filter(|last| last.facts.read_alike(facts))?;
        last.requests.get(resource)?.get(&verb).cloned()
    }

    /// Whether a request of this verb on this resource has been found to fit the schema. Only the context has changed
    /// since, and a context has the same keys and types whatever the facts are.
    pub(super) fn fits(&self, verb: Verb, resource: &ResourceName) -> bool {
        self.lock().fitting.get(resource).is_some_and(|verbs| verbs.contains(&verb))
    }

    /// Remembers that a request of this verb on this resource fits the schema.
    pub(super) fn remember_fit(&self, verb: Verb, resource: &ResourceName) {
        let mut kept = self.lock();
        make_room(&mut kept.fitting, resource);
        kept.fitting.entry(resource.clone()).or_default().insert(verb);
    }

    /// Keeps a request that was made of these facts; to be asked again, unless others were judged meanwhile.
    pub(super) fn keep(&self, facts: &Facts, verb: Verb, resource: &ResourceName, request: &Request) {
        let mut kept = self.lock();
        let Some(last) = kept.last.get_mut(&facts.target).filter(|last| last.facts.read_alike(facts)) else { return };
        make_room(&mut last.requests, resource);
        last.requests.entry(resource.clone()).or_default().insert(verb, request.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn second(&mut self, now: Timestamp) -> Value {
        let now = second(now);
        if let Some((_, value)) = self.second.as_ref().filter(|(made, _)| *made == now) {
            return value.clone();
        }
        let value = Value::new_datetime(now.to_string());
        self.second = Some((now, value.clone()));
        value
    }
}

/// INVARIANT 7: a list is emptied when it is full.
fn make_room<T>(kept: &mut HashMap<ResourceName, T>, resource: &ResourceName) {
    if kept.len() >= RESOURCES && !kept.contains_key(resource) {
        kept.clear();
    }
}

/// That moment, to the second.
const fn second(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.millis() - moment.millis() % 1_000)
}

/// A count beyond what Cedar can hold is as good as the largest it can: limits compare with far smaller numbers.
fn long(count: u64) -> Value {
    Value::new_long(i64::try_from(count).unwrap_or(i64::MAX))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Result<Value, String> {
    Value::new_record(fields.map(|(key, value)| (key.to_owned(), value))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_context_is_never_served_for_other_facts() {
        let target = |facts: &Facts| crate::policy::schema::entity("Target", &facts.target.to_string()).unwrap();
        let base = Facts {
            now: Timestamp::from_millis(1_500),
            kind: "down".parse().unwrap(),
            severity: 5,
            target: "service.web".parse().unwrap(),
            used: Used::default(),
            windows: BTreeSet::new(),
            approvals: BTreeSet::new(),
            labels: Arc::default(),
            glass: None,
        };
        let one = || BTreeSet::from(["one".to_owned()]);
        let others = [
            Facts { now: Timestamp::from_millis(2_000), ..base.clone() },
            Facts { kind: "slow".parse().unwrap(), ..base.clone() },
            Facts { severity: 6, ..base.clone() },
            Facts { target: "service.db".parse().unwrap(), ..base.clone() },
            Facts { used: Used { m5: 1, ..Used::default() }, ..base.clone() },
            Facts { used: Used { h1: 1, ..Used::default() }, ..base.clone() },
            Facts { used: Used { d1: 1, ..Used::default() }, ..base.clone() },
            Facts { windows: one(), ..base.clone() },
            Facts { approvals: one(), ..base.clone() },
            Facts { labels: Arc::new(one()), ..base.clone() },
        ];
        let now = |facts: &Facts| Value::new_datetime(second(facts.now).to_string());
        let fresh =
            |facts: &Facts| facts.context(facts.lasting(target(facts)).unwrap(), now(facts)).unwrap().to_string();
        for other in &others {
            let last = Lately::default();
            assert_eq!(last.of(&base, target(&base), true).unwrap().to_string(), fresh(&base));
            assert_eq!(last.of(other, target(other), true).unwrap().to_string(), fresh(other), "{other:?}");
            assert_ne!(fresh(other), fresh(&base), "{other:?}");
            assert_eq!(last.of(&base, target(&base), false).unwrap().to_string(), fresh(&base), "not kept, and right");
            let verb = Verb::ProbeRun;
            let (who, what) = (target(&base), "Guardian::Action::\"a\"".parse().unwrap());
            let request = Request::new(who, what, target(&base), Context::empty(), None).unwrap();
            last.of(&base, target(&base), true).unwrap();
            last.keep(other, verb, &base.target, &request);
            assert!(last.request(&base, verb, &base.target).is_none(), "kept for facts that were not the last");
            last.keep(&base, verb, &base.target, &request);
            assert!(last.request(&base, verb, &base.target).is_some());
            assert!(last.request(&base, Verb::LogWrite, &base.target).is_none());
            // One context is kept per target, so only facts about another target still find what was kept for them.
            let own = other.target != base.target;
            assert_eq!(last.request(other, verb, &base.target).is_some(), own, "{other:?}");
        }
        // What fits the schema once fits it always: no fact changes a key or a type.
        let schema = crate::policy::schema::parse().unwrap();
        for (facts, verb) in others.iter().chain([&base]).flat_map(|facts| Verb::ALL.map(|verb| (facts, verb))) {
            let action = crate::policy::schema::entity("Action", verb.id()).unwrap();
            facts
                .context(facts.lasting(target(facts)).unwrap(), now(facts))
                .unwrap()
                .validate(&schema, &action)
                .unwrap();
        }
        let later = Facts { now: Timestamp::from_millis(1_999), ..base.clone() };
        assert_eq!(fresh(&later), fresh(&base));
    }
}
