//! Check and reserve: what calls that are under way have already spent.
//!
//! `used` in the policy's facts counts durable intents. Between the decision and the durable intent lies the preparation
//! and an fsync; without a reservation, 64 calls at once would all see the same count and all pass a limit that has room
//! for one. The lock is held for the decision alone, never around preparation or disk.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{PlaybookId, ResourceName, Verb};

/// What is counted together.
type Key = (PlaybookId, Verb, ResourceName);

/// Independent locks, so that calls on different resources seldom meet: four times the callers that one fsync carries.
const SHARDS: usize = 256;

/// Open reservations. INVARIANT 7: bounded by the calls that are under way, an entry leaves when its count is zero.
#[derive(Debug)]
pub struct Ledger {
    shards: Vec<Mutex<BTreeMap<Key, u64>>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

/// One call that is counted until its intent is durable, or it failed.
#[derive(Debug)]
#[must_use = "a reservation that is dropped at once counts nothing"]
pub(super) struct Reservation {
    ledger: Arc<Ledger>,
    key: Key,
}

impl Ledger {
    fn shard(&self, key: &Key) -> Option<&Mutex<BTreeMap<Key, u64>>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % (SHARDS as u64)).unwrap_or(0);
        self.shards.get(place)
    }

    /// Decides with what is open counted, and reserves if the answer is yes. `decide` gets the number of open calls and
    /// says whether it permits.
    pub(super) fn decide<T>(
        self: &Arc<Self>,
        key: Key,
        decide: impl FnOnce(u64) -> (T, bool),
    ) -> (T, Option<Reservation>) {
        let Some(shard) = self.shard(&key) else {
            return (decide(u64::MAX).0, None);
        };
        let mut open = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, permitted) = decide(open.get(&key).copied().unwrap_or(0));
        if !permitted {
            return (answer, None);
        }
        *open.entry(key.clone()).or_insert(0) += 1;
        drop(open);
        (answer, Some(Reservation { ledger: Arc::clone(self), key }))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(shard) = self.ledger.shard(&self.key) {
            let mut open = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = open.get_mut(&self.key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    open.remove(&self.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("a/b".parse().unwrap(), Verb::ProbeRun, "service.web".parse().unwrap())
    }

    #[test]
    fn open_calls_are_counted_and_forgotten() {
        let ledger = Arc::new(Ledger::default());
        let (seen, first) = ledger.decide(key(), |open| (open, true));
        assert_eq!(seen, 0);
        let (seen, second) = ledger.decide(key(), |open| (open, false));
        assert_eq!(seen, 1);
        assert!(second.is_none());
        drop(first);
        assert_eq!(ledger.decide(key(), |open| (open, false)).0, 0);
        assert!(ledger.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn at_the_limit_minus_one_exactly_one_of_many_passes() {
        let ledger = Arc::new(Ledger::default());
        let passed = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let (_, reservation) = ledger.decide(key(), |open| ((), open < 1));
                    passed.lock().unwrap().extend(reservation);
                });
            }
        });
        assert_eq!(passed.into_inner().unwrap().len(), 1);
    }
}
