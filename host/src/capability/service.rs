//! The hand on services: status, start, stop, restart, reload, reset-failed, whatever supervises them.
//!
//! What it guards: a playbook names a service of the inventory and nothing else; unit names, commands and pids stay on this
//! side. What it stops: healing against a person (INVARIANT 11), fighting a supervisor that is about to restart the
//! service itself, starting a second copy of a service that runs.
//!
//! Each act has two halves. [`ServiceHand::prepare`] looks, refuses what must not be done, and says what it would take to
//! put the act back; it never changes the service. [`ServiceHand::perform`] acts, within its deadline, and answers with
//! what is known: done, failed, or not known. What it does not do: decide whether an act is permitted (the gate), prove that
//! a service is healthy (the probes), or try again.
//!
//! The seam is [`Supervisor`], with two implementors in daily use: systemd, and Guardian's own keeper.

mod process;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

use self::process::KeptProcess;
use self::systemd::{Bus, SystemdUnit};
use super::deadline::Deadline;
use super::error::HandError;
pub use super::keeper::record::StopReason;
use super::undo::{Reconciled, ServiceUndo};
use crate::durable::Folder;
use crate::inventory::{self, Inventory};
use crate::model::{GuestError, Name, Outcome, Reply, ServiceState, ServiceStatus, ServiceVerb};

/// The bus on every machine with systemd. Never systemd's private socket: it answers nobody but `systemctl`.
pub const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Where the hand finds its tools.
#[derive(Clone, Debug)]
pub struct ServiceTools {
    /// The folder in which keepers and stop markers live: `var/state/keeper`. Made if it is missing.
    pub folder: PathBuf,
    /// The D-Bus address of systemd's bus: [`SYSTEM_BUS`] unless the operator says otherwise.
    pub bus: String,
    /// The program that runs as keeper: this one.
    pub keeper: PathBuf,
}

/// One service and the one who supervises it. Every call ends by its deadline.
///
/// A call that returns an error other than [`HandError::Unsure`] has had no effect that lasts, or says which: a restart can
/// fail after its stop.
trait Supervisor: Send + Sync {
    /// What it is doing. Changes nothing.
    fn status(&self, deadline: Deadline) -> Result<ServiceStatus, HandError>;
    /// Starts a service that does not run, and waits until it is up.
    fn start(&self, deadline: Deadline) -> Result<(), HandError>;
    /// Stops a running service, and waits until it is down.
    fn stop(&self, reason: StopReason, deadline: Deadline) -> Result<(), HandError>;
    /// Stops it if it runs, starts it, and waits until it is up.
    fn restart(&self, deadline: Deadline) -> Result<(), HandError>;
    /// Says why it cannot be asked to reload, if its supervisor knows no way.
    fn can_reload(&self, deadline: Deadline) -> Result<(), HandError>;
    /// Lets it read its configuration again.
    fn reload(&self, deadline: Deadline) -> Result<(), HandError>;
    /// Forgets past failures; `now` is how it was just seen. False if there was nothing to forget.
    fn reset_failed(&self, now: &ServiceStatus, deadline: Deadline) -> Result<bool, HandError>;
    /// What a person would type to do the same; none if there is no such command.
    fn by_hand(&self, verb: ServiceVerb, name: &Name) -> Option<String>;
    /// Its processes, as far as they can be seen; empty if it does not run. Numbers only: to look at, not to signal.
    fn processes(&self, deadline: Deadline) -> Vec<Pid>;
    /// The last output, at most `bytes`, oldest first. Empty where it cannot be read.
    fn last_output(&self, bytes: u64) -> Vec<u8>;
}

/// An act that may be done: the service is known, was looked at, and no person holds it.
///
/// ```compile_fail,E0451
/// use guardian::capability::PreparedService;
/// use guardian::model::{ServiceState, ServiceStatus, ServiceVerb};
/// let forged = PreparedService {
///     verb: ServiceVerb::Stop, name: "web".parse().unwrap(), was: ServiceStatus::of(ServiceState::Running), undo: None,
/// };
/// ```
///
/// ```compile_fail,E0599
/// fn twice(prepared: guardian::capability::PreparedService) -> guardian::capability::PreparedService {
///     prepared.clone()
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct PreparedService {
    verb: ServiceVerb,
    name: Name,
    was: ServiceStatus,
    undo: Option<ServiceUndo>,
}

impl PreparedService {
    /// What puts it back; none for an act that leaves nothing to put back, or will find nothing to do.
    #[must_use]
    pub const fn undo(&self) -> Option<&ServiceUndo> {
        self.undo.as_ref()
    }

    /// The act.
    #[must_use]
    pub const fn verb(&self) -> ServiceVerb {
        self.verb
    }

