//! Identical refusals become one record with a count.
//!
//! A guest that asks a thousand times a second for what it may not have must not be able to fill the disk by asking. The
//! first refusal is a record at once, and its number is what the guest is told. Identical ones of the next minute are
//! only counted; when the minute is over, the run ends or the trail closes, one more record says how many there were and
//! until when. Nothing is lost but the exact times between (INVARIANT 7: the map is bounded, the oldest entry is written
//! out to make room).

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Body;
use crate::model::{RunId, Timestamp};

/// How long identical refusals are only counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many different refusals are counted at once: far more than the calls of one run that differ.
const MOST: usize = 1024;

/// What makes two refusals identical.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    run: Option<RunId>,
    what: String,
}

struct Held {
    seq: u64,
    since: Timestamp,
    step: Option<u32>,
    body: Body,
    more: u64,
    until: Timestamp,
}

/// A record that has to be written now: the count of what was held back.
pub(super) struct Due {
    pub(super) run: Option<RunId>,
    pub(super) step: Option<u32>,
    pub(super) body: Body,
}

/// The refusals of the last minute.
#[derive(Default)]
pub(super) struct Refusals {
    held: BTreeMap<Key, Held>,
}

fn key(run: Option<&RunId>, body: &Body) -> Option<Key> {
    let Body::Denied { action, resource, arguments, playbook, code, .. } = body else { return None };
    // Each part as a literal, so that no two refusals share a text.
    let what = format!("{playbook} {action} {} {resource:?} {arguments:?}", code.word());
    Some(Key { run: run.cloned(), what })
}

impl Key {
    fn due(self, held: Held) -> Option<Due> {
        let Held { mut body, more, until: last, step, .. } = held;
        if more == 0 {
            return None;
        }
        if let Body::Denied { count, until, .. } = &mut body {
            *count = more;
            *until = last;
        }
        Some(Due { run: self.run, step, body })
    }
}

impl Refusals {
    /// Counts a refusal that is identical to a held one; its record's number if so.
    pub(super) fn count(&mut self, run: Option<&RunId>, body: &Body, now: Timestamp) -> Option<u64> {
        let held = self.held.get_mut(&key(run, body)?)?;
        if now.since(held.since) >= WINDOW {
            return None;
        }
        held.more += 1;
        held.until = now;
        Some(held.seq)
    }

    /// Holds a refusal whose record is `seq`; what has to be written to make room.
    pub(super) fn hold(
        &mut self,
        run: Option<&RunId>,
        step: Option<u32>,
        body: Body,
        seq: u64,
        now: Timestamp,
    ) -> Vec<Due> {
        let Some(key) = key(run, &body) else { return Vec::new() };
        let mut due = self.due(now, |_| false);
        if self.held.len() >= MOST {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.since).map(|(key, _)| key.clone());
            due.extend(oldest.and_then(|key| self.held.remove(&key).and_then(|held| key.due(held))));
        }
        let held = Held { seq, since: now, step, body, more: 0, until: now };
        if let Some(earlier) = self.held.insert(key.clone(), held) {
            due.extend(key.due(earlier));
        }
        due
    }

    /// Lets go of what is older than the window or `also` wants.
    pub(super) fn due(&mut self, now: Timestamp, also: impl Fn(Option<&RunId>) -> bool) -> Vec<Due> {
        let over = |key: &Key, held: &Held| now.since(held.since) >= WINDOW || also(key.run.as_ref());
        let keys: Vec<Key> =
            self.held.iter().filter(|(key, held)| over(key, held)).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.held.remove(&key).and_then(|held| key.due(held))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DenialCode;

    fn denied(resource: &str, argument: &str) -> Body {
        Body::Denied {
            action: "log.write".to_owned(),
            resource: resource.to_owned(),
            arguments: [("message".to_owned(), argument.to_owned())].into(),
            playbook: "acme/x".parse().unwrap(),
            code: DenialCode::NoPermit,
            policies: Vec::new(),
            count: 1,
            until: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn another_argument_is_another_refusal() {
        let now = Timestamp::from_millis(1_000);
        let mut refusals = Refusals::default();
        assert!(refusals.hold(None, None, denied("run.self", "a"), 7, now).is_empty());
        assert_eq!(refusals.count(None, &denied("run.self", "a"), now), Some(7));
        assert_eq!(refusals.count(None, &denied("run.self", "b"), now), None, "it would stand on no record");
        assert_eq!(refusals.count(None, &denied("run.self {\"message\": \"a\"}", ""), now), None);
    }
}
