//! One run of guest code: a fresh store, an instance, one call, and how it ended.
//!
//! Nothing survives a run: the store, its memory and whatever state a trap left behind are dropped with it, so a guest
//! that breaks itself breaks nothing else, and the next run of the same playbook starts clean.
//!
//! Everything happens on the caller's thread, calls of the host included: bring a thread of your own with at least
//! `stack_kib` to spare (Rust's default of 2 MiB is enough for the default limit), and no more threads than runs at a
//! time. A run ends by returning, by a trap, or by a limit; the deadline counts host calls too, and is looked at when
//! one begins, so that a guest cannot sleep its way past it. It never ends by dropping a call in flight: who started an
//! effect gets to write down its outcome.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::budget::Budget;
use super::import;
use super::program::Program;
use crate::model::{Action, GuestError, Incident, LimitHit, LimitName, Limits, Reply, Report, escape_to};

/// What a guest may pass in one call, in bytes, before anything of it is copied. Lists cost more than they hold (a
/// string is 24 bytes of host memory), and the largest honest call is far under `argument_bytes`; so this is room enough
/// for a report and nothing a host would notice.
pub(super) const CALL_DATA: u64 = 2 * 1024 * 1024;

/// Decides, records and acts: everything a guest can reach.
pub type Calls = Box<dyn FnMut(Action) -> Result<Reply, CallError> + Send>;

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// For the guest, as a typed error. It goes on.
    Guest(GuestError),
    /// The host ends the run here: the trail is lost, the playbook was revoked. The guest runs no further instruction.
    Abort {
        /// Why, in one line.
        reason: String,
    },
}

/// How guest code ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestEnd {
    /// It did what it could, and says what. Not believed.
    Returned(Report),
    /// It says that it could not.
    GaveUp(GuestError),
    /// It broke: `unreachable`, out of bounds, an answer that is none.
    Trapped {
        /// What happened, in one line, escaped.
        message: String,
    },
    /// It spent a limit.
    Limit(LimitHit),
    /// The host ended it.
    Stopped {
        /// Why, in one line.
        reason: String,
    },
}

/// What ends a run from the host's side. Travels through wasmtime as an error; the guest never sees it.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("{0}")]
    Limit(LimitHit),
    #[error("{0}")]
    Host(String),
}

/// The host's side of one store.
pub(super) struct HostSide {
    calls: Calls,
    budget: Budget,
    deadline: Instant,
}

impl fmt::Debug for HostSide {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HostSide").field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl HostSide {
    /// The one way out of the sandbox.
    pub(super) fn call(&mut self, action: Action) -> wasmtime::Result<Result<Reply, GuestError>> {
        if Instant::now() >= self.deadline {
            return Err(self.budget.spend(LimitName::RunTime).into());
        }
        self.budget.call(&action)?;
        // INVARIANT 3: a denial is a value; only an abort by the host unwinds the guest.
        match (self.calls)(action) {
            Ok(reply) => Ok(Ok(reply)),
            Err(CallError::Guest(error)) => Ok(Err(error)),
            Err(CallError::Abort { reason }) => Err(Stop::Host(reason).into()),
        }
    }
}

/// Runs a playbook once for `incident`, on this thread, until it ends or is ended.
///
/// The time limit begins here. Every call of the guest arrives at `calls`, in order, one at a time.
#[must_use]
pub fn run(program: &Program, incident: &Incident, limits: &Limits, calls: Calls) -> GuestEnd {
    let now = Instant::now();
    // More seconds than the clock can count are a mistake in the configuration, and end the run at once.
    let deadline = now.checked_add(limits.run_time()).unwrap_or(now);
    let engine = program.engine();
    let mut store = Store::new(&engine.wasm, HostSide { calls, budget: Budget::new(limits), deadline });
    store.limiter(|host| &mut host.budget);
    store.set_hostcall_fuel(usize::try_from(CALL_DATA).unwrap_or(usize::MAX));
    store.epoch_deadline_callback(move |mut store| {
        if Instant::now() >= deadline {
            return Err(store.data_mut().budget.spend(LimitName::RunTime).into());
        }
        Ok(UpdateDeadline::Continue(1))
    });
    // First the store, then the watch: a bell between the two would otherwise go unheard.
    store.set_epoch_deadline(1);
    let watched = match engine.watch.ring_at(deadline, &engine.wasm) {
        Ok(watched) => watched,
        Err(error) => return GuestEnd::Stopped { reason: super::SandboxError::Watch(error).to_string() },
    };
    let answer = program.call(&mut store, &import::incident(incident));
    drop(watched);
    match answer {
        Ok(Ok(report)) => GuestEnd::Returned(bounded_report(report, limits)),
        Ok(Err(error)) => GuestEnd::GaveUp(bounded_error(error, limits)),
        Err(error) => ended(&error, &mut store.data_mut().budget),
    }
}

fn ended(error: &wasmtime::Error, budget: &mut Budget) -> GuestEnd {
    if let Some(hit) = budget.hit() {
        return GuestEnd::Limit(hit);
    }
    let limit = match (error.downcast_ref::<Stop>(), error.downcast_ref::<Trap>()) {
        (Some(Stop::Host(reason)), _) => return GuestEnd::Stopped { reason: reason.clone() },
        (Some(Stop::Limit(hit)), _) => return GuestEnd::Limit(*hit),
        (_, Some(Trap::StackOverflow)) => LimitName::Stack,
        (_, Some(Trap::Interrupt)) => LimitName::RunTime,
        _ if error.is::<PoolConcurrencyLimitError>() => {
            return GuestEnd::Stopped {
                reason: "all slots for guest code are taken; try again when a run has ended".to_owned(),
            };
        }
        // wasmtime has no type for it; a test pins the words.
        _ if format!("{:?}", error.root_cause()).contains("HostcallFuelExhausted") => LimitName::CallData,
        _ => return GuestEnd::Trapped { message: escape_to(&format!("{:#}", error.root_cause()), 300) },
    };
    match budget.spend(limit) {
        Stop::Limit(hit) => GuestEnd::Limit(hit),
        Stop::Host(reason) => GuestEnd::Stopped { reason },
    }
}

/// A guest's words are kept as far as one call's words would be: they go on the trail like those.
fn bounded_report(report: Report, limits: &Limits) -> Report {
    let mut room = usize::try_from(limits.argument_bytes).unwrap_or(usize::MAX);
    let summary = cut(report.summary, &mut room);
    let mut extra = BTreeMap::new();
    for (key, value) in report.extra {
        if key.len().saturating_add(value.len()) > room {
            break;
        }
        room -= key.len() + value.len();
        extra.insert(key, value);
    }
    Report { summary, extra }
}

fn bounded_error(mut error: GuestError, limits: &Limits) -> GuestError {
    let mut room = usize::try_from(limits.argument_bytes).unwrap_or(usize::MAX);
    error.message = cut(error.message, &mut room);
    // A guest cannot make a denial: only the host knows of one, and it has its own record.
    error.denial = None;
    error
}

fn cut(mut text: String, room: &mut usize) -> String {
    if text.len() > *room {
        text.truncate(text.floor_char_boundary(*room));
    }
    *room -= text.len();
    text
}
