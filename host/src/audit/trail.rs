//! The trail, as the rest of the house sees it.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::checkpoint::{self, LogKey};
use super::commit::{Commit, LARGEST_BATCH, locked};
use super::error::{AuditError, Failure};
use super::intent::{Intent, IntentDraft, ReadTicket};
use super::lock::Lock;
use super::opening;
use super::options::{AuditOptions, Places};
use super::projection::{OpenIntent, State};
use super::publish::{PUBLISH_RECORDS, Publisher};
use super::record::Body;
use super::segment::{SegmentFiles, Spare};
use super::shared::{OnDisk, Shared};
use super::storage::MemoryLog;
use super::succession;
use super::tree::Frontier;
use super::upkeep::{self, Upkeep};
use crate::model::{Actor, Clock, ErrorCode, GuestError, Outcome, RunId};

/// The audit trail, open for writing by this process alone.
///
/// Dropping it writes what is buffered, publishes and lets go of the lock; [`Trail::close`] does the same and says how it
/// went.
pub struct Trail {
    shared: Arc<Shared>,
    upkeep: Option<(Arc<Upkeep>, JoinHandle<()>)>,
    ended: bool,
}

/// How the trail stands, for `guardian status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailStatus {
    /// Durable records.
    pub records: u64,
    /// Records that the last published checkpoint covers.
    pub published: u64,
    /// Bytes that still fit into the segments that are there.
    pub left_bytes: u64,
    /// Below this many, no new run starts; below a quarter of it, no effect.
    pub reserve_bytes: u64,
    /// Why nothing is written any more, until a restart.
    pub poisoned: Option<String>,
    /// Why no new run starts.
    pub refusing: Option<String>,
}

impl Trail {
    /// Makes a trail where there is none, with a new log key, and opens it.
    ///
    /// # Errors
    /// When there is one already, or a file cannot be made.
    pub fn create(options: &AuditOptions, actor: Actor, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        options.check()?;
        let places = Places::make(&options.var)?;
        let lock = Lock::take(&places.audit, options.lock_wait)?;
        succession::finished(&places.audit)?;
        Self::create_locked(options, places, lock, actor, clock, None)
    }

    pub(super) fn create_locked(
        options: &AuditOptions,
        places: Places,
        lock: Lock,
        actor: Actor,
        clock: Arc<dyn Clock>,
        first: Option<Body>,
    ) -> Result<Self, AuditError> {
        if !super::scan::segments(&places.segments)?.is_empty() || places.keys.dir().exists(checkpoint::PRIVATE_KEY) {
            return Err(AuditError::Exists { path: places.audit.path().to_owned() });
        }
        let spare = Arc::new(Spare::new(places.audit.sub("seg")?, options.segment_bytes));
        // The key comes last but one: a crash before it leaves nothing that looks like a trail.
        let key = LogKey::make(&places.keys, &places.log)?;
        let storage = SegmentFiles::create(places.audit.sub("seg")?, key.origin(), Arc::clone(&spare))?;
        let root = Frontier::default().root().unwrap_or_default();
        checkpoint::publish(&places.log, &key, 0, root)
            .map_err(|reason| AuditError::Unpublished { since: 0, reason })?;
        let commit = Commit::new(Box::new(storage), Frontier::default(), State::default(), options.largest_batch());
        let publisher = Publisher::new(places.log, places.state, key, 0, 0);
        let trail = Self::start(options, commit, (publisher, spare, lock), actor, clock, first)?;
        trail.flush()?;
        trail.publish()?;
        Ok(trail)
    }

    /// Opens the trail for writing, waiting for another writer if there is one.
    ///
    /// # Errors
    /// When there is none, another process holds it for longer than the wait, it is damaged or was put back to an earlier
    /// state, or its successor was begun and not finished; the message says how to go on.
    pub fn open(options: &AuditOptions, actor: Actor, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        Self::open_locked(options, Self::lock(options)?, actor, clock)
    }

    /// Waits for another writer if there is one, and keeps others out from then on: for whoever has to read what it acts on
    /// after that and not before.
    ///
    /// # Errors
    /// When there is no trail, or another process holds it for longer than the wait.
    pub fn lock(options: &AuditOptions) -> Result<Lock, AuditError> {
        options.check()?;
        Lock::take(&Places::audit(&options.var)?, options.lock_wait)
    }

