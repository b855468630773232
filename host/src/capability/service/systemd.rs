//! A unit of systemd, over D-Bus.
//!
//! What it guards: systemd's own will and a person's. Jobs are queued in mode `fail`: if a person's `systemctl stop` is
//! under way, a playbook's start is refused instead of replacing it. A unit in auto-restart is systemd's to restart; the
//! room above waits for it. A unit that somebody else stopped on purpose is told apart from one that died, by the order of
//! two timestamps (see [`unit`]), and Guardian's own stops by a marker (see [`marker`]).
//!
//! What it stops: a bus that hangs. Every wait, the connection included, is cut to the deadline of the act, and the room
//! knows whether the request had left: before that a time-out changed nothing, after it the outcome is not known.

mod bus;
mod cgroup;
mod journal;
mod marker;
#[cfg(test)]
mod tests;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;

pub(super) use self::bus::Bus;
use self::bus::{BusError, Talk};
use self::marker::{Marker, Seen};
use self::unit::UnitView;
use super::super::deadline::Deadline;
use super::super::error::HandError;
use super::super::keeper::record::StopReason;
use super::Supervisor;
use crate::durable::Folder;
use crate::model::{Clock as _, Name, ServiceStatus, ServiceVerb, SystemClock, escape};

pub(super) struct SystemdUnit {
    name: Name,
    unit: String,
    bus: Bus,
    folder: Folder,
    clock: SystemClock,
}

/// The jobs that the hand asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Job {
    const fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
            Self::Reload => "ReloadUnit",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

impl SystemdUnit {
    pub(super) fn new(name: &Name, unit: &str, bus: &Bus, folder: Folder) -> Self {
        Self { name: name.clone(), unit: unit.to_owned(), bus: bus.clone(), folder, clock: SystemClock::default() }
    }

    fn view(&self, deadline: Deadline) -> Result<UnitView, HandError> {
        let unit = self.unit.clone();
        let view = self.bus.run(deadline, async move |bus: Talk| {
            let talk = bus.connect().await?;
            talk.unit(&unit).await
        });
        let view = view.map_err(|error| self.explain(error, "its status", false))?;
        if view.load_state == "not-found" {
            return Err(self.no_such_unit());
        }
        Ok(view)
    }

    fn no_such_unit(&self) -> HandError {
        HandError::NotFound {
            what: format!("unit `{}` of service `{}`", escape(&self.unit), self.name),
            remedy: "install the unit and run `systemctl daemon-reload`, or correct `unit` in guardian.toml".to_owned(),
        }
    }

    /// Queues a job and waits for its end.
    fn job(&self, job: Job, deadline: Deadline) -> Result<(), HandError> {
        let sent = Arc::new(AtomicBool::new(false));
        let (unit, flag) = (self.unit.clone(), Arc::clone(&sent));
        let result = self.bus.run(deadline, async move |bus: Talk| {
            let talk = bus.connect().await?;
            let mut ends = talk.job_ends(&unit).await?;
            flag.store(true, Ordering::SeqCst);
            let path = talk.queue(job.method(), &unit).await?;
            ends.of(&path).await
        });
        let sent = sent.load(Ordering::SeqCst);
        match result.map_err(|error| self.explain(error, job.word(), sent))?.as_str() {
            "done" => Ok(()),
            // systemd's own words: canceled, timeout, failed, dependency, skipped, invalid, assert, unsupported, ...
            "canceled" => Err(HandError::Busy {
                what: format!("the {} of service `{}` was cancelled by another job", job.word(), self.name),
            }),
            other => Err(HandError::Failed {
                what: format!("systemd ended the {} of service `{}` with `{}`", job.word(), self.name, escape(other)),
            }),
        }
    }

