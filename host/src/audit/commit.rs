//! Group commit: many callers, one write, one fdatasync.
//!
//! A caller puts its record into the queue, where it gets its number, and waits for it to be durable. The first one who
//! finds nobody writing becomes the leader: it takes what is in the queue, writes it as one batch, syncs, goes on in the
//! projection, and wakes the others. Whoever came meanwhile is in the next batch, and one of them leads it. So the cost of
//! a sync is shared by as many callers as there are, and a single caller pays nothing for the machinery but two uncontended
//! locks. Who waits is woken when its own record is durable and then takes no lock: 64 threads that wake up together to
//! ask for the same lock cost more than their records.
//!
//! Numbers are given once and never taken back: after "no space" a batch stays in the queue and is tried again with the
//! next one, its waiters are told, and the one who began an intent writes the outcome "not attempted" behind it. No code
//! path drops a record (INVARIANT 7); the queue is bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use super::error::{AuditError, Failure};
use super::frame;
use super::projection::State;
use super::record::{Draft, Record};
use super::storage::Storage;
use super::tree::Frontier;
use crate::model::Clock;

/// The largest batch in bytes: sixteen of the largest records, thousands of usual ones, and what one reader reads at once.
pub(super) const LARGEST_BATCH: usize = 1024 * 1024;

/// Buffered records beyond this are written without being asked for: what is lost in a crash stays small.
const BUFFERED: usize = 256 * 1024;

/// The queue takes nothing more beyond this, except what ends something that was begun.
const QUEUED: usize = 4 * 1024 * 1024;

struct Pending {
    record: Record,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    durable: u64,
    pending: VecDeque<Pending>,
    bytes: usize,
    leading: bool,
    /// Who sleeps until this record is durable, or cannot be. INVARIANT 7: as many as there are threads in a call.
    sleepers: Vec<(u64, Thread)>,
    poison: Option<String>,
    /// The records below this number were refused by a full disk; they are still in the queue.
    refused: Option<(u64, String)>,
}

impl Queue {
    /// Gives the record its number and its time.
    fn push(&mut self, draft: Draft, clock: &dyn Clock, must: bool) -> Result<u64, AuditError> {
        if let Some(reason) = &self.poison {
            return Err(AuditError::Poisoned { reason: reason.clone() });
        }
        let bound = if must { QUEUED * 2 } else { QUEUED };
        if self.bytes + draft.longest() > bound {
            let what = "records wait to be written and the disk takes none".to_owned();
            return Err(AuditError::NoSpace { what });
        }
        let seq = self.next;
        let (record, bytes) = draft.place(seq, clock.now());
        self.next += 1;
        self.bytes += bytes.len();
        self.pending.push_back(Pending { record, bytes });
        Ok(seq)
    }
}

impl Queue {
    /// Who sleeps no longer after a batch: everybody if it went wrong, else whose record is durable by now, and one of the
    /// others to lead the next batch.
    fn wake(&mut self, all: bool) -> Vec<Thread> {
        let durable = self.durable;
        let mut leader = true;
        let woken = self.sleepers.extract_if(.., |(seq, _)| all || *seq < durable || std::mem::take(&mut leader));
        woken.map(|(_, thread)| thread).collect()
    }
}

/// What is written to, and the tree of what was.
pub(super) struct Writer {
    pub(super) storage: Box<dyn Storage>,
    pub(super) tree: Frontier,
    buffer: Vec<u8>,
}

