//! A host that follows a script, for unit tests on the machine a playbook is written on.
//!
//! The script is the list of answers to the calls that look at or change something, in order: a playbook that asks for
//! anything else, or in another order, fails its test with both sides in the message. The log and the clock always
//! answer, and waiting takes no time, so a test of a ten-minute wait is over at once.
//!
//! It says what the playbook did with the answers it was given. Whether a real host would give them is what
//! `guardian plan` is for.

// A script that is not followed fails the test: panicking is how a test says so.
#![allow(clippy::panic)]
// The bindings' error is a flat record of 160 bytes on 64-bit machines; it is boxed where authors see it.
#![allow(clippy::result_large_err)]

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::bindings::guardian::playbook::log::Level;
use crate::bindings::guardian::playbook::types::Error as Wit;
use crate::command::Ended;
use crate::config::Status as ConfigStatus;
use crate::probe::{Reading, Verdict};
use crate::service::{State, Status};
use crate::storage::{Reclaimed, Usage};
use crate::{Denial, Error, Incident, Playbook, Report, Resource};

/// When every script begins, in milliseconds since 1970: 2026-01-01T00:00:00Z.
pub const BEGINS_AT: u64 = 1_767_225_600_000;

/// A host that answers from a script.
#[derive(Debug, Default)]
pub struct Host {
    script: VecDeque<(String, Answer)>,
}

#[derive(Debug)]
enum Answer {
    Service(Result<Status, Error>),
    Usage(Result<Usage, Error>),
    Reclaimed(Result<Reclaimed, Error>),
    Config(Result<ConfigStatus, Error>),
    Command(Result<Ended, Error>),
    Probe(Result<Reading, Error>),
}

/// What happened when a script was played.
#[derive(Debug)]
pub struct Played {
    /// What the playbook answered.
    pub answer: Result<Report, Error>,
    /// The calls it made, in order, log and clock aside: `service.restart web`.
    pub calls: Vec<String>,
    /// The lines it logged.
    pub lines: Vec<String>,
    /// How long it waited, in milliseconds.
    pub waited_ms: u64,
}

#[derive(Default)]
struct Stage {
    script: VecDeque<(String, Answer)>,
    calls: Vec<String>,
    lines: Vec<String>,
    waited_ms: u64,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

impl Host {
    /// A host that answers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Next, answers the `verb` (`status`, `start`, `reset-failed`, ...) on the service `name`.
    #[must_use]
    pub fn service(mut self, verb: &str, name: &str, answer: Result<Status, Error>) -> Self {
        self.script.push_back((format!("service.{verb} {name}"), Answer::Service(answer)));
        self
    }

    /// Next, answers `storage.usage` on `name`.
    #[must_use]
    pub fn usage(mut self, name: &str, answer: Result<Usage, Error>) -> Self {
        self.script.push_back((format!("storage.usage {name}"), Answer::Usage(answer)));
        self
    }

    /// Next, answers the `verb` (`reclaim`, `purge`) on the storage `name`.
    #[must_use]
    pub fn makes_room(mut self, verb: &str, name: &str, answer: Result<Reclaimed, Error>) -> Self {
        self.script.push_back((format!("storage.{verb} {name}"), Answer::Reclaimed(answer)));
        self
    }

    /// Next, answers the `verb` (`check`, `restore`) on the configuration `name`.
    #[must_use]
    pub fn config(mut self, verb: &str, name: &str, answer: Result<ConfigStatus, Error>) -> Self {
        self.script.push_back((format!("config.{verb} {name}"), Answer::Config(answer)));
        self
    }

    /// Next, answers `command.run` on `name`.
    #[must_use]
    pub fn command(mut self, name: &str, answer: Result<Ended, Error>) -> Self {
        self.script.push_back((format!("command.run {name}"), Answer::Command(answer)));
        self
    }

    /// Next, answers `probe.run` on `name`.
    #[must_use]
    pub fn probe(mut self, name: &str, answer: Result<Reading, Error>) -> Self {
        self.script.push_back((format!("probe.run {name}"), Answer::Probe(answer)));
        self
    }

