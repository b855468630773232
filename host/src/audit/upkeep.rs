//! The one thread of the trail: what has to happen without anybody asking.
//!
//! Every second, or when told: buffered records are written, a checkpoint is published, refusals that were only counted
//! are recorded, and the next segment is prepared once the current one runs low. Nothing that a caller waits for is done
//! here, and trouble here is reported by those whom it concerns: the next `begin`, the next new run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::commit::locked;
use super::shared::Shared;

/// How often: what a crash can take of reads and outcomes, and how old a checkpoint is at most.
const EVERY: Duration = Duration::from_secs(1);

/// Tells the thread to stop.
pub(super) struct Upkeep {
    stop: AtomicBool,
    sleeping: Mutex<()>,
    wake: Condvar,
}

impl Upkeep {
    /// Lets it look now instead of at the end of its second.
    pub(super) fn wake(&self) {
        self.wake.notify_all();
    }

    pub(super) fn stop(&self) {
        let _sleeping = locked(&self.sleeping);
        self.stop.store(true, Ordering::SeqCst);
        self.wake.notify_all();
    }
}

/// Starts the thread. Without one, everything still happens, at the latest when the trail is closed.
pub(super) fn start(shared: &Arc<Shared>) -> Option<(Arc<Upkeep>, JoinHandle<()>)> {
    let upkeep = Arc::new(Upkeep { stop: AtomicBool::new(false), sleeping: Mutex::default(), wake: Condvar::new() });
    let (theirs, shared) = (Arc::clone(&upkeep), Arc::clone(shared));
    let thread = std::thread::Builder::new().name("audit upkeep".to_owned()).spawn(move || theirs.run(&shared));
    match thread {
        Ok(thread) => Some((upkeep, thread)),
        Err(error) => {
            tracing::error!("no thread for the upkeep of the audit trail: {error}");
            None
        }
    }
}

impl Upkeep {
    fn run(&self, shared: &Shared) {
        loop {
            self.prepare(shared);
            {
                let sleeping = locked(&self.sleeping);
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                drop(self.wake.wait_timeout(sleeping, EVERY).unwrap_or_else(PoisonError::into_inner));
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // Failures are kept and told to the callers whom they concern.
            let _ = shared.settle_refusals(|_| false);
            if shared.commit.has_pending() {
                let _ = shared.commit.flush();
            }
            let _ = shared.publish(false);
        }
    }

    fn prepare(&self, shared: &Shared) {
        let Some(disk) = &shared.disk else { return };
        if disk.spare.is_ready() || shared.commit.left() >= disk.prepare_below {
            return;
        }
        if let Err(error) = disk.spare.prepare(&self.stop) {
            tracing::error!("the next segment of the audit trail cannot be prepared: {error}");
        }
        shared.commit.measure();
    }
}
