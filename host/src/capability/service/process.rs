//! A service without a supervisor of its own, seen from Guardian: its keeper is started, found, asked, replaced.
//!
//! Everything known about the service stands in the keeper's record, and every process in it is named by pid, start time
//! and boot. So a Guardian that was just started knows as much as the one that started the service, and a pid that has
//! gone to somebody else is nobody. A keeper that was killed is noticed at the next look: the service is adopted by a new
//! keeper, its output goes on, and only its exit status stays unknown.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Pid;

use super::super::deadline::Deadline;
use super::super::error::HandError;
use super::super::keeper::control::{self, Answer, Request};
use super::super::keeper::identity::Identity;
use super::super::keeper::order::{Order, Task};
use super::super::keeper::record::{Phase, Record, RecordError, StopReason};
use super::super::keeper::{TAKEN, output, tree};
use super::Supervisor;
use crate::durable::Folder;
use crate::inventory::CommandLine;
use crate::model::{Clock as _, ExitStatus, Name, ServiceState, ServiceStatus, ServiceVerb, SystemClock, escape};

/// How often the record is read while a keeper comes up: the read costs 20 us, a keeper needs about 5 ms.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long an adopting keeper may take. The look that noticed the orphan waits for it, so it is kept short.
const ADOPTION: Duration = Duration::from_secs(2);

/// How long a keeper may take between its last word and its exit, which is nothing but a return from `main`.
const LEAVING: Duration = Duration::from_secs(1);

pub(super) struct KeptProcess {
    name: Name,
    command: CommandLine,
    folder: Folder,
    keeper: PathBuf,
    clock: SystemClock,
    /// Keepers that this process started: reaped when they have left.
    started: Mutex<Vec<Child>>,
}

impl KeptProcess {
    pub(super) fn new(name: &Name, command: &CommandLine, folder: Folder, keeper: PathBuf) -> Self {
        let started = Mutex::new(Vec::new());
        Self { name: name.clone(), command: command.clone(), folder, keeper, clock: SystemClock::default(), started }
    }

    fn failed(&self, what: &str) -> HandError {
        HandError::Failed { what: format!("service `{}`: {what}", self.name) }
    }

    fn cannot_reload(&self) -> HandError {
        HandError::Unavailable {
            what: format!("service `{}` has no way to reload", self.name),
            remedy: "set `reload_signal`".to_owned(),
        }
    }

    fn record(&self) -> Result<Option<Record>, HandError> {
        Record::read(&self.folder).map_err(|error| match error {
            RecordError::File(error) => HandError::File(error),
            RecordError::Shape(_) => HandError::Unavailable {
                what: format!("the record of service `{}` is damaged: {error}", self.name),
                remedy: format!("end the service by hand and remove `{}/state.json`", self.folder.path().display()),
            },
        })
    }

    /// Starts a keeper, and returns its pid.
    fn start_keeper(&self, task: Task) -> Result<u32, HandError> {
        self.reap();
        let order = Order::new(task, &self.command).map_err(|what| self.failed(&what))?;
        let folder = std::path::absolute(self.folder.path()).map_err(HandError::io("find the keeper's folder"))?;
        let mut child = Command::new(&self.keeper)
            .arg("keeper")
            .arg(folder)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(HandError::io("start the keeper"))?;
        let pid = child.id();
        // A keeper that does not read its order leaves by itself, and is noticed below.
        let sent = child.stdin.take().map_or(Ok(()), |mut stdin| order.send(&mut stdin));
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        sent.map_err(HandError::io("tell the keeper what to run"))?;
        Ok(pid)
    }

