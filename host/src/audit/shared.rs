//! What the callers of the trail and its upkeep share, and the order in which a full disk says no.
//!
//! New runs are refused first, below the reserve; effects next, below a quarter of it; outcomes and ends of runs are taken
//! until nothing fits. Whoever is refused tries to make room, at most once a second, so the trail goes on by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::commit::{Commit, locked};
use super::error::{AuditError, Failure};
use super::lock::Lock;
use super::publish::Publisher;
use super::record::{Body, Draft};
use super::refusals::{Due, Refusals};
use super::segment::Spare;
use crate::model::{Actor, Clock, LimitHit, LimitName, PlaybookId, RunId};

/// Far more calls than threads that can be in one.
const CALLS_UNDER_WAY: usize = 4096;

/// What a trail on disk has and one in memory has not.
pub(super) struct OnDisk {
    pub(super) publisher: Publisher,
    pub(super) spare: Arc<Spare>,
    pub(super) reserve: u64,
    /// Below this much room in the current segment the next one is prepared.
    pub(super) prepare_below: u64,
    pub(super) _lock: Lock,
}

/// Everything that the callers and the upkeep share.
pub(super) struct Shared {
    pub(super) boot: String,
    actor: Actor,
    pub(super) clock: Arc<dyn Clock>,
    trail_mib_per_day: u64,
    pub(super) commit: Commit,
    pub(super) disk: Option<OnDisk>,
    refusals: Mutex<Refusals>,
    /// Which call a read without an outcome belongs to; of an intent the projection knows.
    pub(super) begun: Mutex<BTreeMap<u64, (RunId, u32)>>,
    /// Set while new runs are refused for lack of room.
    refusing: AtomicBool,
    /// When room was last looked for.
    looked: Mutex<Option<Duration>>,
}

/// How often room is made and measured before there is none.
const MEASURED: u32 = 4;

impl Shared {
    pub(super) fn new(
        commit: Commit,
        disk: Option<OnDisk>,
        trail_mib_per_day: u64,
        boot: String,
        actor: Actor,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            boot,
            actor,
            clock,
            trail_mib_per_day,
            commit,
            disk,
            refusals: Mutex::default(),
            begun: Mutex::default(),
            refusing: AtomicBool::new(false),
            looked: Mutex::default(),
        }
    }

    pub(super) fn put(&self, run: Option<RunId>, step: Option<u32>, body: Body, must: bool) -> Result<u64, AuditError> {
        let draft = Draft::new(&self.boot, &self.actor, run, step, body)?;
        self.commit.enqueue(draft, self.clock.as_ref(), must)
    }

    /// Records an intent and waits for it; its number, and whether it is durable.
    pub(super) fn put_durable(
        &self,
        run: &RunId,
        step: u32,
        body: Body,
    ) -> Result<(u64, Result<(), Failure>), AuditError> {
        let draft = Draft::new(&self.boot, &self.actor, Some(run.clone()), Some(step), body)?;
        self.commit.submit(draft, self.clock.as_ref())
    }

    pub(super) fn begun(&self, seq: u64, run: &RunId, step: u32) {
        let mut begun = locked(&self.begun);
        begun.insert(seq, (run.clone(), step));
        // INVARIANT 7: only calls under way are in here; one that never ended loses its run on a late outcome, no more.
        while begun.len() > CALLS_UNDER_WAY {
            begun.pop_first();
        }
    }

    pub(super) fn refuse(&self, run: Option<&RunId>, step: Option<u32>, body: Body) -> Result<u64, AuditError> {
        let now = self.clock.now();
        if let Some(seq) = locked(&self.refusals).count(run, &body, now) {
            return Ok(seq);
        }
        if let Some(playbook) = body.playbook() {
            self.budget(playbook)?;
        }
        let seq = self.put(run.cloned(), step, body.clone(), false)?;
        let due = locked(&self.refusals).hold(run, step, body, seq, now);
        self.put_all(due)?;
        Ok(seq)
    }

    pub(super) fn settle_refusals(&self, also: impl Fn(Option<&RunId>) -> bool) -> Result<(), AuditError> {
        let due = locked(&self.refusals).due(self.clock.now(), also);
        self.put_all(due)
    }

    fn put_all(&self, due: Vec<Due>) -> Result<(), AuditError> {
        due.into_iter().try_for_each(|due| self.put(due.run, due.step, due.body, true).map(drop))
    }

    pub(super) fn budget(&self, playbook: &PlaybookId) -> Result<(), AuditError> {
        let mib = self.trail_mib_per_day;
        if self.commit.busiest() / (1024 * 1024) < mib {
            return Ok(());
        }
        let spent = self.commit.state(|state| state.bytes_today(playbook, self.clock.now()));
        if spent / (1024 * 1024) >= mib {
            return Err(AuditError::BudgetSpent(LimitHit { limit: LimitName::DailyTrail, value: mib }));
        }
        Ok(())
    }

    pub(super) fn publish(&self, closing: bool) -> Result<(), AuditError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        disk.publisher.checkpoint(&self.commit, self.clock.as_ref())?;
        if let Err(error) = disk.publisher.snapshot(&self.commit, closing) {
            // Without a snapshot the next start reads more; nothing is lost.
            tracing::warn!("no snapshot of the audit trail could be written: {error}");
        }
        Ok(())
    }

    pub(super) fn admits_new_runs(&self) -> Result<(), AuditError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        if let Some(reason) = self.commit.poison() {
            return Err(AuditError::Poisoned { reason });
        }
        disk.publisher.admits(&self.commit, self.clock.as_ref())?;
        self.room(disk, disk.reserve, "new runs")
    }

    pub(super) fn room_for_effects(&self) -> Result<(), AuditError> {
        // The last quarter is for outcomes and ends of runs.
        self.disk.as_ref().map_or(Ok(()), |disk| self.room(disk, disk.reserve / 4, "effects"))
    }

    /// Whether at least `least` bytes are left; if not, tries to make room.
    fn room(&self, disk: &OnDisk, least: u64, what: &str) -> Result<(), AuditError> {
        if self.commit.left() >= least && !self.refusing.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (mut why, mut left) = (None, 0);
        // What was prepared may be taken and filled by others before it is measured here.
        for _ in 0..MEASURED {
            why = self.make_room(disk);
            left = self.commit.measure();
            if left >= least || why.is_some() {
                break;
            }
        }
        if left < least {
            self.refusing.store(true, Ordering::SeqCst);
            let why = why.map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(AuditError::NoSpace { what: format!("{left} bytes are left, {what} need {least}{why}") });
        }
        if left >= disk.reserve && self.refusing.swap(false, Ordering::SeqCst) {
            self.put(None, None, Body::Resumed { left_bytes: left }, true)?;
            self.commit.flush()?;
        }
        Ok(())
    }

    /// Tries to prepare the next segment; at most once a second, because zeroing on a full disk is work.
    fn make_room(&self, disk: &OnDisk) -> Option<std::io::Error> {
        let now = self.clock.elapsed();
        {
            let mut looked = locked(&self.looked);
            let recently = looked.is_some_and(|last| now.saturating_sub(last) < Duration::from_secs(1));
            if recently && self.refusing.load(Ordering::SeqCst) {
                return None;
            }
            *looked = Some(now);
        }
        disk.spare.prepare(&AtomicBool::new(false)).err()
    }
}