    /// Opens the trail that was locked.
    ///
    /// # Errors
    /// As [`Trail::open`], but for the wait.
    pub fn open_locked(
        options: &AuditOptions,
        lock: Lock,
        actor: Actor,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        // Only now: a successor that was made while this waited moved the folders away.
        succession::finished(&Places::audit(&options.var)?)?;
        let places = Places::open(&options.var)?;
        let key = match LogKey::load(&places.keys) {
            Err(AuditError::File(error)) if error.is_not_found() => {
                return Err(super::options::absent(&options.var));
            }
            key => key?,
        };
        for folder in [&places.audit, &places.segments, &places.log] {
            folder.trusted()?;
        }
        let opened = opening::read(&places, &key)?;
        let spare = Arc::new(Spare::new(places.audit.sub("seg")?, options.segment_bytes));
        let segments = places.audit.sub("seg")?;
        let at = opened.at;
        let mut storage = SegmentFiles::open(segments, key.origin(), at.segment, at.offset, Arc::clone(&spare))?;
        let truncated_bytes = opened.torn_end - at.offset;
        if truncated_bytes > 0 {
            storage.truncate(opened.torn_end)?;
        }
        let covered = at.tree.size() - opened.read;
        let commit = Commit::new(Box::new(storage), at.tree, at.state, options.largest_batch());
        let publisher = Publisher::new(places.log, places.state, key, opened.checkpoint.size(), covered);
        let trail = Self::start(options, commit, (publisher, spare, lock), actor, clock, None)?;
        trail.record_recovery(truncated_bytes)?;
        Ok(trail)
    }

    /// A trail in memory, for plans: it begins with what the real one says (`state`) and leaves nothing behind.
    #[must_use]
    pub fn in_memory(log: MemoryLog, state: State, actor: Actor, clock: Arc<dyn Clock>) -> Self {
        let commit = Commit::new(Box::new(log), Frontier::default(), state, LARGEST_BATCH);
        let shared = Shared::new(commit, None, u64::MAX, "0000000000000000".to_owned(), actor, clock);
        Self { shared: Arc::new(shared), upkeep: None, ended: false }
    }

