//! What a successor takes over: how far each playbook has come, what it has used up, what is in doubt, and the runs that are
//! remembered with the effects that are neither committed nor put back.
//!
//! Without the marks an older release would come in through a recovery, and without the counts a playbook that has spent
//! its quota would get it again from an act of the operator that has nothing to do with it. Both go into records of the
//! new trail, so that whoever reads it alone can check what is asked of them. They are bounded: counts older than a day
//! no policy sees, and older ones are put together coarsely, each into a later moment than its own, so that none ends
//! early. A playbook without a mark was never accepted as far as anything readable says, and has no counts either.
//!
//! Without the runs nobody would give one that was interrupted its end, nobody could undo one that did not heal, and what puts
//! their effects back would be swept as belonging to nobody. Plans that wait for people are not taken over: they end.

use std::collections::BTreeMap;

use super::projection::{OpenIntent, Seconds, State};
use super::record::Body;
use super::succession::Taken;
use crate::model::Timestamp;

const DAY: u64 = 24 * 3_600;

/// Of how many releases one record speaks: 128 digests are 11 KiB.
const RELEASES: usize = 128;
/// Of how many verbs and resources one record speaks: a full day of one, made coarse, is 4 KiB.
const COUNTS: usize = 8;

impl State {
    /// The records that hand this state on.
    pub(super) fn handed_on(&self, now: Timestamp) -> Vec<Taken> {
        let mut records = Vec::new();
        for (playbook, mark) in self.playbooks() {
            let accepted: Vec<_> = mark.accepted.iter().map(|(release, digest)| (*release, *digest)).collect();
            let counts = self.counts(playbook).map(|(key, seconds)| (key.clone(), coarse(seconds, now)));
            let counts: Vec<_> = counts.filter(|(_, seconds)| !seconds.is_empty()).collect();
            let mut accepted = accepted.chunks(RELEASES);
            let mut counts = counts.chunks(COUNTS);
            loop {
                let (more, used) = (accepted.next(), counts.next());
                if more.is_none() && used.is_none() {
                    break;
                }
                let (release, component, went_back) = (mark.release, mark.component, mark.went_back);
                let accepted = more.unwrap_or_default().to_vec();
                let used = used.unwrap_or_default().iter().cloned().collect();
                let playbook = playbook.clone();
                let body = Body::HighWater { playbook, release, component, went_back, accepted, used };
                records.push((None, None, body));
            }
        }
        records.extend(self.earlier_runs().into_iter().map(|(run, step, body)| (Some(run), step, body)));
        for (of, open) in self.open_intents().iter().filter(|(of, _)| !self.is_handed_on(**of)) {
            let OpenIntent { run, step, playbook, verb, resource, .. } = open.clone();
            records.push((run, step, Body::InDoubt { of: *of, playbook, verb, resource }));
        }
        records
    }
}

/// The counts of the last day: to ten seconds of the last five minutes, to the minute of the last hour, else to a quarter
/// of an hour. A policy that looks at one of these spans sees exactly what was used in it, and sees it at most a step longer.
fn coarse(seconds: &Seconds, now: Timestamp) -> Vec<(u64, u32)> {
    let now = now.millis() / 1_000;
    let mut sums: BTreeMap<u64, u32> = BTreeMap::new();
    for (second, count) in seconds {
        let age = now.saturating_sub(*second);
        // The step, and the youngest that one of this span may get: not young enough for a shorter span.
        let (step, youngest) = match age {
            0..=300 => (10, 0),
            301..=3_600 => (60, 301),
            3_601..=DAY => (900, 3_601),
            _ => continue,
        };
        // What lies ahead of a clock that was set back counts as of now.
        let later = second.div_ceil(step).saturating_mul(step).min(now.saturating_sub(youngest));
        let sum = sums.entry(later).or_default();
        *sum = sum.saturating_add(*count);
    }
    sums.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_put_together_and_none_ends_early() {
        let now = Timestamp::from_millis(1_800_000_000_500);
        let second = now.millis() / 1_000;
        let all: Seconds = (0..2 * DAY).rev().map(|age| (second - age, 1)).collect();
        let sums = coarse(&all, now);
        assert!(sums.len() < 200, "{}", sums.len());
        assert_eq!(sums.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), DAY + 1);
        assert!(sums.is_sorted_by_key(|(second, _)| *second) && sums.iter().all(|(at, _)| *at <= second));
        for window in [300, 3_600] {
            let within: u64 =
                sums.iter().filter(|(at, _)| second - at <= window).map(|(_, count)| u64::from(*count)).sum();
            assert_eq!(within, window + 1);
        }
        assert_eq!(coarse(&[(second + 5, 3)].into(), now), [(second, 3)]);
        assert_eq!(coarse(&[(second - DAY - 1, 3)].into(), now), []);
    }
}