    /// The service.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// How the service was when it was looked at.
    #[must_use]
    pub const fn was(&self) -> &ServiceStatus {
        &self.was
    }

    /// Judges an act on a service that is now as `was`. Used alike for what is and for what a plan assumes.
    pub(super) fn judge(verb: ServiceVerb, name: &Name, was: ServiceStatus) -> Result<Self, HandError> {
        refuse_a_persons(verb, name, &was)?;
        let kind = match verb {
            ServiceVerb::Start if was.state != ServiceState::Running => Some("service.stop"),
            ServiceVerb::Stop if !is_down(was.state) => Some("service.start"),
            _ => None,
        };
        let undo = kind.map(|kind| ServiceUndo { kind: kind.to_owned(), was: was.clone() });
        Ok(Self { verb, name: name.clone(), was, undo })
    }
}

/// INVARIANT 11: what a person stopped is not started.
fn refuse_a_persons(verb: ServiceVerb, name: &Name, now: &ServiceStatus) -> Result<(), HandError> {
    if now.stopped_by_person && matches!(verb, ServiceVerb::Start | ServiceVerb::Restart) {
        return Err(HandError::StoppedByPerson { name: name.clone() });
    }
    Ok(())
}

const fn is_down(state: ServiceState) -> bool {
    matches!(state, ServiceState::Stopped | ServiceState::Failed)
}

/// The hand on every service of an inventory.
pub struct ServiceHand {
    services: BTreeMap<Name, Box<dyn Supervisor>>,
}

impl ServiceHand {
    /// A hand on the services of `inventory`. Touches none of them.
    ///
    /// # Ambient Authority
    /// Makes folders below `tools.folder`; later calls connect to `tools.bus` and run `tools.keeper`.
    ///
    /// # Errors
    /// When a folder cannot be made, or can be written by others.
    pub fn new(inventory: &Inventory, tools: &ServiceTools) -> Result<Self, HandError> {
        let bus = Bus::new(&tools.bus);
        let mut services: BTreeMap<Name, Box<dyn Supervisor>> = BTreeMap::new();
        if inventory.services.is_empty() {
            return Ok(Self { services });
        }
        let root = Folder::make(&tools.folder)?;
        root.trusted()?;
        for (name, service) in &inventory.services {
            let folder = root.make_sub(name.as_str())?;
            folder.trusted()?;
            let supervisor: Box<dyn Supervisor> = match &service.supervisor {
                inventory::Supervisor::Systemd { unit } => Box::new(SystemdUnit::new(name, unit, &bus, folder)),
                inventory::Supervisor::Process(command) => {
                    Box::new(KeptProcess::new(name, command, folder, keeper_path(&tools.keeper)))
                }
            };
            services.insert(name.clone(), supervisor);
        }
        Ok(Self { services })
    }

    fn supervisor(&self, name: &Name) -> Result<&dyn Supervisor, HandError> {
        self.services.get(name).map(AsRef::as_ref).ok_or_else(|| HandError::NotFound {
            what: format!("service `{name}`"),
            remedy: format!("name it in guardian.toml as [service.{name}]"),
        })
    }

    /// What the service is doing.
    ///
    /// # Errors
    /// When the service is not known or its supervisor does not say.
    pub fn status(&self, name: &Name, deadline: Deadline) -> Result<ServiceStatus, HandError> {
        self.supervisor(name)?.status(deadline)
    }

    /// Looks, as an act of its own: what the guest is told.
    pub(crate) fn observe(&self, name: &Name, deadline: Deadline) -> Outcome {
        match self.status(name, deadline) {
            Ok(status) => Outcome::Done { reply: Reply::Service(status) },
            Err(error) => error.into_outcome(),
        }
    }

    /// Gets an act ready: looks at the service, refuses what must not be done, keeps what puts it back. The service is
    /// not changed.
    ///
    /// # Errors
    /// When the service is not known, cannot be looked at, or is a person's.
    pub(crate) fn prepare(
        &self,
        verb: ServiceVerb,
        name: &Name,
        deadline: Deadline,
    ) -> Result<PreparedService, GuestError> {
        self.status(name, deadline)
            .and_then(|was| PreparedService::judge(verb, name, was))
            .and_then(|prepared| self.can(verb, name, deadline).map(|()| prepared))
            .map_err(HandError::into_guest_error)
    }

    /// Says why the service's supervisor cannot do that at all, whatever the service is doing.
    pub(super) fn can(&self, verb: ServiceVerb, name: &Name, deadline: Deadline) -> Result<(), HandError> {
        if verb == ServiceVerb::Reload { self.supervisor(name)?.can_reload(deadline) } else { Ok(()) }
    }

