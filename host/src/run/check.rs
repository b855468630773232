//! Healed is what the target's own check says, often enough in a row, before a deadline.
//!
//! Asking too early calls a slow recovery a failure, and one good answer can be luck. So: while the grace lasts, failed
//! looks do not count; a number of good looks in a row, set by the operator, means healed; after the grace `fail_after`
//! failed looks in a row, or the deadline, mean not healed. A slow answer is an answer: it neither counts as good nor
//! starts the counting anew. A look that was not possible at all says nothing about the target and counts as nothing.

use std::time::Duration;

use crate::capability::{Deadline, Hands};
use crate::inventory::{Healed, Inventory};
use crate::model::{Clock, Reading, ResourceName, Verdict};

/// How often a target without a check of its own is looked at: the supervisor answers at once.
const EVERY: Duration = Duration::from_millis(500);
/// Failed looks in a row after the grace, for a target without a check of its own.
const FAIL_AFTER: u32 = 3;

/// One look of the check, for the trail.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) reading: Reading,
    pub(super) successes: u32,
    pub(super) needed: u32,
}

/// What counts as healed for a target.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) healed: Healed,
    every: Duration,
    timeout: Duration,
    fail_after: u32,
}

impl Terms {
    /// The operator's terms for this target.
    pub(super) fn of(inventory: &Inventory, target: &ResourceName) -> Self {
        let owner = inventory.target_of(target);
        // What has no terms of its own, a command or a lone probe, is as healthy as one good look says.
        let lone = || Healed { successes: 1, grace: Duration::ZERO, deadline: Duration::from_secs(30) };
        let healed = inventory.healed(target).or_else(|| inventory.healed(&owner)).cloned().unwrap_or_else(lone);
        let check = target.check_of().and_then(|probe| inventory.check(&probe)).or_else(|| inventory.check(target));
        Self {
            healed,
            every: check.map_or(EVERY, |check| check.every),
            timeout: check.map_or(Duration::from_secs(5), |check| check.timeout),
            fail_after: check.map_or(FAIL_AFTER, |check| check.fail_after),
        }
    }
}

/// Counts looks. Total and without a clock of its own, so that every order of events can be tested.
#[derive(Debug)]
struct Count {
    successes: u32,
    failures: u32,
}

/// What the counting says after one more look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Healed,
    NotHealed,
}

impl Count {
    const fn new() -> Self {
        Self { successes: 0, failures: 0 }
    }

    fn add(&mut self, verdict: Verdict, terms: &Terms, since_start: Duration) -> Standing {
        match verdict {
            Verdict::Healthy => {
                self.successes += 1;
                self.failures = 0;
            }
            Verdict::Degraded => self.failures = 0,
            Verdict::Unknown => {}
            Verdict::Failed => {
                self.successes = 0;
                if since_start >= terms.healed.grace {
                    self.failures += 1;
                }
            }
        }
        if self.successes >= terms.healed.successes {
            Standing::Healed
        } else if self.failures >= terms.fail_after {
            Standing::NotHealed
        } else {
            Standing::Open
        }
    }
}

/// Looks until it is clear, or once if not `patient`: what a plan sees will not change by waiting. `record` gets every
/// look; an error of it ends the checking.
///
/// # Errors
/// The first error of `record`.
pub(super) fn wait<E>(
    hands: &Hands,
    clock: &dyn Clock,
    target: &ResourceName,
    terms: &Terms,
    patient: bool,
    mut record: impl FnMut(&Look) -> Result<(), E>,
) -> Result<(bool, Option<Reading>), E> {
    let start = clock.elapsed();
    let mut count = Count::new();
    let mut last = None;
    loop {
        let reading = hands.check(target, Deadline::after(terms.timeout));
        let since_start = clock.elapsed().saturating_sub(start);
        let standing = count.add(reading.verdict, terms, since_start);
        record(&Look { reading: reading.clone(), successes: count.successes, needed: terms.healed.successes })?;
        last = Some(reading).or(last);
        match standing {
            Standing::Healed => return Ok((true, last)),
            Standing::NotHealed => return Ok((false, last)),
            Standing::Open if !patient => return Ok((count.successes > 0, last)),
            Standing::Open if since_start + terms.every >= terms.healed.deadline => return Ok((false, last)),
            Standing::Open => clock.sleep(terms.every),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let healed = Healed { successes: 3, grace: Duration::from_secs(5), deadline: Duration::from_secs(30) };
        Terms { healed, every: EVERY, timeout: EVERY, fail_after: 2 }
    }

    fn play(looks: &[(u64, Verdict)]) -> Standing {
        let mut count = Count::new();
        let terms = terms();
        looks.iter().map(|(second, verdict)| count.add(*verdict, &terms, Duration::from_secs(*second))).last().unwrap()
    }

    #[test]
    fn three_in_a_row_heal_and_two_do_not() {
        use Verdict::{Failed, Healthy};
        assert_eq!(play(&[(0, Healthy), (1, Healthy), (2, Healthy)]), Standing::Healed);
        assert_eq!(play(&[(0, Healthy), (1, Healthy)]), Standing::Open);
        assert_eq!(play(&[(0, Healthy), (1, Healthy), (2, Failed), (3, Healthy)]), Standing::Open);
    }

    #[test]
    fn failures_count_only_after_the_grace() {
        use Verdict::Failed;
        assert_eq!(play(&[(0, Failed), (1, Failed), (2, Failed)]), Standing::Open);
        assert_eq!(play(&[(5, Failed), (6, Failed)]), Standing::NotHealed);
    }

    #[test]
    fn slow_but_recovering_is_not_a_failure() {
        use Verdict::{Degraded, Failed, Healthy, Unknown};
        assert_eq!(play(&[(6, Failed), (7, Degraded), (8, Failed), (9, Degraded)]), Standing::Open);
        assert_eq!(play(&[(6, Healthy), (7, Degraded), (8, Healthy), (9, Unknown), (10, Healthy)]), Standing::Healed);
        assert_eq!(play(&[(6, Unknown), (7, Unknown), (8, Unknown)]), Standing::Open);
    }
}