    fn explain(&self, error: BusError, act: &str, sent: bool) -> HandError {
        let name = &self.name;
        let unavailable = |what: String, remedy: &str| HandError::Unavailable { what, remedy: remedy.to_owned() };
        match error {
            BusError::Late if sent => HandError::Unsure {
                what: format!("systemd was asked for the {act} of service `{name}` and did not answer in time"),
            },
            BusError::Late => HandError::Timeout { what: format!("systemd's answer about service `{name}` ({act})") },
            BusError::Lost(error) if sent => {
                HandError::Unsure { what: format!("the bus was lost during the {act} of service `{name}`: {error}") }
            }
            BusError::Lost(error) => unavailable(
                format!(
                    "systemd cannot be reached over `{}`: {}",
                    escape(self.bus.address()),
                    escape(&error.to_string())
                ),
                "check that systemd and dbus run, or supervise the service with `command`",
            ),
            BusError::Refused { name: word, text } => match word.rsplit('.').next().unwrap_or_default() {
                "NoSuchUnit" => self.no_such_unit(),
                "AccessDenied" | "InteractiveAuthorizationRequired" => unavailable(
                    format!("systemd does not let this user {act} service `{name}`"),
                    "run Guardian as root, or allow org.freedesktop.systemd1.manage-units to its user in polkit",
                ),
                "TransactionIsDestructive" | "TransactionJobsConflicting" => HandError::Busy {
                    what: format!("systemd has another job for service `{name}` that the {act} would undo"),
                },
                "JobTypeNotApplicable" => unavailable(
                    format!("service `{name}` has no way to {act}"),
                    "give the unit an ExecReload= or leave the verb out",
                ),
                "ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Disconnected" | "Timeout" | "TimedOut" if !sent => {
                    unavailable(
                        "systemd is not on the bus".to_owned(),
                        "check that systemd runs, or supervise the service with `command`",
                    )
                }
                "NoReply" | "Disconnected" | "Timeout" | "TimedOut" => HandError::Unsure {
                    what: format!("systemd did not answer, or left, during the {act} of service `{name}`"),
                },
                _ => HandError::Failed {
                    what: format!("systemd refused the {act} of service `{name}`: {}", escape(&text)),
                },
            },
        }
    }
}

impl Supervisor for SystemdUnit {
    fn status(&self, deadline: Deadline) -> Result<ServiceStatus, HandError> {
        let view = self.view(deadline)?;
        if view.runs() {
            // A look does not fail because it cannot be remembered.
            if let Err(error) = Seen::remember(&self.folder, &view) {
                tracing::warn!("{error}");
            }
        }
        let marker = Marker::read(&self.folder)?;
        let forgotten = if view.is_blank() { Seen::read(&self.folder)? } else { None };
        let ours = marker.is_some_and(|marker| match &forgotten {
            Some(seen) => marker.ended(seen),
            None => marker.explains(&view),
        });
        Ok(view.status(self.clock.now(), ours, forgotten.is_some()))
    }

    fn start(&self, deadline: Deadline) -> Result<(), HandError> {
        self.job(Job::Start, deadline)
    }

    fn stop(&self, reason: StopReason, deadline: Deadline) -> Result<(), HandError> {
        if reason == StopReason::Person {
            Marker::forget(&self.folder)?;
            return self.job(Job::Stop, deadline);
        }
        // Before the stop: a marker written after it could be lost with this process, and the service would count as
        // stopped by a person for ever.
        Marker::of(&self.view(deadline)?, self.clock.now()).write(&self.folder)?;
        let done = self.job(Job::Stop, deadline);
        if done.as_ref().is_err_and(|error| !matches!(error, HandError::Unsure { .. })) {
            Marker::forget(&self.folder)?;
        }
        done
    }

    fn restart(&self, deadline: Deadline) -> Result<(), HandError> {
        self.job(Job::Restart, deadline)
    }

    fn can_reload(&self, deadline: Deadline) -> Result<(), HandError> {
        if self.view(deadline)?.can_reload {
            return Ok(());
        }
        Err(HandError::Unavailable {
            what: format!("unit `{}` has no way to reload", self.unit),
            remedy: "give the unit an `ExecReload=`".to_owned(),
        })
    }

    fn reload(&self, deadline: Deadline) -> Result<(), HandError> {
        self.job(Job::Reload, deadline)
    }

    fn reset_failed(&self, _now: &ServiceStatus, deadline: Deadline) -> Result<bool, HandError> {
        // Asked whatever the state: systemd counts starts against a limit also while the unit runs.
        let sent = Arc::new(AtomicBool::new(false));
        let (unit, flag) = (self.unit.clone(), Arc::clone(&sent));
        let done = self.bus.run(deadline, async move |bus: Talk| {
            let talk = bus.connect().await?;
            flag.store(true, Ordering::SeqCst);
            talk.reset_failed(&unit).await
        });
        done.map_err(|error| self.explain(error, "reset-failed", sent.load(Ordering::SeqCst)))?;
        Ok(true)
    }

    fn by_hand(&self, verb: ServiceVerb, _name: &Name) -> Option<String> {
        let verb = match verb {
            ServiceVerb::Status => "status",
            ServiceVerb::Start => "start",
            ServiceVerb::Stop => "stop",
            ServiceVerb::Restart => "restart",
            ServiceVerb::Reload => "reload",
            ServiceVerb::ResetFailed => "reset-failed",
        };
        Some(format!("systemctl {verb} {}", self.unit))
    }

    fn processes(&self, deadline: Deadline) -> Vec<Pid> {
        self.view(deadline).map(|view| cgroup::processes(&view.cgroup)).unwrap_or_default()
    }

    fn last_output(&self, bytes: u64) -> Vec<u8> {
        journal::tail(&self.unit, super::LAST_LINES, bytes)
    }
}
