//! `config`: how a file stands beside its baseline.

use super::super::execute::HostSide;
use super::wit::config::{ConfigStatus, Error, Host, State};
use crate::model::{Action, ConfigState, ConfigVerb, Reply};

type Answer = wasmtime::Result<Result<ConfigStatus, Error>>;

impl Host for HostSide {
    fn check(&mut self, name: String) -> Answer {
        call(self, ConfigVerb::Check, name)
    }

    fn restore(&mut self, name: String) -> Answer {
        call(self, ConfigVerb::Restore, name)
    }
}

fn call(host: &mut HostSide, verb: ConfigVerb, name: String) -> Answer {
    match host.call(Action::Config { verb, name })? {
        // `assumed` stays behind: a plan must look to the guest like a run.
        Ok(Reply::Config(seen)) => {
            Ok(Ok(ConfigStatus { state: state(seen.state), differs: seen.differs, extra: Vec::new() }))
        }
        Ok(_) => Err(super::wrong_reply("config")),
        Err(error) => Ok(Err(super::error(error))),
    }
}

const fn state(seen: ConfigState) -> State {
    match seen {
        ConfigState::Matches => State::Matches,
        ConfigState::Differs => State::Differs,
        ConfigState::Missing => State::Missing,
        ConfigState::Replaced => State::Replaced,
    }
}