    fn start(
        options: &AuditOptions,
        commit: Commit,
        (publisher, spare, lock): (Publisher, Arc<Spare>, Lock),
        actor: Actor,
        clock: Arc<dyn Clock>,
        first: Option<Body>,
    ) -> Result<Self, AuditError> {
        let mut boot = [0; 8];
        getrandom::fill(&mut boot)
            .map_err(|error| AuditError::Option(format!("the system has no randomness: {error}")))?;
        let boot = format!("{:016x}", u64::from_be_bytes(boot));
        let disk = OnDisk {
            publisher,
            spare,
            reserve: options.reserve_bytes,
            prepare_below: options.segment_bytes / 4,
            _lock: lock,
        };
        let shared = Arc::new(Shared::new(commit, Some(disk), options.trail_mib_per_day, boot, actor, clock));
        if let Some(first) = first {
            shared.put(None, None, first, true)?;
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        shared.put(None, None, Body::Boot { version: env!("CARGO_PKG_VERSION").to_owned(), host }, true)?;
        let upkeep = upkeep::start(&shared);
        Ok(Self { shared, upkeep, ended: false })
    }

    fn record_recovery(&self, truncated_bytes: u64) -> Result<(), AuditError> {
        let in_doubt: Vec<u64> = self.state(|state| {
            let unlisted = state.open_intents().iter().filter(|(_, open)| !open.listed);
            // A thousand fit into one record; more than that in one crash is not seen.
            unlisted.map(|(seq, _)| *seq).take(1000).collect()
        });
        if truncated_bytes > 0 || !in_doubt.is_empty() {
            self.append_durable(None, Body::Recovery { truncated_bytes, in_doubt })?;
        }
        Ok(())
    }

    /// Records that an effect is about to be tried. When it returns, the record is durable.
    ///
    /// # Errors
    /// When it is not: then nothing may be done. A full disk, a spent budget and a stopped trail say so.
    pub fn begin(&self, run: &RunId, step: u32, draft: IntentDraft) -> Result<Intent, AuditError> {
        let shared = &self.shared;
        let IntentDraft { action, playbook, class, policies, key, undo, undoes } = draft;
        // What puts something back is not stopped by what stops new effects: half done is worse than a full disk.
        if undoes.is_none() {
            shared.room_for_effects()?;
            shared.budget(&playbook)?;
        }
        let body = Body::Intent { action: action.clone(), playbook, class, policies, key, undo, undoes };
        let (seq, durable) = shared.put_durable(run, step, body)?;
        match durable {
            // INVARIANT 1: the only place where an `Intent` is made.
            Ok(()) => {
                self.nudge(seq);
                Ok(Intent::new(seq, run.clone(), step, action, undoes))
            }
            Err(failure) => {
                if matches!(failure, Failure::NoSpace(_)) {
                    // The record has its number and will be written when there is space; so must be what became of it.
                    let error = GuestError::new(ErrorCode::AuditUnavailable, "not attempted: no room for its record");
                    shared.put(
                        Some(run.clone()),
                        Some(step),
                        Body::Outcome { of: seq, outcome: Outcome::Failed { error }, micros: 0 },
                        true,
                    )?;
                }
                Err(failure.into())
            }
        }
    }

    /// Asks for a checkpoint when many records are new.
    fn nudge(&self, seq: u64) {
        let published = self.shared.disk.as_ref().map_or(seq, |disk| disk.publisher.published());
        if let Some((upkeep, _)) = self.upkeep.as_ref().filter(|_| seq.saturating_sub(published) >= PUBLISH_RECORDS) {
            upkeep.wake();
        }
    }

    /// Records that something is about to be looked at. The record has its number and is written with the next batch.
    ///
    /// # Errors
    /// When it cannot be taken: then nothing may be looked at.
    pub fn begin_read(&self, run: &RunId, step: u32, draft: IntentDraft) -> Result<ReadTicket, AuditError> {
        self.shared.budget(&draft.playbook)?;
        let IntentDraft { action, playbook, policies, .. } = draft;
        let body = Body::Read { action: action.clone(), playbook, policies };
        let seq = self.shared.put(Some(run.clone()), Some(step), body, false)?;
        self.shared.begun(seq, run, step);
        Ok(ReadTicket::new(seq, run.clone(), step, action))
    }

    /// Records how the intent or read `of` ended, `micros` after it began. It is written with the next batch.
    ///
    /// # Errors
    /// When the trail has stopped, or the disk was full for so long that nothing more can wait.
    pub fn finish(&self, of: u64, outcome: Outcome, micros: u64) -> Result<u64, AuditError> {
        let begun = locked(&self.shared.begun).remove(&of);
        let earlier = || self.state(|state| state.open_intents().get(&of).map(|open| (open.run.clone(), open.step)));
        let (run, step) = begun.map(|(run, step)| (Some(run), Some(step))).or_else(earlier).unwrap_or_default();
        self.shared.put(run, step, Body::Outcome { of, outcome, micros }, true)
    }

    /// Records something; it is written with the next batch. Identical refusals of a minute are counted, see
    /// `docs/audit-format.md`; the number is then that of the first.
    ///
    /// # Errors
    /// When it cannot be taken. For a refusal also when the playbook has spent its daily budget.
    pub fn append(&self, run: Option<&RunId>, step: Option<u32>, body: Body) -> Result<u64, AuditError> {
        match &body {
            Body::Denied { .. } => self.shared.refuse(run, step, body),
            Body::RunEnd { .. } => {
                self.shared.settle_refusals(|of| of == run)?;
                self.shared.put(run.cloned(), step, body, true)
            }
            _ => self.shared.put(run.cloned(), step, body, false),
        }
    }

    /// Records something durably, with everything before it.
    ///
    /// # Errors
    /// When it is not durable.
    pub fn append_durable(&self, run: Option<&RunId>, body: Body) -> Result<u64, AuditError> {
        let seq = self.append(run, None, body)?;
        self.shared.commit.wait(seq)?;
        Ok(seq)
    }

    /// Makes everything durable that was recorded so far.
    ///
    /// # Errors
    /// When it is not.
    pub fn flush(&self) -> Result<(), AuditError> {
        Ok(self.shared.commit.flush()?)
    }

    /// Publishes a signed checkpoint of everything that is durable.
    ///
    /// # Errors
    /// When it could not be published; it will be tried again.
    pub fn publish(&self) -> Result<(), AuditError> {
        self.shared.publish(false)
    }

    /// Whether a new run may start, as far as the trail is concerned.
    ///
    /// # Errors
    /// Why not: stopped, too little room left for the runs that run, or not published for too long.
    pub fn admits_new_runs(&self) -> Result<(), AuditError> {
        self.shared.admits_new_runs()
    }

    /// What the trail says about now, as far as it is durable.
    pub fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.commit.state(look)
    }

