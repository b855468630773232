//! `log`: one line. Its budget is counted where every call is.

use super::super::execute::HostSide;
use super::wit::log::{Error, Host, Level};
use crate::model::{Action, LogLevel, Reply};

impl Host for HostSide {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<Result<(), Error>> {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        match self.call(Action::Log { level, message })? {
            Ok(Reply::Done) => Ok(Ok(())),
            Ok(_) => Err(super::wrong_reply("log")),
            Err(error) => Ok(Err(super::error(error))),
        }
    }
}