    /// Acts.
    pub(crate) fn perform(&self, prepared: PreparedService, deadline: Deadline) -> Outcome {
        let PreparedService { verb, name, was: _, undo: _ } = prepared;
        match self.act(verb, &name, StopReason::Playbook, deadline) {
            Ok(status) => Outcome::Done { reply: Reply::Service(status) },
            Err(error) => error.into_outcome(),
        }
    }

    /// Says whether an act happened that nobody saw end; its intent was written so long ago.
    ///
    /// A supervisor at work may still do it, so that is not known; and a service that came up later than the act began may
    /// have come up for another reason, which is all the same to whoever asked for it.
    pub(super) fn reconcile(&self, verb: ServiceVerb, name: &Name, ago: Duration, deadline: Deadline) -> Reconciled {
        let Ok(now) = self.status(name, deadline) else { return Reconciled::Unknown };
        let settled = matches!(now.state, ServiceState::Running | ServiceState::Stopped | ServiceState::Failed);
        if !settled {
            return Reconciled::Unknown;
        }
        let running = now.state == ServiceState::Running;
        match verb {
            ServiceVerb::Start if running => Reconciled::Done,
            ServiceVerb::Stop if running => Reconciled::NotDone,
            ServiceVerb::Stop => Reconciled::Done,
            ServiceVerb::Start => Reconciled::NotDone,
            // Up since before the act began: it was not restarted. Up since then: it was, by whomever.
            ServiceVerb::Restart if running => match now.since_ms.map(Duration::from_millis) {
                Some(since) if since < ago => Reconciled::Done,
                Some(_) => Reconciled::NotDone,
                None => Reconciled::Unknown,
            },
            ServiceVerb::ResetFailed if now.state != ServiceState::Failed => Reconciled::Done,
            ServiceVerb::ResetFailed => Reconciled::NotDone,
            ServiceVerb::Status | ServiceVerb::Restart | ServiceVerb::Reload => Reconciled::Unknown,
        }
    }

    /// Puts an act back: what was running runs again, what was down is down again. A person's hand wins here as well.
    pub(super) fn put_back(&self, name: &Name, undo: &ServiceUndo, deadline: Deadline) -> Outcome {
        let verb = if is_down(undo.was.state) { ServiceVerb::Stop } else { ServiceVerb::Start };
        match self.act(verb, name, StopReason::Playbook, deadline) {
            Ok(status) => Outcome::Done { reply: Reply::Service(status) },
            Err(error) => error.into_outcome(),
        }
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, verb: ServiceVerb, name: &Name) -> Option<String> {
        self.services.get(name)?.by_hand(verb, name)
    }

    /// Acts for a person: a stop is remembered as theirs, a start takes the service back into Guardian's care.
    ///
    /// # Errors
    /// When it did not work; [`HandError::Unsure`] when that is not known.
    pub fn by_person(&self, verb: ServiceVerb, name: &Name, deadline: Deadline) -> Result<ServiceStatus, HandError> {
        self.act(verb, name, StopReason::Person, deadline)
    }

    /// The last lines that the service wrote, for the post-mortem. Empty if it is not known. Written by the service: escape it.
    pub(super) fn last_lines(&self, name: &Name) -> Vec<String> {
        let Ok(supervisor) = self.supervisor(name) else { return Vec::new() };
        let output = supervisor.last_output(LAST_OUTPUT);
        let text = String::from_utf8_lossy(&output);
        let mut lines: Vec<String> = text.lines().rev().take(LAST_LINES).map(ToOwned::to_owned).collect();
        lines.reverse();
        lines
    }

    /// The processes of the service, to look at. Empty if it is not known, does not run, or its supervisor does not say.
    pub(super) fn processes(&self, name: &Name, deadline: Deadline) -> Vec<Pid> {
        self.supervisor(name).map(|supervisor| supervisor.processes(deadline)).unwrap_or_default()
    }

    fn act(
        &self,
        verb: ServiceVerb,
        name: &Name,
        by: StopReason,
        deadline: Deadline,
    ) -> Result<ServiceStatus, HandError> {
        let supervisor = self.supervisor(name)?;
        // Again, and not from `prepare`: between the two the intent went to the disk, and a person may have acted.
        let now = supervisor.status(deadline)?;
        if by == StopReason::Playbook {
            refuse_a_persons(verb, name, &now)?;
        }
        match verb {
            ServiceVerb::Status => return Ok(now),
            ServiceVerb::Start if now.state == ServiceState::Running => return Ok(now),
            ServiceVerb::Start | ServiceVerb::Restart => return self.bring_up(verb, name, &now, deadline),
            // A person's stop of a service that is down already still has to be remembered.
            ServiceVerb::Stop if is_down(now.state) && by == StopReason::Playbook => return Ok(now),
            ServiceVerb::Stop => supervisor.stop(by, deadline)?,
            ServiceVerb::Reload if now.state != ServiceState::Running => {
                return Err(HandError::Failed {
                    what: format!("service `{name}` is {}, so it cannot reload", now.state.word()),
                });
            }
            ServiceVerb::Reload => supervisor.reload(deadline)?,
            ServiceVerb::ResetFailed if !supervisor.reset_failed(&now, deadline)? => return Ok(now),
            ServiceVerb::ResetFailed => {}
        }
        seen_after(supervisor, verb, name, deadline)
    }

