//! Leases: one run acts on a target at a time.
//!
//! Two runs that each do the right thing to the same service undo each other's work. So the first effect of a run on
//! anything of a target takes the lease of that target and keeps it until the run is over; another run that asks meanwhile
//! is told `busy`. Between processes the lock of the trail does the same; this is for the runs of one process.
//!
//! A lease ends, at the latest, when everything its run may do is over, so that a hand that hangs does not hold a target for
//! ever. From then on another run may take it, and each lease has a number that only grows (a fencing token): a hand that
//! comes back late finds that its number is no longer the target's, and what it did is called not known instead of done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{ResourceName, RunId};

#[derive(Debug)]
struct Held {
    run: RunId,
    fence: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct Table {
    /// INVARIANT 7: bounded by the inventory; an entry leaves with its lease.
    held: BTreeMap<ResourceName, Held>,
    last: u64,
}

/// Which run acts on which target.
#[derive(Debug, Default)]
pub struct Leases(Mutex<Table>);

/// What one run holds; dropping it lets go of everything.
#[derive(Debug)]
#[must_use]
pub struct RunLeases {
    leases: Arc<Leases>,
    run: RunId,
    time: Duration,
    held: Mutex<BTreeMap<ResourceName, u64>>,
}

impl Leases {
    /// The leases of one run, none yet. Each it takes ends after `time` if the run does not end before.
    pub fn of(self: &Arc<Self>, run: RunId, time: Duration) -> RunLeases {
        RunLeases { leases: Arc::clone(self), run, time, held: Mutex::default() }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunLeases {
    /// Takes the lease of a target, or finds that this run has it still.
    ///
    /// # Errors
    /// The run that has it.
    pub(super) fn take(&self, target: &ResourceName) -> Result<(), RunId> {
        let now = Instant::now();
        let mut table = self.leases.table();
        match table.held.get(target) {
            Some(held) if held.run == self.run && self.fence(target) == Some(held.fence) => return Ok(()),
            Some(held) if now < held.until => return Err(held.run.clone()),
            _ => {}
        }
        table.last += 1;
        let fence = table.last;
        // A time that the clock cannot hold is over at once, which is safe.
        let until = now.checked_add(self.time).unwrap_or(now);
        table.held.insert(target.clone(), Held { run: self.run.clone(), fence, until });
        drop(table);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone(), fence);
        Ok(())
    }

    fn fence(&self, target: &ResourceName) -> Option<u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied()
    }

    /// Whether nobody has taken the target over since this run took its lease.
    pub(super) fn holds(&self, target: &ResourceName) -> bool {
        let own = self.fence(target);
        own.is_some() && self.leases.table().held.get(target).map(|held| held.fence) == own
    }
}

impl Drop for RunLeases {
    fn drop(&mut self) {
        let own = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let mut table = self.leases.table();
        for (target, fence) in own {
            if table.held.get(&target).is_some_and(|held| held.fence == fence) {
                table.held.remove(&target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn run(salt: u32) -> RunId {
        RunId::new(Timestamp::from_millis(1), salt)
    }

    fn web() -> ResourceName {
        "service.web".parse().unwrap()
    }

    #[test]
    fn one_run_at_a_time_has_a_target() {
        let leases = Arc::new(Leases::default());
        let first = leases.of(run(1), Duration::from_secs(60));
        let second = leases.of(run(2), Duration::from_secs(60));
        assert_eq!(first.take(&web()), Ok(()));
        assert_eq!(first.take(&web()), Ok(()), "again, for the next effect");
        assert_eq!(second.take(&web()), Err(run(1)));
        assert_eq!(second.take(&"service.db".parse().unwrap()), Ok(()), "its twin, another target");
        drop(first);
        assert_eq!(second.take(&web()), Ok(()));
        drop(second);
        assert!(leases.table().held.is_empty());
    }

    #[test]
    fn who_comes_late_has_lost_it() {
        let leases = Arc::new(Leases::default());
        let late = leases.of(run(1), Duration::ZERO);
        assert_eq!(late.take(&web()), Ok(()));
        assert!(late.holds(&web()), "nobody has asked for it yet");
        let next = leases.of(run(2), Duration::from_secs(60));
        assert_eq!(next.take(&web()), Ok(()));
        assert!(!late.holds(&web()));
        assert_eq!(late.take(&web()), Err(run(2)));
        drop(late);
        assert!(next.holds(&web()), "what is let go of late was not its own any more");
    }

    #[test]
    fn of_many_at_once_one_gets_it() {
        let leases = Arc::new(Leases::default());
        let got = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for salt in 0..32 {
                let (leases, got) = (&leases, &got);
                scope.spawn(move || {
                    let own = leases.of(run(salt), Duration::from_secs(60));
                    if own.take(&web()).is_ok() {
                        got.lock().unwrap().push(own);
                    }
                });
            }
        });
        assert_eq!(got.into_inner().unwrap().len(), 1);
    }
}
