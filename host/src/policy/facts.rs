//! What policies can read about the moment: `context`.
//!
//! Everything here is the host's own knowledge, except `claimed`, which exists so that a hard rule can refuse on a
//! suspicious label. The context is built without JSON and without parsing entity names; still it is the largest part of
//! a decision's time, so each playbook keeps the last one. Its key is every fact there is, the time to the second.
//!
//! What of it stays while a run goes on is kept as Cedar's own values. Its documented interface takes expressions and
//! evaluates all of them anew for every context, which was a third of what an effect costs; so the values are put together
//! through its core crate, whose version is pinned with it, and a test holds the two ways against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cedar_policy::{Context, EntityUid, Request, RestrictedExpression as Expression};
use cedar_policy_core::ast::{self, Value};

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
    ///
    /// # Errors
    /// When a fact has no Cedar value.
    fn lasting(&self, target: EntityUid) -> Result<Lasting, String> {
        let set = |texts: &BTreeSet<String>| Expression::new_set(texts.iter().cloned().map(Expression::new_string));
        let incident = record([
            ("kind", Expression::new_string(self.kind.as_str().to_owned())),
            ("severity", Expression::new_long(i64::from(self.severity))),
            ("target", Expression::new_entity_uid(target)),
        ])?;
        let claimed = record([("labels", set(&self.labels))])?;
        let (windows, approvals) = (set(&self.windows), set(&self.approvals));
        evaluated([("incident", incident), ("windows", windows), ("approvals", approvals), ("claimed", claimed)])
    }

    /// The context of a request; `now` is the second as a value.
    ///
    /// Whatever the facts are, keys and types are these: what fits the schema once fits it always.
    fn context(&self, lasting: Lasting, now: Value) -> Context {
        let Used { m5, h1, d1 } = self.used;
        let used = [("m5", m5), ("h1", h1), ("d1", d1)].map(|(window, count)| (window, long(count)));
        let changing = [("now", now), ("used", Value::record(used, None))];
        let whole = lasting.into_iter().chain(changing).map(|(key, value)| (key.into(), value));
        ast::Context::Value(Arc::new(whole.collect())).into()
    }
}

/// See [`Facts::lasting`]. Cloning it clones none of the values.
type Lasting = Vec<(&'static str, Value)>;

/// Expressions as the values they have.
fn evaluated<const N: usize>(pairs: [(&'static str, Expression); N]) -> Result<Lasting, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the facts cannot be put into a context: {error}");
    let keys = pairs.each_ref().map(|(key, _)| *key);
    let context =
        Context::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value))).map_err(|error| wrong(&error))?;
    let value = |key| match context.as_ref() {
        ast::Context::Value(values) => values.get(key).cloned(),
        ast::Context::RestrictedResidual(_) => None,
    };
    let known = |key| value(key).map(|value| (key, value)).ok_or_else(|| wrong(&format_args!("`{key}` is not known")));
    keys.into_iter().map(known).collect()
}

/// What one playbook's questions were lately, to be used again as far as the next one reads alike.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the target of the incident: a playbook may be healing several things at once.
    last: HashMap<ResourceName, Last>,
    /// The last second as a value: Cedar reads a time from text.
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
        let now = kept.second(facts.now)?;
        drop(kept);
        // Made without the lock: other runs of the playbook go on meanwhile.
        let lasting = match lasting {
            Some(lasting) if !again => return Ok(facts.context(lasting, now)),
            Some(lasting) => lasting,
            None => facts.lasting(target)?,
        };
        let context = facts.context(lasting.clone(), now);
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
    /// # Errors
    /// When the time has no Cedar value, as one after the year 9999.
    fn second(&mut self, now: Timestamp) -> Result<Value, String> {
        let now = second(now);
        if let Some((_, value)) = self.second.as_ref().filter(|(made, _)| *made == now) {
            return Ok(value.clone());
        }
        let value = moment(now)?;
        self.second = Some((now, value.clone()));
        Ok(value)
    }
}

fn moment(second: Timestamp) -> Result<Value, String> {
    let values = evaluated([("now", Expression::new_datetime(second.to_string()))])?;
    values.into_iter().next().map(|(_, value)| value).ok_or_else(|| "a time without a value".to_owned())
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
fn long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn record<const N: usize>(fields: [(&str, Expression); N]) -> Result<Expression, String> {
    Expression::new_record(fields.map(|(key, value)| (key.to_owned(), value))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(facts: &Facts) -> EntityUid {
        crate::policy::schema::entity("Target", &facts.target.to_string()).unwrap()
    }

    fn made(facts: &Facts) -> Context {
        facts.context(facts.lasting(target(facts)).unwrap(), moment(second(facts.now)).unwrap())
    }

    /// Facts, and others that differ from them in one thing each.
    fn base_and_others() -> (Facts, [Facts; 10]) {
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
        (base, others)
    }

    #[test]
    fn a_kept_context_is_never_served_for_other_facts() {
        let (base, others) = base_and_others();
        let fresh = |facts: &Facts| made(facts).to_string();
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
        let later = Facts { now: Timestamp::from_millis(1_999), ..base.clone() };
        assert_eq!(fresh(&later), fresh(&base));
    }

    #[test]
    fn what_fits_the_schema_once_fits_it_always() {
        let (base, others) = base_and_others();
        let schema = crate::policy::schema::parse().unwrap();
        for (facts, verb) in others.iter().chain([&base]).flat_map(|facts| Verb::ALL.map(|verb| (facts, verb))) {
            let action = crate::policy::schema::entity("Action", verb.id()).unwrap();
            made(facts).validate(&schema, &action).unwrap();
        }
    }

    #[test]
    fn a_context_is_the_same_as_cedar_makes_of_expressions() {
        let (base, others) = base_and_others();
        for facts in others.iter().chain([&base]) {
            let set = |texts: &BTreeSet<String>| Expression::new_set(texts.iter().cloned().map(Expression::new_string));
            let whole = |count: u64| Expression::new_long(i64::try_from(count).unwrap());
            let Used { m5, h1, d1 } = facts.used;
            let incident = [
                ("kind", Expression::new_string(facts.kind.to_string())),
                ("severity", whole(facts.severity.into())),
                ("target", Expression::new_entity_uid(target(facts))),
            ];
            let expected = [
                ("now", Expression::new_datetime(second(facts.now).to_string())),
                ("incident", record(incident).unwrap()),
                ("used", record([("m5", whole(m5)), ("h1", whole(h1)), ("d1", whole(d1))]).unwrap()),
                ("windows", set(&facts.windows)),
                ("approvals", set(&facts.approvals)),
                ("claimed", record([("labels", set(&facts.labels))]).unwrap()),
            ];
            let expected = Context::from_pairs(expected.map(|(key, value)| (key.to_owned(), value))).unwrap();
            assert_eq!(made(facts), expected, "{facts:?}");
        }
    }
}
