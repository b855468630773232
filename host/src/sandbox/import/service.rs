//! `service`: which verb, and the status it answers with.

use super::super::execute::HostSide;
use super::wit::service::{Error, Exit, Host, ServiceStatus as Status, State};
use crate::model::{Action, ExitStatus, Reply, ServiceState, ServiceStatus, ServiceVerb};

type Answer = wasmtime::Result<Result<Status, Error>>;

fn call(host: &mut HostSide, verb: ServiceVerb, name: String) -> Answer {
    match host.call(Action::Service { verb, name })? {
        Ok(Reply::Service(seen)) => Ok(Ok(status(&seen))),
        Ok(_) => Err(super::wrong_reply("service")),
        Err(error) => Ok(Err(super::error(error))),
    }
}

impl Host for HostSide {
    fn status(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::Status, name)
    }

    fn start(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::Start, name)
    }

    fn stop(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::Stop, name)
    }

    fn restart(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::Restart, name)
    }

    fn reload(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::Reload, name)
    }

    fn reset_failed(&mut self, name: String) -> Answer {
        call(self, ServiceVerb::ResetFailed, name)
    }
}

/// `assumed` stays behind: a plan must look to the guest like a run.
fn status(seen: &ServiceStatus) -> Status {
    Status {
        state: match seen.state {
            ServiceState::Running => State::Running,
            ServiceState::Starting => State::Starting,
            ServiceState::Stopping => State::Stopping,
            ServiceState::Stopped => State::Stopped,
            ServiceState::Failed => State::Failed,
            ServiceState::Restarting => State::Restarting,
            ServiceState::Unknown => State::Unknown,
        },
        since_ms: seen.since_ms,
        restarts: seen.restarts,
        last_exit: seen.last_exit.map(|exit| match exit {
            ExitStatus::Code(code) => Exit { code: Some(code), signal: None },
            ExitStatus::Signal(signal) => Exit { code: None, signal: Some(signal) },
        }),
        stopped_by_person: seen.stopped_by_person,
        extra: Vec::new(),
    }
}