    /// Plays a playbook against the script.
    ///
    /// # Panics
    /// When it makes a call that is not the next one of the script, or leaves some of the script unplayed.
    #[must_use]
    pub fn play<P: Playbook>(self, incident: &Incident) -> Played {
        STAGE.set(Some(Stage { script: self.script, ..Stage::default() }));
        let answer = P::remediate(incident);
        let stage = STAGE.take().unwrap_or_default();
        if let Some((next, _)) = stage.script.front() {
            panic!("the playbook ended with {answer:?} and never called {next}; it called {:?}", stage.calls);
        }
        Played { answer, calls: stage.calls, lines: stage.lines, waited_ms: stage.waited_ms }
    }
}

fn on_stage<T>(act: impl FnOnce(&mut Stage) -> T) -> T {
    STAGE.with_borrow_mut(|stage| match stage {
        Some(stage) => act(stage),
        None => panic!("outside wasm32 there is a host only inside `scripted::Host::play`"),
    })
}

fn next(call: String) -> Answer {
    on_stage(|stage| {
        let answer = match stage.script.pop_front() {
            Some((expected, answer)) if expected == call => answer,
            Some((expected, _)) => panic!("the playbook called {call}, and the script says {expected}"),
            None => panic!("the playbook called {call}, and the script is at its end; so far: {:?}", stage.calls),
        };
        stage.calls.push(call);
        answer
    })
}

fn misfit(call: &str) -> Wit {
    Error::failed(format!("the script answers {call} with a reply of another kind")).into()
}

/// A status that says only the state.
#[must_use]
pub const fn status(state: State) -> Status {
    Status { state, since_ms: None, restarts: 0, last_exit: None, stopped_by_person: false, extra: Vec::new() }
}

/// A reading that says only the verdict.
#[must_use]
pub const fn reading(verdict: Verdict) -> Reading {
    Reading { verdict, latency_us: 1_000, seen: String::new(), extra: Vec::new() }
}

/// The error of a call that policy said no to.
#[must_use]
pub fn denied(action: &str, resource: &str) -> Error {
    Error {
        code: "denied".to_owned(),
        message: format!("{action} on {resource} is not permitted (record 1)"),
        retryable: false,
        denial: Some(Box::new(Denial {
            action: action.to_owned(),
            resource: resource.to_owned(),
            code: "no-permit".to_owned(),
            record: 1,
            extra: Vec::new(),
        })),
    }
}

/// An incident about one resource, with `target` bound to it.
#[must_use]
pub fn incident(kind: &str, target_kind: &str, target_name: &str) -> Incident {
    Incident {
        id: "i-scripted".to_owned(),
        kind: kind.to_owned(),
        target: Resource { kind: target_kind.to_owned(), name: target_name.to_owned() },
        severity: 5,
        opened_at: BEGINS_AT,
        labels: Vec::new(),
        bindings: vec![("target".to_owned(), target_name.to_owned())],
        extra: Vec::new(),
    }
}

// What follows stands in for the generated bindings, function by function and with the contract's own error record, so
// that the rest of this crate is the same code on both sides.

pub(crate) mod service {
    use super::{Answer, Status, Wit, misfit, next};

    fn call(verb: &str, name: &str) -> Result<Status, Wit> {
        match next(format!("service.{verb} {name}")) {
            Answer::Service(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("service")),
        }
    }

    pub(crate) fn status(name: &str) -> Result<Status, Wit> {
        call("status", name)
    }

    pub(crate) fn start(name: &str) -> Result<Status, Wit> {
        call("start", name)
    }

    pub(crate) fn stop(name: &str) -> Result<Status, Wit> {
        call("stop", name)
    }

    pub(crate) fn restart(name: &str) -> Result<Status, Wit> {
        call("restart", name)
    }

    pub(crate) fn reload(name: &str) -> Result<Status, Wit> {
        call("reload", name)
    }

    pub(crate) fn reset_failed(name: &str) -> Result<Status, Wit> {
        call("reset-failed", name)
    }
}

pub(crate) mod probe {
    use super::{Answer, Reading, Wit, misfit, next};

    pub(crate) fn run(name: &str) -> Result<Reading, Wit> {
        match next(format!("probe.run {name}")) {
            Answer::Probe(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("probe")),
        }
    }
}

pub(crate) mod storage {
    use super::{Answer, Reclaimed, Usage, Wit, misfit, next};

    pub(crate) fn usage(name: &str) -> Result<Usage, Wit> {
        match next(format!("storage.usage {name}")) {
            Answer::Usage(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("storage.usage")),
        }
    }

    fn call(verb: &str, name: &str) -> Result<Reclaimed, Wit> {
        match next(format!("storage.{verb} {name}")) {
            Answer::Reclaimed(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("storage")),
        }
    }

    pub(crate) fn reclaim(name: &str) -> Result<Reclaimed, Wit> {
        call("reclaim", name)
    }

    pub(crate) fn purge(name: &str) -> Result<Reclaimed, Wit> {
        call("purge", name)
    }
}

pub(crate) mod config {
    use super::{Answer, Wit, misfit, next};
    use crate::config::Status;

    fn call(verb: &str, name: &str) -> Result<Status, Wit> {
        match next(format!("config.{verb} {name}")) {
            Answer::Config(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("config")),
        }
    }

    pub(crate) fn check(name: &str) -> Result<Status, Wit> {
        call("check", name)
    }

    pub(crate) fn restore(name: &str) -> Result<Status, Wit> {
        call("restore", name)
    }
}

pub(crate) mod command {
    use super::{Answer, Ended, Wit, misfit, next};

    pub(crate) fn run(name: &str) -> Result<Ended, Wit> {
        match next(format!("command.run {name}")) {
            Answer::Command(answer) => answer.map_err(Wit::from),
            _ => Err(misfit("command")),
        }
    }
}

pub(crate) mod log {
    use super::{Level, Wit, on_stage};

    pub(crate) fn write(_level: Level, message: &str) -> Result<(), Wit> {
        on_stage(|stage| stage.lines.push(message.to_owned()));
        Ok(())
    }
}

pub(crate) mod clock {
    use super::{BEGINS_AT, Wit, on_stage};

    pub(crate) fn now() -> Result<u64, Wit> {
        Ok(on_stage(|stage| BEGINS_AT.saturating_add(stage.waited_ms)))
    }

    pub(crate) fn sleep(milliseconds: u64) -> Result<u64, Wit> {
        on_stage(|stage| stage.waited_ms = stage.waited_ms.saturating_add(milliseconds));
        now()
    }
}