    /// Reaps keepers that have left.
    fn reap(&self) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// The exit status of a keeper, if it has left.
    fn left(&self, pid: u32) -> Option<Option<i32>> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let child = started.iter_mut().find(|child| child.id() == pid)?;
        child.try_wait().ok().flatten().map(|status| status.code())
    }

    /// Waits until a keeper has written its record; none if another keeper was faster.
    fn await_keeper(&self, pid: u32, deadline: Deadline) -> Result<Option<Record>, HandError> {
        loop {
            // In this order: a keeper that has left has written its last word before.
            let left = self.left(pid);
            let record = self.record()?.filter(|record| u32::try_from(record.keeper.pid()) == Ok(pid));
            match (record, left) {
                (Some(record), _) if record.phase != Phase::Starting => return Ok(Some(record)),
                (_, Some(code)) if code == Some(i32::from(TAKEN)) => return Ok(None),
                // It left by itself, and leaves nothing running that it could not write down.
                (_, Some(Some(_))) => {
                    return Err(self.failed(&format!(
                        "its keeper could not begin; see space, owner and mode of `{}`",
                        self.folder.path().display()
                    )));
                }
                // INVARIANT 9: it was killed, perhaps in the instant between the start and its record.
                (_, Some(None)) => {
                    return Err(HandError::Unsure {
                        what: format!("the keeper of service `{}` was killed while it came up", self.name),
                    });
                }
                _ => {}
            }
            if !deadline.pause(LOOK_AGAIN) {
                return Err(HandError::Unsure { what: format!("service `{}` was being started", self.name) });
            }
        }
    }

    /// A new keeper for a service whose keeper was killed. The service itself is not touched; if it cannot be adopted it
    /// runs on, and the next look tries again.
    fn adopt(&self, child: Identity) -> Result<Option<Record>, HandError> {
        let pid = self.start_keeper(Task::Adopt(child))?;
        self.await_keeper(pid, Deadline::after(ADOPTION))
    }

    /// Looks, and finds a new keeper for a service that has lost its own.
    fn look(&self) -> Result<Option<Record>, HandError> {
        self.reap();
        let record = self.record()?;
        match record.as_ref().and_then(Record::orphan) {
            Some(child) => match self.adopt(child.clone()) {
                Ok(_) => self.record(),
                Err(error) => {
                    tracing::warn!("service `{}` lost its keeper and was not adopted: {error}", self.name);
                    Ok(record)
                }
            },
            None => Ok(record),
        }
    }

    /// Waits until a fresh service has stayed up for its settle time.
    fn settle(&self, deadline: Deadline) -> Result<(), HandError> {
        loop {
            let Some(record) = self.record()? else { return Err(self.failed("its record vanished")) };
            if record.phase == Phase::Ended {
                return Err(self.failed(&how_it_ended(&record)));
            }
            if !record.kept() && record.orphan().is_none() {
                return Err(self.failed("its keeper was killed"));
            }
            let up = self.clock.now().since(record.since);
            if record.phase == Phase::Running && up >= self.command.settle_time {
                return Ok(());
            }
            // Cut to what is missing, so that a service without a settle time costs none.
            let missing = self.command.settle_time.saturating_sub(up).clamp(Duration::from_millis(1), LOOK_AGAIN * 4);
            if !deadline.pause(missing) {
                return Err(HandError::Unsure {
                    what: format!("service `{}` was started, but has not been up for its settle_time", self.name),
                });
            }
        }
    }
}

/// Why a service that was just started is gone, in words.
fn how_it_ended(record: &Record) -> String {
    match (&record.fault, record.stop, record.exit) {
        (Some(fault), ..) => escape(fault),
        (_, Some(_), _) => "it was stopped while it came up".to_owned(),
        (_, _, Some(ExitStatus::Code(code))) => format!("it ended with status {code} before it had settled"),
        (_, _, Some(ExitStatus::Signal(signal))) => format!("it ended by signal {signal} before it had settled"),
        _ => "it ended before it had settled".to_owned(),
    }
}

impl Supervisor for KeptProcess {
    fn status(&self, _deadline: Deadline) -> Result<ServiceStatus, HandError> {
        let record = self.look()?;
        Ok(record.map_or_else(|| ServiceStatus::of(ServiceState::Stopped), |record| record.status(self.clock.now())))
    }

    fn start(&self, deadline: Deadline) -> Result<(), HandError> {
        if deadline.passed() {
            return Err(HandError::Timeout { what: format!("the start of service `{}`", self.name) });
        }
        // The last keeper may have written the end down and not left yet.
        let patience = deadline.min(Deadline::after(LEAVING));
        while output::has_holder(&self.folder) {
            if self.record()?.is_some_and(|record| record.phase != Phase::Ended && record.kept()) {
                // Another Guardian was faster: its start is as good as ours.
                return self.settle(deadline);
            }
            if !patience.pause(LOOK_AGAIN) {
                let pipe = self.folder.path().join("output.pipe");
                return Err(HandError::Busy {
                    what: format!(
                        "processes of an earlier start of service `{}` still hold `{}`; end them by hand",
                        self.name,
                        pipe.display()
                    ),
                });
            }
        }
        let pid = self.start_keeper(Task::Start)?;
        match self.await_keeper(pid, deadline)? {
            None => self.settle(deadline),
            Some(record) if record.phase == Phase::Ended => Err(self.failed(&how_it_ended(&record))),
            Some(_) => self.settle(deadline),
        }
    }

