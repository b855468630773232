//! The hand on the operator's commands: program and arguments stand in `guardian.toml`, word for word, and a playbook can
//! only say "now".
//!
//! What it guards: no shell, no `PATH`, no argument, variable or descriptor from anywhere else. What it stops: running a
//! program that somebody else than the operator can exchange ([`trusted`]), or handing it a file that they can; a command that
//! hangs, floods its output, or leaves processes behind, however well hidden ([`worker`]); a command that runs on when
//! Guardian is gone.
//!
//! A status other than 0 is a result: the command has said something. One that did not end in time is
//! [`HandError::Unsure`]: it was ended somewhere in the middle, and nothing runs it again by itself (INVARIANT 9). There is
//! no undo, because the host does not know what a command does.
//!
//! Left to the operator: `sudo` and other set-user-id programs work (`no_new_privs` is off, because half of the commands
//! that heal something need them), and what a command reaches over the network or through another daemon is not seen. Judged
//! are the program, the interpreter that its `#!` line names, and each absolute path that an argument or a variable names. What
//! these read or run in turn is not: libraries, modules, what lies in a folder, a path written without `/` in front or within
//! a longer word (`-f/path`, `/a:/b`), the words of a `sh -c`.

mod attended;
mod tail;
#[cfg(test)]
mod tests;
mod words;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub use self::worker::command_worker_main;

use self::words::Job;
use super::deadline::Deadline;
use super::error::HandError;
use super::keeper::order::{Account, Order, Task, account};
use super::trusted::{self, quoted};
use crate::inventory::{Command, Inventory};
use crate::model::{CommandResult, ExitStatus, GuestError, Name, Outcome, Reply, escape};

/// Open files of a command: as many as a login shell has.
const OPEN_FILES: u64 = 1_024;

/// An act on command that may be done.
#[derive(Debug)]
#[must_use]
pub(super) struct PreparedCommand {
    name: Name,
}

impl PreparedCommand {
    pub(super) const fn name(&self) -> &Name {
        &self.name
    }
}

/// The hand.
#[derive(Debug)]
pub struct CommandHand {
    commands: BTreeMap<Name, Command>,
    worker: PathBuf,
}

impl CommandHand {
    /// A hand on the commands of `inventory`, each of which runs below `worker`: this program.
    ///
    /// # Ambient Authority
    /// Later calls run `worker` and the commands.
    #[must_use]
    pub fn new(inventory: &Inventory, worker: &Path) -> Self {
        Self { commands: inventory.commands.clone(), worker: worker.to_owned() }
    }

    /// Looks at everything a run would need, and says in a line what it saw.
    ///
    /// # Errors
    /// The first thing that is wrong, with what mends it.
    pub fn touch(&self, name: &Name) -> Result<String, HandError> {
        let command = self.command(name)?;
        let (program, account) = look(name, command)?;
        let program = escape(&program.to_string_lossy());
        let who = account.map_or_else(
            || "as Guardian's own user".to_owned(),
            |account| format!("as user {}:{}", account.uid, account.gid),
        );
        Ok(format!("`{program}` runs {who}, for at most {} ms", command.timeout.as_millis()))
    }

    /// Gets a run ready: looks at the program. Runs nothing.
    ///
    /// # Errors
    /// When the command is not known, its program is not there or can be exchanged by others, or its user is not known.
    pub(super) fn prepare(&self, name: &Name, deadline: Deadline) -> Result<PreparedCommand, GuestError> {
        if deadline.passed() {
            return Err(HandError::Timeout { what: format!("command `{name}`") }.into_guest_error());
        }
        let command = self.command(name).map_err(HandError::into_guest_error)?;
        look(name, command).map_err(HandError::into_guest_error)?;
        Ok(PreparedCommand { name: name.clone() })
    }

    /// Runs it, once, to its end.
    pub(super) fn perform(&self, prepared: PreparedCommand, deadline: Deadline) -> Outcome {
        match self.run(&prepared.name, deadline) {
            Ok(result) => Outcome::Done { reply: Reply::Command(result) },
            Err(error) => error.into_outcome(),
        }
    }

    fn run(&self, name: &Name, deadline: Deadline) -> Result<CommandResult, HandError> {
        let command = self.command(name)?;
        // Again, and not from `prepare`: between the two the intent went to the disk.
        let (_, account) = look(name, command)?;
        let (needs, left) = (command.timeout + Command::GRACE, deadline.remaining());
        if left < needs {
            // Half a command is worse than none.
            let what = format!(
                "the start of command `{name}` (it may take {} ms, and {} ms are left)",
                needs.as_millis(),
                left.as_millis()
            );
            return Err(HandError::Timeout { what });
        }
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let order = Order {
            task: Task::Start,
            argv: command.argv.clone(),
            account,
            directory: command.directory.clone(),
            environment: command.environment.clone(),
            stop_ms: millis(Command::GRACE),
            reload_signal: None,
            output_bytes: command.output_bytes,
            open_files: OPEN_FILES,
        };
        let job = Job { order, timeout_ms: millis(command.timeout) };
        let ended = attended::run(&self.worker, name, &job, deadline)?;
        let unsure = |why: &str| Err(HandError::Unsure { what: format!("command `{name}` {why}") });
        match ended.exit {
            _ if ended.late => unsure("did not end in time and was ended with everything it had started"),
            _ if ended.left => unsure("left something running that could not be ended"),
            None => unsure("ended, but not even the kernel knows how"),
            Some(exit) => Ok(CommandResult {
                success: matches!(exit, ExitStatus::Code(code) if command.ok.contains(&code)),
                exit,
                output: ended.output,
                output_digest: None,
                output_bytes: ended.output_bytes,
                millis: ended.millis,
                assumed: false,
            }),
        }
    }

