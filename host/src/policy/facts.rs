//! What policies can read about the moment: `context`.
//!
//! Everything here is the host's own knowledge, except `claimed`, which exists so that a hard rule can refuse on a
//! suspicious label. The context is built without JSON and without parsing entity names; still it is the largest part of
//! a decision's time, so each playbook keeps the last one. Its key is every fact there is, the time to the second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub labels: BTreeSet<String>,
}

impl Facts {
    /// Whether policies would see the same. Every field is named here, so that a new one cannot be forgotten.
    fn read_alike(&self, other: &Self) -> bool {
        let Self { now, kind, severity, target, used, windows, approvals, labels } = self;
        second(*now) == second(other.now)
            && *kind == other.kind
            && *severity == other.severity
            && *target == other.target
            && *used == other.used
            && *windows == other.windows
            && *approvals == other.approvals
            && *labels == other.labels
    }

    /// The context of a request; `target` is the `Target` entity that the incident's resource belongs to.
    ///
    /// # Errors
    /// When a fact has no Cedar value, as a time after the year 9999.
    fn context(&self, target: EntityUid) -> Result<Context, String> {
        let set = |texts: &BTreeSet<String>| Value::new_set(texts.iter().cloned().map(Value::new_string));
        let incident = record([
            ("kind", Value::new_string(self.kind.as_str().to_owned())),
            ("severity", Value::new_long(i64::from(self.severity))),
            ("target", Value::new_entity_uid(target)),
        ])?;
        let used = record([("m5", long(self.used.m5)), ("h1", long(self.used.h1)), ("d1", long(self.used.d1))])?;
        let claimed = record([("labels", set(&self.labels))])?;
        Context::from_pairs(
            [
                ("now", Value::new_datetime(second(self.now).to_string())),
                ("incident", incident),
                ("used", used),
                ("windows", set(&self.windows)),
                ("approvals", set(&self.approvals)),
                ("claimed", claimed),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        )
        .map_err(|error| format!("the facts cannot be put into a context: {error}"))
    }
}

/// The last context that was made, to be used again while the facts read alike: most calls of a run differ in nothing that
/// policies see. With it the requests that were made of it, each checked against the schema when it was made.
#[derive(Debug, Default)]
pub(super) struct LastContext(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    facts: Facts,
    context: Context,
    requests: HashMap<ResourceName, BTreeMap<Verb, Request>>,
}

/// Resources whose requests are kept for the same facts: a run touches a handful, and other facts empty the list.
const RESOURCES: usize = 64;

impl LastContext {
    /// The context of these facts; `target` as for [`Facts::context`], and always the same for the same facts.
    pub(super) fn of(&self, facts: &Facts, target: EntityUid) -> Result<Context, String> {
        if let Some(kept) = self.lock().as_ref().filter(|kept| kept.facts.read_alike(facts)) {
            return Ok(kept.context.clone());
        }
        // Made without the lock: runs of one playbook that go on side by side have different facts.
        let context = facts.context(target)?;
        *self.lock() = Some(Kept { facts: facts.clone(), context: context.clone(), requests: HashMap::new() });
        Ok(context)
    }

    /// The request that was made of facts that read alike, for this verb and resource.
    pub(super) fn request(&self, facts: &Facts, verb: Verb, resource: &ResourceName) -> Option<Request> {
        let last = self.lock();
        let kept = last.as_ref().filter(|kept| kept.facts.read_alike(facts))?;
        kept.requests.get(resource)?.get(&verb).cloned()
    }

    /// Keeps a request that was made of these facts, unless others were judged meanwhile.
    pub(super) fn keep(&self, facts: &Facts, verb: Verb, resource: &ResourceName, request: &Request) {
        let mut last = self.lock();
        let Some(kept) = last.as_mut().filter(|kept| kept.facts.read_alike(facts)) else { return };
        // INVARIANT 7: emptied when full.
        if kept.requests.len() >= RESOURCES && !kept.requests.contains_key(resource) {
            kept.requests.clear();
        }
        kept.requests.entry(resource.clone()).or_default().insert(verb, request.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            labels: BTreeSet::new(),
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
            Facts { labels: one(), ..base.clone() },
        ];
        let last = LastContext::default();
        let fresh = |facts: &Facts| facts.context(target(facts)).unwrap().to_string();
        for other in &others {
            assert_eq!(last.of(&base, target(&base)).unwrap().to_string(), fresh(&base));
            assert_eq!(last.of(other, target(other)).unwrap().to_string(), fresh(other), "{other:?}");
            assert_ne!(fresh(other), fresh(&base), "{other:?}");
            let verb = Verb::ProbeRun;
            let (who, what) = (target(&base), "Guardian::Action::\"a\"".parse().unwrap());
            let request = Request::new(who, what, target(&base), Context::empty(), None).unwrap();
            last.of(&base, target(&base)).unwrap();
            last.keep(other, verb, &base.target, &request);
            assert!(last.request(&base, verb, &base.target).is_none(), "kept for facts that were not the last");
            last.keep(&base, verb, &base.target, &request);
            assert!(last.request(&base, verb, &base.target).is_some());
            assert!(last.request(&base, Verb::LogWrite, &base.target).is_none());
            assert!(last.request(other, verb, &base.target).is_none(), "{other:?}");
        }
        let later = Facts { now: Timestamp::from_millis(1_999), ..base.clone() };
        assert_eq!(fresh(&later), fresh(&base));
    }
}