    fn stop(&self, reason: StopReason, deadline: Deadline) -> Result<(), HandError> {
        let found = self.look()?;
        if found.as_ref().and_then(Record::orphan).is_some() {
            // Saying "stopped" here would lose the process that runs on.
            return Err(HandError::Unavailable {
                what: format!("service `{}` runs, and no keeper can take it over to stop it", self.name),
                remedy: format!("see why no keeper starts in `{}`: space, owner, mode", self.folder.path().display()),
            });
        }
        let Some(record) = found.filter(|record| record.phase != Phase::Ended && record.kept()) else {
            return self.remember_stop(reason);
        };
        let asked = control::ask(&self.folder, Request::Stop { reason })
            .map_err(HandError::io("reach the keeper of the service"))?;
        let answer = asked.wait(deadline.remaining());
        loop {
            let now = self.record()?;
            // Another keeper with the same process has adopted it: that is no end.
            let another = |now: &Record| now.keeper != record.keeper && now.child != record.child;
            if now.as_ref().is_none_or(|now| now.phase == Phase::Ended || another(now)) {
                return Ok(());
            }
            // The keeper's record could not be written (a full disk), but its word is as good.
            if answer == Some(Answer::Done) && !record.kept() {
                return Ok(());
            }
            if !deadline.pause(LOOK_AGAIN) {
                return Err(HandError::Unsure {
                    what: format!("service `{}` was asked to stop and still runs", self.name),
                });
            }
        }
    }

    fn restart(&self, deadline: Deadline) -> Result<(), HandError> {
        self.stop(StopReason::Playbook, deadline)?;
        // INVARIANT 11: a person may have joined the stop, and then it is theirs.
        if self.record()?.is_some_and(|record| record.status(self.clock.now()).stopped_by_person) {
            return Err(HandError::StoppedByPerson { name: self.name.clone() });
        }
        if deadline.passed() {
            return Err(HandError::Unsure { what: format!("service `{}` was stopped for its restart", self.name) });
        }
        self.start(deadline).map_err(|error| match error {
            unsure @ HandError::Unsure { .. } => unsure,
            // Half of it was done: "nothing was changed" would be a lie here.
            error => self.failed(&format!("it was stopped for its restart and did not come up: {error}")),
        })
    }

    fn can_reload(&self, _deadline: Deadline) -> Result<(), HandError> {
        if self.command.reload_signal.is_some() { Ok(()) } else { Err(self.cannot_reload()) }
    }

    fn reload(&self, deadline: Deadline) -> Result<(), HandError> {
        self.can_reload(deadline)?;
        let asked =
            control::ask(&self.folder, Request::Reload).map_err(HandError::io("reach the keeper of the service"))?;
        match asked.wait(deadline.remaining()) {
            Some(Answer::Done) => Ok(()),
            Some(Answer::Cannot) => Err(self.cannot_reload()),
            None => Err(HandError::Unsure { what: format!("service `{}` was asked to reload", self.name) }),
        }
    }

    fn reset_failed(&self, now: &ServiceStatus, _deadline: Deadline) -> Result<bool, HandError> {
        // What a person stopped stays a person's: that is no failure to be forgotten.
        if now.state != ServiceState::Failed {
            return Ok(false);
        }
        Record::forget(&self.folder)?;
        Ok(true)
    }

    fn by_hand(&self, verb: ServiceVerb, name: &Name) -> Option<String> {
        match verb {
            // A start by hand forgets what failed before.
            ServiceVerb::Start | ServiceVerb::ResetFailed => Some(format!("guardian service start {name}")),
            ServiceVerb::Stop => Some(format!("guardian service stop {name}")),
            ServiceVerb::Restart => Some(format!("guardian service stop {name} && guardian service start {name}")),
            // Only the keeper knows the process by more than its number.
            ServiceVerb::Status | ServiceVerb::Reload => None,
        }
    }

    fn processes(&self, _deadline: Deadline) -> Vec<Pid> {
        let record = self.look().ok().flatten().filter(|record| record.phase != Phase::Ended);
        let Some((record, child)) = record.and_then(|record| record.child.clone().map(|child| (record, child))) else {
            return Vec::new();
        };
        // A keeper that is gone may have left its number to somebody else: then only the service itself is a root.
        let root = if record.kept() { record.keeper.pid() } else { child.pid() };
        tree::pids(root, &child)
    }

    fn last_output(&self, bytes: u64) -> Vec<u8> {
        output::tail(&self.folder, bytes)
    }
}

impl KeptProcess {
    /// A person stops what is down already: from now on it is theirs.
    fn remember_stop(&self, reason: StopReason) -> Result<(), HandError> {
        if reason == StopReason::Playbook {
            return Ok(());
        }
        let us = Identity::of_self().ok_or(HandError::Unavailable {
            what: "/proc does not show this process".to_owned(),
            remedy: "mount /proc".to_owned(),
        })?;
        let mut record = self.record()?.unwrap_or_else(|| Record::starting(us, self.clock.now()));
        record.phase = Phase::Ended;
        record.stop = Some(StopReason::Person);
        record.write(&self.folder)
    }
}
