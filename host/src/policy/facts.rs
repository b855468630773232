//! What policies can read about the moment: `context`.
//!
//! Everything here is the host's own knowledge, except `claimed`, which exists so that a hard rule can refuse on a
//! suspicious label. The context is built without JSON and without parsing entity names: of a decision's time it is the
//! largest part.

use std::collections::BTreeSet;

use cedar_policy::{Context, EntityUid, RestrictedExpression as Value};

use crate::model::{Name, ResourceName, Timestamp};

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
    /// The time of the decision.
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
    /// The context of a request; `target` is the `Target` entity that the incident's resource belongs to.
    ///
    /// # Errors
    /// When a fact has no Cedar value, as a time after the year 9999.
    pub(super) fn context(&self, target: EntityUid) -> Result<Context, String> {
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
                ("now", Value::new_datetime(self.now.to_string())),
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

/// A count beyond what Cedar can hold is as good as the largest it can: limits compare with far smaller numbers.
fn long(count: u64) -> Value {
    Value::new_long(i64::try_from(count).unwrap_or(i64::MAX))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Result<Value, String> {
    Value::new_record(fields.map(|(key, value)| (key.to_owned(), value))).map_err(|error| error.to_string())
}