    /// Intents of earlier starts without an outcome: what they did is not known until somebody looks.
    #[must_use]
    pub fn in_doubt(&self) -> Vec<(u64, OpenIntent)> {
        let earlier = |open: &&OpenIntent| open.boot != self.shared.boot;
        self.state(|state| {
            let open = state.open_intents().iter().filter(|(_, open)| earlier(open));
            open.map(|(seq, open)| (*seq, open.clone())).collect()
        })
    }

    /// A person says what became of an intent whose outcome is not known, so that its target can be acted on again; or takes
    /// over an effect that something later stands on, so that the rest of its run can be undone. The record is durable when
    /// this returns.
    ///
    /// # Errors
    /// When that record is neither, the reason is empty, or the trail cannot take the record.
    pub fn settle(&self, of: u64, reason: &str) -> Result<u64, AuditError> {
        if reason.trim().is_empty() {
            return Err(AuditError::Option("say what you found: --reason must not be empty".to_owned()));
        }
        if !self.in_doubt().iter().any(|(seq, _)| *seq == of) && !self.state(|state| state.is_overtaken(of)) {
            return Err(AuditError::Option(format!(
                "record {of} is no intent in doubt, and none that something later stands on; `guardian status` names those in doubt"
            )));
        }
        self.append_durable(None, Body::Settled { of, reason: crate::model::escape_to(reason, 1_000) })
    }

    /// How the trail stands.
    #[must_use]
    pub fn status(&self) -> TrailStatus {
        let disk = self.shared.disk.as_ref();
        let records = self.shared.commit.size();
        TrailStatus {
            records,
            published: disk.map_or(records, |disk| disk.publisher.published()),
            left_bytes: self.shared.commit.measure(),
            reserve_bytes: disk.map_or(0, |disk| disk.reserve),
            poisoned: self.shared.commit.poison(),
            refusing: self.admits_new_runs().err().map(|error| error.to_string()),
        }
    }

    /// Writes what is buffered, publishes, and lets go of the lock.
    ///
    /// # Errors
    /// When something could not be written. The lock is let go of all the same.
    pub fn close(mut self) -> Result<(), AuditError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), AuditError> {
        if let Some((upkeep, thread)) = self.upkeep.take() {
            upkeep.stop();
            // It cannot have panicked; if it had, what follows would still be right.
            let _ = thread.join();
        }
        // A system without a thread to spare has no upkeep, and all the more to write here.
        if self.shared.disk.is_none() || std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.shared.settle_refusals(|_| true)?;
        self.flush()?;
        self.shared.publish(true)
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!("the audit trail was not closed cleanly: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;
    use crate::model::SystemClock;

    #[test]
    fn a_trail_without_upkeep_is_written_and_published_when_closed_or_dropped() {
        for closed in [true, false] {
            let home = tempfile::tempdir().unwrap();
            let mut options = AuditOptions::at(home.path());
            (options.segment_bytes, options.reserve_bytes) = (256 * 1024, 64 * 1024);
            let actor = Actor { uid: 0, login_uid: None };
            let mut trail = Trail::create(&options, actor, Arc::new(SystemClock::default())).unwrap();
            let (upkeep, thread) = trail.upkeep.take().unwrap();
            upkeep.stop();
            thread.join().unwrap();
            trail.append(None, None, Body::Resumed { left_bytes: 1 }).unwrap();
            if closed {
                trail.close().unwrap()
            } else {
                drop(trail)
            }
            let verified = Reader::open(home.path()).unwrap().verify().unwrap();
            assert_eq!((verified.records, verified.signed), (2, 2), "closed: {closed}");
        }
    }
}
