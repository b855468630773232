//! The process that stands between Guardian and a command.
//!
//! A command forks, its children fork, and some of them move to a session of their own to be left alone. Only a subreaper
//! finds them all, and being one changes what happens to every orphan of a process; Guardian's own process has others. So
//! this binary is started once more for each command, as `guardian command-worker`, makes itself the subreaper, and runs
//! the command as a keeper runs a service: clean environment, closed input, own user and process group.
//!
//! When the command's main process has ended, whatever it left behind is ended too: a call is over when its effect is. When
//! its time is up it gets SIGTERM, a moment, and SIGKILL, and so does everything below it. And when Guardian is gone, which
//! the worker sees at the end of its own input, everything is killed at once: nobody would ever learn how it ended. (A
//! parent-death signal could not do that: it is forgotten when the user changes, and reaches one process of many.)
//!
//! What it does not do: end what another daemon started on the command's behalf (`systemd-run`, `at`): that is not below it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, WaitOptions, waitpid};

use super::tail::Tail;
use super::words::{Ended, Job, Said, say};
use crate::capability::error::HandError;
use crate::capability::keeper::identity::{Handle, Identity};
use crate::capability::keeper::{spawn, tree};
use crate::model::ExitStatus;

/// How often strays are reaped and a kill is repeated that did not end everything.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs one command, whose job comes on standard input, and says on standard output how it ended. To be called before any
/// thread or runtime exists.
///
/// # Ambient Authority
/// Runs the command that the job names.
#[must_use]
pub fn command_worker_main() -> ExitCode {
    match attend() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn attend() -> Result<(), HandError> {
    spawn::detach()?;
    // A core dump would hold what the command was told.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(HandError::io("forbid core dumps"))?;
    // Only root has groups to give up; others would keep what they have anyway.
    let _ = rustix::thread::set_thread_groups(&[]);
    let job = Job::receive(std::io::stdin().lock()).map_err(HandError::io("read the job of the command"))?;
    let us = Identity::of_self().ok_or(HandError::Unavailable {
        what: "/proc does not show this process".to_owned(),
        remedy: "mount /proc".to_owned(),
    })?;
    let (pipe, output) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(HandError::io("make a pipe"))?;
    rustix::io::ioctl_fionbio(&pipe, true).map_err(HandError::io("make a pipe"))?;
    let begun = Instant::now();
    let (child, handle) = match spawn::service(&job.order, Ok(File::from(output))) {
        Ok(run) => run,
        Err(fault) => return say(&Said::Fault(fault), std::io::stdout()).map_err(HandError::io("say how it went")),
    };
    // If Guardian is gone, the loop sees it.
    let _ = say(&Said::Started(child.clone()), std::io::stdout());
    let tail = Tail::new(job.order.output_bytes);
    let until = begun + Duration::from_millis(job.timeout_ms);
    let watch = Watch { root: us.pid(), grace: job.order.stop_time(), child, handle, pipe, tail, until, asked: None };
    match watch.until_the_end(begun) {
        Some(ended) => say(&Said::Ended(ended), std::io::stdout()).map_err(HandError::io("say how it ended")),
        None => Ok(()),
    }
}

struct Watch {
    root: i32,
    grace: Duration,
    child: Identity,
    handle: Handle,
    pipe: OwnedFd,
    tail: Tail,
    /// When it is asked to end, or killed.
    until: Instant,
    /// What was alive when its time was up.
    asked: Option<Vec<Handle>>,
}

impl Watch {
    /// Watches until the command has ended; none if Guardian went before.
    fn until_the_end(mut self, begun: Instant) -> Option<Ended> {
        let mut reaped = begun;
        let mut open = true;
        loop {
            let gone = self.wait(open);
            open = open && self.tail.drain(&self.pipe);
            if self.handle.ended() {
                break;
            }
            if gone {
                tree::end(self.root, &self.child, &[]);
                return None;
            }
            if Instant::now() >= self.until {
                self.time_is_up();
            }
            if reaped.elapsed() >= AGAIN {
                tree::reap_strays(self.root, &self.child);
                reaped = Instant::now();
            }
        }
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Its main process is a zombie that still holds its pid and its process group.
        let all = tree::end(self.root, &self.child, self.asked.as_deref().unwrap_or_default());
        // What is left in the pipe; never its end, which somebody may still hold.
        self.tail.drain(&self.pipe);
        let pid = rustix::process::Pid::from_raw(self.child.pid());
        let status = waitpid(pid, WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status);
        let exit = status.and_then(|status| {
            status.exit_status().map(ExitStatus::Code).or(status.terminating_signal().map(ExitStatus::Signal))
        });
        let output_bytes = self.tail.total;
        Some(Ended {
            exit,
            late: self.asked.is_some(),
            left: !all,
            output: self.tail.into_text(),
            output_bytes,
            millis,
        })
    }

    fn time_is_up(&mut self) {
        match &self.asked {
            None => {
                self.asked = Some(tree::ask_to_end(self.root, &self.child));
                self.until = Instant::now() + self.grace;
            }
            Some(known) => {
                tree::end(self.root, &self.child, known);
                self.until = Instant::now() + AGAIN;
            }
        }
    }

    /// Sleeps until something happens; true when Guardian is gone.
    fn wait(&self, open: bool) -> bool {
        let time = self.until.saturating_duration_since(Instant::now()).min(AGAIN);
        let timeout = Timespec::try_from(time).ok();
        let stdin = std::io::stdin();
        // A pipe without a writer is ready for ever.
        let output = if open { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(&stdin, PollFlags::empty()),
            PollFd::new(&self.handle, PollFlags::IN),
            PollFd::new(&self.pipe, output),
        ];
        let fds = if open { fds.as_mut_slice() } else { fds.get_mut(..2).unwrap_or_default() };
        // An interrupted wait is a short one.
        let _ = poll(fds, timeout.as_ref());
        fds.first().is_some_and(|stdin| stdin.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }
}
