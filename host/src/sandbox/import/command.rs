//! `command`: one run of one of the operator's commands.

use super::super::execute::HostSide;
use super::wit::command::{CommandResult, Error, Host};
use crate::model::{Action, ExitStatus, Reply};

impl Host for HostSide {
    fn run(&mut self, name: String) -> wasmtime::Result<Result<CommandResult, Error>> {
        match self.call(Action::Command { name })? {
            // `assumed` stays behind: a plan must look to the guest like a run.
            Ok(Reply::Command(ended)) => {
                let (code, signal) = match ended.exit {
                    ExitStatus::Code(code) => (Some(code), None),
                    ExitStatus::Signal(signal) => (None, Some(signal)),
                };
                Ok(Ok(CommandResult {
                    code,
                    signal,
                    success: ended.success,
                    output: ended.output,
                    output_bytes: ended.output_bytes,
                    millis: ended.millis,
                    extra: Vec::new(),
                }))
            }
            Ok(_) => Err(super::wrong_reply("command")),
            Err(error) => Ok(Err(super::error(error))),
        }
    }
}
