//! What the keeper writes down: one small file, always whole, read by every Guardian that looks.
//!
//! The file outlives keeper and Guardian, so it is the memory of *why* a service does not run: it crashed, a playbook
//! stopped it, or a person did. It is replaced atomically and synced at every change of phase; nothing in it is secret.
//! A record that cannot be read is an error and never means "not running": that mistake starts a service twice.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::capability::error::HandError;
use crate::durable::{DurableError, Folder};
use crate::model::{ExitStatus, ServiceState, ServiceStatus, Timestamp};

const FILE: &str = "state.json";
/// A record is under a kilobyte; the rest is room for a long message of the operating system.
const LARGEST: u64 = 16 * 1024;
const VERSION: u32 = 1;

/// Who asked for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// A person. The service is not healed until a person starts it.
    Person,
    /// A playbook, or the host putting back what one did.
    Playbook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Starting,
    Running,
    Stopping,
    Ended,
}

/// The life of one start of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) phase: Phase,
    pub(crate) since: Timestamp,
    pub(crate) keeper: Identity,
    #[serde(default)]
    pub(crate) child: Option<Identity>,
    /// Who asked for the stop, once somebody has.
    #[serde(default)]
    pub(crate) stop: Option<StopReason>,
    #[serde(default)]
    pub(crate) exit: Option<ExitStatus>,
    /// Why it could not be run at all.
    #[serde(default)]
    pub(crate) fault: Option<String>,
    /// This keeper took over a process that an earlier one had started, so it cannot learn its exit status.
    #[serde(default)]
    pub(crate) adopted: bool,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error(transparent)]
    File(#[from] DurableError),
    #[error("it is no record of version {VERSION}: {0}")]
    Shape(String),
}

impl Record {
    pub(crate) const fn starting(keeper: Identity, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            phase: Phase::Starting,
            since: now,
            keeper,
            child: None,
            stop: None,
            exit: None,
            fault: None,
            adopted: false,
        }
    }

    /// The record of a service; none if it was never started.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, RecordError> {
        let bytes = match folder.read_bounded(FILE, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| RecordError::Shape(error.to_string()))?;
        if record.version != VERSION {
            return Err(RecordError::Shape(format!("it says version {}", record.version)));
        }
        Ok(Some(record))
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<(), HandError> {
        // An empty record would pass for a damaged one, so what cannot be put into words is not written at all.
        let bytes = serde_json::to_vec(self).map_err(HandError::io("put the record of the service into words"))?;
        Ok(folder.replace(FILE, &bytes)?)
    }

    /// Forgets it, and with it past failures.
    pub(crate) fn forget(folder: &Folder) -> Result<(), DurableError> {
        folder.remove(FILE)
    }

    /// Whether its keeper is there.
    pub(crate) fn kept(&self) -> bool {
        self.keeper.alive()
    }

    /// The process that runs although its keeper is gone.
    pub(crate) fn orphan(&self) -> Option<&Identity> {
        let open = self.phase != Phase::Ended && !self.kept();
        self.child.as_ref().filter(|child| open && child.alive())
    }

    /// What it says of the service now.
    pub(crate) fn status(&self, now: Timestamp) -> ServiceStatus {
        let state = match self.phase {
            Phase::Ended => self.ended_state(),
            // Nobody saw the end. If a stop was under way, that is what it was (INVARIANT 11).
            _ if !self.kept() && self.orphan().is_none() => self.ended_state(),
            Phase::Starting => ServiceState::Starting,
            Phase::Running => ServiceState::Running,
            Phase::Stopping => ServiceState::Stopping,
        };
        let since_ms = u64::try_from(now.since(self.since).as_millis()).ok();
        ServiceStatus {
            state,
            since_ms,
            restarts: 0,
            last_exit: self.exit,
            stopped_by_person: self.stop == Some(StopReason::Person) && state == ServiceState::Stopped,
            assumed: false,
        }
    }

    const fn ended_state(&self) -> ServiceState {
        match (self.stop, self.exit) {
            (Some(_), _) => ServiceState::Stopped,
            // Ended by itself and called that a success, as systemd reads it too.
            (None, Some(ExitStatus::Code(0))) => ServiceState::Stopped,
            (None, _) => ServiceState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(stop: Option<StopReason>, exit: Option<ExitStatus>) -> ServiceStatus {
        let us = Identity::of_self().unwrap();
        let mut record = Record::starting(us, Timestamp::from_millis(1_000));
        record.phase = Phase::Ended;
        record.stop = stop;
        record.exit = exit;
        record.status(Timestamp::from_millis(1_500))
    }

    #[test]
    fn why_it_does_not_run_is_told_apart() {
        let by_person = ended(Some(StopReason::Person), Some(ExitStatus::Signal(15)));
        assert!(by_person.stopped_by_person && by_person.state == ServiceState::Stopped);
        let by_playbook = ended(Some(StopReason::Playbook), Some(ExitStatus::Signal(15)));
        assert!(!by_playbook.stopped_by_person && by_playbook.state == ServiceState::Stopped);
        // A stranger's SIGTERM is not a stop that anybody asked us for: it is a crash.
        assert_eq!(ended(None, Some(ExitStatus::Signal(15))).state, ServiceState::Failed);
        assert_eq!(ended(None, None).state, ServiceState::Failed);
        assert_eq!(ended(None, Some(ExitStatus::Code(0))).state, ServiceState::Stopped);
        assert_eq!(by_person.since_ms, Some(500));
    }

    #[test]
    fn an_end_that_nobody_saw_belongs_to_the_stop_that_was_under_way() {
        let us = serde_json::to_value(Identity::of_self().unwrap()).unwrap();
        let gone = |phase, stop| {
            let mut gone = us.clone();
            gone["boot"] = "before".into();
            let gone: Identity = serde_json::from_value(gone).unwrap();
            let starting = Record::starting(gone.clone(), Timestamp::from_millis(1_000));
            Record { phase, stop, child: Some(gone), ..starting }.status(Timestamp::from_millis(1_500))
        };
        assert_eq!(gone(Phase::Running, None).state, ServiceState::Failed);
        let by_person = gone(Phase::Stopping, Some(StopReason::Person));
        assert!(by_person.stopped_by_person && by_person.state == ServiceState::Stopped, "{by_person:?}");
        assert!(!gone(Phase::Stopping, Some(StopReason::Playbook)).stopped_by_person);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_stopped_service() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        assert!(Record::read(&folder).unwrap().is_none());
        folder.replace(FILE, b"{\"version\":1").unwrap();
        assert!(matches!(Record::read(&folder), Err(RecordError::Shape(_))));
    }
}
