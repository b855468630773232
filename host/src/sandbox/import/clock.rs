//! `clock`: the host's time, and waiting for it.

use super::super::execute::HostSide;
use super::wit::clock::{Error, Host};
use crate::model::{Action, Reply};

type Answer = wasmtime::Result<Result<u64, Error>>;

fn call(host: &mut HostSide, action: Action) -> Answer {
    match host.call(action)? {
        Ok(Reply::Time { unix_ms }) => Ok(Ok(unix_ms)),
        Ok(_) => Err(super::wrong_reply("clock")),
        Err(error) => Ok(Err(super::error(error))),
    }
}

impl Host for HostSide {
    fn now(&mut self) -> Answer {
        call(self, Action::Now)
    }

    fn sleep(&mut self, milliseconds: u64) -> Answer {
        call(self, Action::Sleep { milliseconds })
    }
}
