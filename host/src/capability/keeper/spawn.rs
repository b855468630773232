//! From a keeper's order to a running service, with nothing handed down by accident.
//!
//! A service that was started from a shell, a cron job or a daemon must not differ: same user, no supplementary groups,
//! exactly the configured environment, standard input closed, output into the pipe, no other descriptor, its own process
//! group, umask 022 and its limit of open files. The command is an argument vector: no shell ever reads it.

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit};

use super::identity::{Handle, Identity};
use super::order::Order;
use crate::capability::error::HandError;
use crate::model::escape;

/// Makes this process a keeper: own session, no way back to a terminal, nothing inherited, heir of every stray.
pub(crate) fn detach() -> Result<(), HandError> {
    close_on_exec();
    // Fails only for a process that leads its group already, which then has a session or a job of its own.
    let _ = rustix::process::setsid();
    // What the keeper makes is its owner's alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(HandError::io("become a subreaper"))
}

/// Whatever Guardian was started with beyond standard streams does not reach a service.
fn close_on_exec() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let inherited = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for fd in inherited.filter(|fd| *fd > 2) {
        // SAFETY: the number was listed as open a moment ago and this process has one thread. If it were closed
        // meanwhile (the directory's own descriptor is), the kernel answers EBADF and nothing happens: the flag of a
        // descriptor can be set without owning it.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

/// Runs what was ordered, with both its outputs into `output`, and holds it.
///
/// # Errors
/// Why it could not be run, for a person. Nothing runs then.
pub(crate) fn service(order: &Order, output: std::io::Result<std::fs::File>) -> Result<(Identity, Handle), String> {
    let (program, arguments) = order.argv.split_first().ok_or("its command is empty")?;
    let pipe = |end: std::io::Result<std::fs::File>| end.map_err(|error| format!("cannot open its output: {error}"));
    let stdout = pipe(output)?;
    let stderr = pipe(stdout.try_clone())?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&order.environment)
        .current_dir(&order.directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    if let Some(account) = order.account {
        // As root, std also drops the supplementary groups when a user is set and no groups are.
        command.gid(account.gid).uid(account.uid);
    }
    let limits = Limits::lower(order.open_files)?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let spawned = command.spawn();
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    limits.restore();
    let mut child = spawned.map_err(|error| cannot_run(order, program, &error))?;
    let held = i32::try_from(child.id()).ok().and_then(|pid| {
        // Not reaped by anybody but this process, so the pid cannot have changed hands.
        limits.seal(pid);
        let identity = Identity::of(pid)?;
        let handle = identity.open_own_child()?;
        Some((identity, handle))
    });
    held.ok_or_else(|| {
        // What cannot be named cannot be written down, found again or stopped: it does not stay.
        let _ = child.kill();
        let _ = child.wait();
        "/proc does not show it, or no descriptor is left to hold it".to_owned()
    })
}

fn cannot_run(order: &Order, program: &str, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied if order.account.is_some() => {
            "; to run it as another user, run Guardian as root"
        }
        std::io::ErrorKind::NotFound => "; check the program and `directory`",
        _ => "",
    };
    format!("cannot run `{}`: {error}{hint}", escape(program))
}

/// The limit of open files, lowered for the moment of the start so that the service inherits it.
struct Limits {
    before: Rlimit,
    during: u64,
}

impl Limits {
    fn lower(open_files: u64) -> Result<Self, String> {
        let before = rustix::process::getrlimit(Resource::Nofile);
        let maximum = before.maximum.map_or(Some(open_files), |maximum| Some(maximum.max(open_files)));
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(open_files), maximum }).map_err(
            |error| format!("cannot set open_files to {open_files}: {error}; lower it or run Guardian as root"),
        )?;
        Ok(Self { before, during: open_files })
    }

    /// Gives the keeper its own limit back.
    fn restore(&self) {
        let _ = rustix::process::setrlimit(Resource::Nofile, self.before);
    }

    /// Takes from the service the right to raise its limit again.
    fn seal(&self, pid: i32) {
        let limit = Rlimit { current: Some(self.during), maximum: Some(self.during) };
        let _ = rustix::process::prlimit(Pid::from_raw(pid), Resource::Nofile, limit);
    }
}