/// The queue, the writer, and what they make of the trail.
pub(super) struct Commit {
    queue: Mutex<Queue>,
    /// `Queue::durable`, to be read without the lock.
    durable: AtomicU64,
    writer: Mutex<Writer>,
    state: Mutex<State>,
    left: AtomicU64,
    /// The most that any playbook has written in its latest day, in bytes: below its budget nobody need look closer.
    busiest: AtomicU64,
    largest_batch: usize,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is guarded is left half-changed by a panic that cannot happen here; going on beats a second panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commit {
    pub(super) fn new(storage: Box<dyn Storage>, tree: Frontier, state: State, largest_batch: usize) -> Self {
        let queue = Queue { next: tree.size(), durable: tree.size(), ..Queue::default() };
        let left = AtomicU64::new(storage.left());
        let busiest = AtomicU64::new(state.busiest());
        let writer = Mutex::new(Writer { storage, tree, buffer: Vec::new() });
        let largest_batch = largest_batch.min(LARGEST_BATCH);
        let durable = AtomicU64::new(queue.durable);
        let queue = Mutex::new(queue);
        Self { queue, durable, writer, state: Mutex::new(state), left, busiest, largest_batch }
    }

    /// Puts a record into the queue. `must` is for what ends something: it is taken beyond the bound.
    pub(super) fn enqueue(&self, draft: Draft, clock: &dyn Clock, must: bool) -> Result<u64, AuditError> {
        let mut queue = locked(&self.queue);
        let seq = queue.push(draft, clock, must)?;
        if queue.bytes > BUFFERED && !must {
            self.wait_in(queue, seq)?;
        }
        Ok(seq)
    }

    /// Puts a record into the queue and waits for it; its number, and what became of it.
    pub(super) fn submit(&self, draft: Draft, clock: &dyn Clock) -> Result<(u64, Result<(), Failure>), AuditError> {
        let mut queue = locked(&self.queue);
        let seq = queue.push(draft, clock, false)?;
        Ok((seq, self.wait_in(queue, seq)))
    }

    /// Waits until the record is durable, and writes the batch itself if nobody does.
    pub(super) fn wait(&self, seq: u64) -> Result<(), Failure> {
        self.wait_in(locked(&self.queue), seq)
    }

    fn wait_in<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, seq: u64) -> Result<(), Failure> {
        loop {
            if queue.durable > seq {
                return Ok(());
            }
            if let Some(reason) = &queue.poison {
                return Err(Failure::Poison(reason.clone()));
            }
            if queue.leading {
                let thread = std::thread::current();
                let me = thread.id();
                queue.sleepers.push((seq, thread));
                drop(queue);
                std::thread::park();
                if self.durable.load(Ordering::Acquire) > seq {
                    return Ok(());
                }
                queue = locked(&self.queue);
                // A sleep may end unasked. Who is awake must not stand in the list: it could be chosen to lead.
                queue.sleepers.retain(|(_, thread)| thread.id() != me);
                match &queue.refused {
                    Some((below, what)) if seq < *below && queue.durable <= seq => {
                        return Err(Failure::NoSpace(what.clone()));
                    }
                    _ => continue,
                }
            }
            let batch = self.take(&mut queue);
            if batch.is_empty() {
                return Ok(());
            }
            drop(queue);
            let written = self.write(&batch);
            queue = locked(&self.queue);
            queue.leading = false;
            let settled = settle(&mut queue, batch, written);
            self.durable.store(queue.durable, Ordering::Release);
            let woken = queue.wake(settled.is_err());
            drop(queue);
            woken.iter().for_each(Thread::unpark);
            settled?;
            queue = locked(&self.queue);
        }
    }

    fn take(&self, queue: &mut Queue) -> Vec<Pending> {
        let mut batch = Vec::with_capacity(queue.pending.len());
        let mut length = frame::TRAILER_BYTES;
        while let Some(next) = queue.pending.front() {
            length += frame::FRAME_BYTES + next.bytes.len();
            if length > self.largest_batch && !batch.is_empty() {
                break;
            }
            queue.bytes = queue.bytes.saturating_sub(next.bytes.len());
            batch.extend(queue.pending.pop_front());
        }
        queue.leading = !batch.is_empty();
        if queue.leading {
            // It is tried again: who waits for it now must not be told how the last attempt went.
            queue.refused = None;
        }
        batch
    }

    /// Writes one batch and goes on by it. INVARIANT 1: nobody is told that a record is durable before this returns.
    fn write(&self, batch: &[Pending]) -> Result<(), Failure> {
        let mut writer = locked(&self.writer);
        let Writer { storage, tree, buffer } = &mut *writer;
        storage.watch()?;
        let broken = |error: tlog_tiles::tlog::Error| Failure::Poison(format!("the tree cannot be computed: {error}"));
        let first = tree.size();
        let mut after = tree.clone();
        buffer.clear();
        for pending in batch {
            frame::push_record(buffer, pending.record.seq, &pending.bytes);
            after.push(&pending.bytes).map_err(broken)?;
        }
        frame::push_trailer(buffer, first, after.size(), &after.root().map_err(broken)?);
        storage.append(buffer, tree)?;
        *tree = after;
        self.left.store(storage.left(), Ordering::SeqCst);
        let mut state = locked(&self.state);
        for pending in batch {
            state.apply(&pending.record, pending.bytes.len());
        }
        self.busiest.store(state.busiest(), Ordering::SeqCst);
        Ok(())
    }

