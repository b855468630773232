//! The command line: one verb per file, one exit code per kind of end.
//!
//! A command opens what it needs and nothing more, prints for people or (`--json`) one documented document, and ends
//! with the code of [`Exit`]. Whatever was written by a guest, a manifest or a service is escaped before it is printed.
//! Mistakes are one line on standard error: what, where, how to mend it.

mod approve;
mod arguments;
mod audit;
#[allow(clippy::disallowed_methods, reason = "building a playbook runs cargo, with the author's rights")]
pub mod build;
mod context;
#[allow(clippy::disallowed_methods, reason = "the demo looks at its services from outside, as a client does")]
mod demo;
mod exit;
mod failure;
mod glass;
mod init;
mod inventory;
mod key;
mod order;
mod plan;
mod playbook;
mod policy;
mod run;
mod screen;
mod service;
mod status;
mod story;
mod trust;
mod undo;
mod usage;

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

pub use self::arguments::Arguments;
pub use self::exit::Exit;
pub use self::screen::JSON_VERSION;

use self::arguments::Command;
use self::context::Context;
use self::failure::Failure;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, and so is the list of commands to whoever gave none.
            if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                let _ = error.print();
            } else {
                eprintln!("guardian: {}", usage::one_line(&error));
            }
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let done = execute(arguments).and_then(|code| match screen::lost() {
        None => Ok(code),
        Some(error) => {
            Err(Failure::other(format!("standard output cannot be written, so the answer is not whole: {error}")))
        }
    });
    match done {
        Ok(code) => code,
        Err(failure) => {
            // The last door: a path or somebody else's error message can hold anything.
            let _ = writeln!(std::io::stderr(), "guardian: {}", one_line(&failure.message));
            failure.exit.into()
        }
    }
}

/// A message on one line, with nothing in it that a terminal obeys. What was escaped before stays as it is.
fn one_line(message: &str) -> String {
    message.chars().map(|c| if c == '\\' { c.to_string() } else { crate::model::escape(&c.to_string()) }).collect()
}

fn execute(arguments: Arguments) -> Result<ExitCode, Failure> {
    let context = Context::new(arguments.home, arguments.json)?;
    act(&context, arguments.command).map_err(|failure| Failure {
        message: screen::for_home(&failure.message, &context.home.flag()),
        exit: failure.exit,
    })
}

fn act(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    let exit = match command {
        Command::CompileWorker { limits } => return Ok(context::compile_worker(&limits)),
        Command::Keeper { folder } => return Ok(crate::capability::keeper_main(&folder)),
        Command::Worker => return Ok(crate::capability::command_worker_main()),
        Command::DemoService { port } => return Ok(demo::service(port)),
        Command::Init => init::init(context)?,
        Command::Run(given) => run::run(context, &given)?,
        Command::Plan(given) => plan::plan(context, &given)?,
        Command::Undo { run, wait } => undo::undo(context, &run, wait.as_deref())?,
        Command::Approve(given) => approve::approve(context, &given)?,
        Command::Reject(given) => approve::reject(context, &given)?,
        Command::BreakGlass(given) => glass::break_glass(context, &given)?,
        Command::Pause(given) => order::pause(context, &given)?,
        Command::Unpause { resource, reason } => order::unpause(context, &resource, &reason)?,
        Command::Freeze { time, reason } => order::freeze(context, &time, &reason)?,
        Command::Unfreeze { reason } => order::unfreeze(context, &reason)?,
        Command::Demo(given) => demo::demo(context, &given)?,
        Command::Status => status::status(context)?,
        Command::Service(command) => service::execute(context, command)?,
        Command::Inventory(command) => inventory::execute(context, &command)?,
        Command::Playbook(command) => playbook::execute(context, command)?,
        Command::Policy(command) => policy::execute(context, command)?,
        Command::Trust(command) => trust::execute(context, command)?,
        Command::Audit(command) => audit::execute(context, command)?,
        Command::Key(command) => key::execute(context, command)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "guardian", &mut std::io::stdout());
            Exit::Ok
        }
    };
    Ok(exit.into())
}