    /// Start and restart: what comes up by itself is waited for, because stopping what is slowly coming up makes an
    /// outage worse.
    fn bring_up(
        &self,
        verb: ServiceVerb,
        name: &Name,
        now: &ServiceStatus,
        deadline: Deadline,
    ) -> Result<ServiceStatus, HandError> {
        let supervisor = self.supervisor(name)?;
        let mut state = now.state;
        let coming = matches!(state, ServiceState::Restarting | ServiceState::Starting);
        while matches!(state, ServiceState::Restarting | ServiceState::Starting | ServiceState::Stopping) {
            if !deadline.pause(LOOK_AGAIN) {
                return Err(HandError::Timeout { what: format!("the end of `{}` of service `{name}`", state.word()) });
            }
            let now = supervisor.status(deadline)?;
            if now.stopped_by_person {
                return Err(HandError::StoppedByPerson { name: name.clone() });
            }
            state = now.state;
        }
        // It came up by itself: that is what was asked for.
        if !(coming && state == ServiceState::Running) {
            if verb == ServiceVerb::Restart { supervisor.restart(deadline)? } else { supervisor.start(deadline)? }
        }
        let after = seen_after(supervisor, verb, name, deadline)?;
        match after.state {
            ServiceState::Stopped | ServiceState::Failed => Err(HandError::Failed {
                what: format!("service `{name}` did not stay up: it is {}", after.state.word()),
            }),
            _ => Ok(after),
        }
    }
}

/// What is read of a service's output for evidence, in bytes, and how many lines of it are kept: one screen.
const LAST_OUTPUT: u64 = 16 * 1024;
const LAST_LINES: usize = 50;
/// How often a service is looked at that is being waited for: a look costs a millisecond, a person notices 100.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is kept for the last look when the deadline has passed during the act.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// The status after an effect. If it cannot be seen, the effect is done but its result is not known.
fn seen_after(
    supervisor: &dyn Supervisor,
    verb: ServiceVerb,
    name: &Name,
    deadline: Deadline,
) -> Result<ServiceStatus, HandError> {
    let deadline = deadline.max(Deadline::after(LAST_LOOK));
    supervisor.status(deadline).map_err(|error| HandError::Unsure {
        what: format!(
            "{} of service `{name}` was done, but its status cannot be seen: {error}",
            crate::model::Verb::Service(verb)
        ),
    })
}

fn keeper_path(given: &Path) -> PathBuf {
    // Made absolute now: the keeper starts in `/`.
    std::path::absolute(given).unwrap_or_else(|_| given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "web".parse().unwrap()
    }

    #[test]
    fn what_a_person_stopped_is_not_started() {
        let by_person = ServiceStatus { stopped_by_person: true, ..ServiceStatus::of(ServiceState::Stopped) };
        for verb in [ServiceVerb::Start, ServiceVerb::Restart] {
            let refused = PreparedService::judge(verb, &name(), by_person.clone()).unwrap_err();
            assert!(matches!(refused, HandError::StoppedByPerson { .. }));
            // Its twin, stopped by nobody in particular, may be started.
            assert!(PreparedService::judge(verb, &name(), ServiceStatus::of(ServiceState::Stopped)).is_ok());
        }
        assert!(PreparedService::judge(ServiceVerb::Stop, &name(), by_person).is_ok());
    }

    #[test]
    fn undo_is_kept_only_for_what_will_change() {
        let undo = |verb, state| {
            let prepared = PreparedService::judge(verb, &name(), ServiceStatus::of(state)).unwrap();
            prepared.undo().map(|undo| (undo.kind.clone(), undo.was.state))
        };
        let stop = ("service.start".to_owned(), ServiceState::Running);
        assert_eq!(undo(ServiceVerb::Stop, ServiceState::Running), Some(stop));
        let start = ("service.stop".to_owned(), ServiceState::Failed);
        assert_eq!(undo(ServiceVerb::Start, ServiceState::Failed), Some(start));
        assert_eq!(undo(ServiceVerb::Start, ServiceState::Running), None);
        assert_eq!(undo(ServiceVerb::Stop, ServiceState::Stopped), None);
        assert_eq!(undo(ServiceVerb::Restart, ServiceState::Running), None);
    }
}