    /// What the act would come to, for a plan: a success that says nothing.
    pub(super) fn imagine(&self, prepared: &PreparedCommand) -> Outcome {
        let ok = self.commands.get(&prepared.name).and_then(|command| command.ok.first().copied());
        let result = CommandResult {
            exit: ExitStatus::Code(ok.unwrap_or(0)),
            success: true,
            output: String::new(),
            output_digest: None,
            output_bytes: 0,
            millis: 0,
            assumed: true,
        };
        Outcome::Done { reply: Reply::Command(result) }
    }

    /// What a person would type to do the same. Variables are named and not shown: one may hold a secret.
    pub(super) fn by_hand(&self, name: &Name) -> Option<String> {
        let command = self.commands.get(name)?;
        let mut words = Vec::new();
        if command.directory != Path::new("/") {
            words.push(format!("cd {} &&", quoted(command.directory.to_str()?)));
        }
        match command.user.as_deref().map(|user| (user, user.split_once(':'))) {
            None => {}
            Some((_, Some((uid, gid)))) => {
                words.push(format!("setpriv --reuid={} --regid={} --clear-groups --", quoted(uid), quoted(gid)))
            }
            Some((user, None)) => words.push(format!("runuser -u {} --", quoted(user))),
        }
        words.push("env -i".to_owned());
        words.extend(command.environment.keys().map(|key| format!("{}=\"${{{key}}}\"", quoted(key))));
        words.extend(command.argv.iter().map(|word| quoted(word)));
        Some(words.join(" "))
    }

    fn command(&self, name: &Name) -> Result<&Command, HandError> {
        self.commands.get(name).ok_or_else(|| HandError::NotFound {
            what: format!("command `{name}`"),
            remedy: format!("name it in guardian.toml as [command.{name}]"),
        })
    }
}

/// The longest first line of a script that the kernel reads, in bytes.
const FIRST_LINE: u64 = 256;

/// What the first line of a script names as the program that reads it; none if it is no script.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    std::fs::File::open(program).ok()?.take(FIRST_LINE).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let path = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// What a word names: an absolute path, alone or behind the `=` of an option. To an interpreter it is a script; and to any
/// program that root runs, a name that others can turn into a link is a way to another file.
fn named(word: &str) -> Option<&Path> {
    let path = if word.starts_with('/') { word } else { word.split_once('=')?.1 };
    Some(Path::new(path)).filter(|path| path.is_absolute())
}

/// Says that it is about what a command is handed, and not about its program.
fn handed(name: &Name, path: &Path, error: HandError) -> HandError {
    let HandError::Unavailable { what, remedy } = error else { return error };
    let path = escape(&path.to_string_lossy());
    HandError::Unavailable {
        what: format!("command `{name}` is handed `{path}`: {what}"),
        remedy: format!("{remedy}, or set `user` of the command to whom it belongs"),
    }
}

/// Looks whether a command can be run, and says what would run as whom.
fn look(name: &Name, command: &Command) -> Result<(PathBuf, Option<Account>), HandError> {
    let unusable = |what: String, remedy: &str| HandError::Unavailable { what, remedy: remedy.to_owned() };
    let account = command.user.as_deref().map(account).transpose();
    let account = account.map_err(|what| unusable(what, "see `user` of the command"))?;
    let us = rustix::process::geteuid().as_raw();
    if let Some(account) = account.filter(|account| us != 0 && account.uid != us) {
        let what = format!("command `{name}` runs as user {}, and only root can do that", account.uid);
        return Err(unusable(what, "run Guardian as root, or leave `user` out"));
    }
    let program = command.argv.first().map(Path::new).unwrap_or_else(|| Path::new("/"));
    // The user it runs as may exchange it: it gets no right from that which it does not have.
    let also = account.map(|account| account.uid);
    let (real, metadata) = trusted::file(program, also)?;
    if let Some(interpreter) = interpreter(&real) {
        trusted::file(&interpreter, also)?;
    }
    for path in command.argv.iter().skip(1).chain(command.environment.values()).filter_map(|word| named(word)) {
        trusted::named(path, also).map_err(|error| handed(name, path, error))?;
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let shown = escape(&real.to_string_lossy());
        return Err(HandError::Unavailable {
            what: format!("`{shown}` is not executable"),
            remedy: format!("run `chmod +x {shown}`"),
        });
    }
    if !command.directory.is_dir() {
        let shown = escape(&command.directory.to_string_lossy());
        return Err(unusable(format!("the folder `{shown}` is not there"), "make it, or correct `directory`"));
    }
    Ok((real, account))
}
