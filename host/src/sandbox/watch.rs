//! The watch: one thread that rings when a run's deadline passes.
//!
//! Guest code cannot be stopped from outside; it looks at a counter, the epoch, at every loop and every call. A common
//! way is to raise that counter every few milliseconds for as long as the process lives. Here the thread sleeps until
//! the nearest deadline and raises it once: nothing wakes up while nothing runs, and a run that ends in time costs two
//! locks. A run whose neighbour's deadline passed sees that its own has not and goes on.
//!
//! The watch ends guest code only. A host call is not interrupted by it: each has its own deadline, kept by whoever
//! makes it.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The thread and what it waits for. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    deadlines: Mutex<Deadlines>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Deadlines {
    /// Bounded by the number of runs at a time.
    live: BTreeSet<(Instant, u64)>,
    next: u64,
    wakes_at: Option<Instant>,
    thread_runs: bool,
    closing: bool,
}

impl Shared {
    /// No code panics while it holds this lock; should it ever, the set of deadlines is still the set of deadlines.
    fn lock(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// Rings at `at` unless the answer is dropped before. Starts the thread at its first use, so that a command which
    /// runs nothing has no thread.
    pub(super) fn ring_at(&self, at: Instant, engine: &wasmtime::Engine) -> std::io::Result<Deadline> {
        let mut deadlines = self.shared.lock();
        if !deadlines.thread_runs {
            let (shared, engine) = (Arc::clone(&self.shared), engine.weak());
            std::thread::Builder::new().name("guest-deadlines".to_owned()).spawn(move || watch(&shared, &engine))?;
            deadlines.thread_runs = true;
        }
        let key = (at, deadlines.next);
        deadlines.next = deadlines.next.wrapping_add(1);
        deadlines.live.insert(key);
        // It often sleeps towards the deadline of a run that has ended since; then there is no need to wake it.
        if deadlines.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            self.shared.bell.notify_one();
        }
        Ok(Deadline { shared: Arc::clone(&self.shared), key })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.bell.notify_one();
    }
}

/// One run's entry; dropping it takes it off the list.
#[derive(Debug)]
#[must_use]
pub(super) struct Deadline {
    shared: Arc<Shared>,
    key: (Instant, u64),
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.lock().live.remove(&self.key);
    }
}

fn watch(shared: &Shared, engine: &wasmtime::EngineWeak) {
    let mut deadlines = shared.lock();
    while !deadlines.closing {
        let now = Instant::now();
        let mut passed = false;
        while deadlines.live.first().is_some_and(|(at, _)| *at <= now) {
            deadlines.live.pop_first();
            passed = true;
        }
        if passed {
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
        deadlines.wakes_at = deadlines.live.first().map(|(at, _)| *at);
        deadlines = match deadlines.wakes_at {
            Some(at) => {
                let wait = at.saturating_duration_since(now);
                shared.bell.wait_timeout(deadlines, wait).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.bell.wait(deadlines).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