    /// Writes everything that is in the queue.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        let last = locked(&self.queue).next;
        if last == 0 { Ok(()) } else { self.wait(last - 1) }
    }

    /// What the trail says about now, as far as it is durable.
    pub(super) fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&locked(&self.state))
    }

    /// The most that any playbook has written in its latest day, in bytes.
    pub(super) fn busiest(&self) -> u64 {
        self.busiest.load(Ordering::SeqCst)
    }

    /// The writer between two batches, and the state that belongs to exactly that place.
    pub(super) fn at_rest<T>(&self, look: impl FnOnce(&Writer, &State) -> T) -> T {
        let writer = locked(&self.writer);
        let state = locked(&self.state);
        look(&writer, &state)
    }

    /// How many records are durable.
    pub(super) fn size(&self) -> u64 {
        locked(&self.queue).durable
    }

    /// Whether something waits to be written.
    pub(super) fn has_pending(&self) -> bool {
        !locked(&self.queue).pending.is_empty()
    }

    /// Why nothing is written any more, if so.
    pub(super) fn poison(&self) -> Option<String> {
        locked(&self.queue).poison.clone()
    }

    /// How many bytes fit before more disk is needed, as of the last batch.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Looks again how many bytes fit.
    pub(super) fn measure(&self) -> u64 {
        let left = locked(&self.writer).storage.left();
        self.left.store(left, Ordering::SeqCst);
        left
    }
}

fn settle(queue: &mut Queue, batch: Vec<Pending>, written: Result<(), Failure>) -> Result<(), Failure> {
    let length = u64::try_from(batch.len()).unwrap_or(0);
    match &written {
        Ok(()) => {
            queue.durable += length;
            queue.refused = None;
        }
        Err(Failure::NoSpace(what)) => {
            queue.refused = Some((queue.durable + length, what.clone()));
            for pending in batch.into_iter().rev() {
                queue.bytes += pending.bytes.len();
                queue.pending.push_front(pending);
            }
        }
        Err(Failure::Poison(reason)) => {
            tracing::error!("the audit trail stopped: {reason}");
            queue.poison = Some(reason.clone());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::super::record::Body;
    use super::*;
    use crate::model::{Actor, SystemClock};

    /// Says when it is asked to write, and answers what it is told.
    struct Told {
        asked: Sender<()>,
        answer: Receiver<Result<(), Failure>>,
    }

    impl Storage for Told {
        fn watch(&mut self) -> Result<(), Failure> {
            Ok(())
        }

        fn append(&mut self, _batch: &[u8], _before: &Frontier) -> Result<(), Failure> {
            self.asked.send(()).unwrap();
            self.answer.recv().unwrap()
        }

        fn place(&self) -> (u64, u64) {
            (0, 0)
        }

        fn left(&self) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn who_waits_again_hears_of_the_new_attempt_and_not_of_the_last() {
        let ((asked, is_asked), (answers, answer)) = (channel(), channel());
        let commit =
            Commit::new(Box::new(Told { asked, answer }), Frontier::default(), State::default(), LARGEST_BATCH);
        let actor = Actor { uid: 0, login_uid: None };
        let draft = Draft::new("0", &actor, None, None, Body::Resumed { left_bytes: 1 }).unwrap();
        answers.send(Err(Failure::NoSpace("full".to_owned()))).unwrap();
        let (seq, first) = commit.submit(draft, &SystemClock::default()).unwrap();
        assert!(matches!(first, Err(Failure::NoSpace(_))));
        is_asked.recv().unwrap();
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| commit.wait(seq));
            is_asked.recv().unwrap();
            let waits = scope.spawn(|| commit.wait(seq));
            // A sleep may end unasked, here often: it must go on waiting.
            for _ in 0..200 {
                std::thread::sleep(Duration::from_millis(1));
                waits.thread().unpark();
            }
            let still = !waits.is_finished();
            answers.send(Ok(())).unwrap();
            assert!(still);
            assert!(leader.join().unwrap().is_ok() && waits.join().unwrap().is_ok());
        });
    }
}
