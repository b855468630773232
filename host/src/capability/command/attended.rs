//! A command that runs, seen from Guardian: its worker is started, waited for, and ended if it has to be.
//!
//! The worker ends the command; this side only has to be sure that it did. One that says nothing within the deadline is
//! hung up on, which makes it kill everything, and then killed itself. One that was killed by somebody cannot end what it
//! ran any more: then the command's process group is ended from here, and the call is unsure.

use std::io::BufRead as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::words::{Ended, Job, LONGEST, Said, say};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::capability::keeper::identity::Identity;
use crate::capability::keeper::tree;
use crate::model::{Name, escape};

/// What a worker gets to kill everything after it was hung up on: it takes milliseconds, on a loaded machine tens.
const HANGING_UP: Duration = Duration::from_millis(500);
/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// Runs a command to its end.
///
/// # Errors
/// [`HandError::Failed`] if it was never started; [`HandError::Unsure`] if it was, and how it ended is not known.
pub(super) fn run(worker: &Path, name: &Name, job: &Job, deadline: Deadline) -> Result<Ended, HandError> {
    let failed = |what: String| HandError::Failed { what: format!("command `{name}` was not started: {what}") };
    let mut child = Command::new(worker)
        .arg("command-worker")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("cannot run `{}`: {error}", escape(&worker.to_string_lossy()))))?;
    // Held until the end: a worker that sees it closed kills everything.
    let input = child.stdin.take();
    let told = input.as_ref().map_or(Ok(()), |mut input| say(job, &mut input));
    let mut heard = Vec::new();
    let said_all = told.is_ok() && listen(&mut child, &mut heard, deadline);
    drop(input);
    if !said_all {
        listen(&mut child, &mut heard, Deadline::after(HANGING_UP));
    }
    let mut started: Option<Identity> = None;
    for line in heard.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Said::Started(identity)) => started = Some(identity),
            Ok(Said::Fault(fault)) => return bury(child).and(Err(failed(fault))),
            Ok(Said::Ended(ended)) => return bury(child).map(|_| ended),
            Err(_) => break,
        }
    }
    // Killed before it is reaped, so that nothing else has its number yet.
    let _ = child.kill();
    if let (Some(leader), Ok(worker)) = (&started, i32::try_from(child.id())) {
        tree::end(worker, leader, &[]);
    }
    let status = child.wait().map_err(HandError::io("wait for the worker of a command"))?;
    if told.is_err() || (started.is_none() && status.code().is_some()) {
        return Err(failed("its worker could not begin; is /proc mounted?".to_owned()));
    }
    let how = if said_all { "was killed while its worker watched it" } else { "did not end in time and was killed" };
    Err(HandError::Unsure { what: format!("command `{name}` {how}") })
}

/// Reads what the worker says until it has left; false if it has not by then.
fn listen(child: &mut Child, heard: &mut Vec<u8>, deadline: Deadline) -> bool {
    let Some(output) = &child.stdout else { return true };
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(timeout) = Timespec::try_from(deadline.remaining()) else { return false };
        let output = output.as_fd();
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return false,
        }
        match rustix::io::read(output, chunk.as_mut_slice()) {
            Ok(0) => return true,
            Ok(count) => heard.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
        if u64::try_from(heard.len()).unwrap_or(u64::MAX) > LONGEST {
            return false;
        }
    }
}

/// Reaps a worker that has said its last word.
fn bury(mut child: Child) -> Result<(), HandError> {
    child.wait().map(|_| ()).map_err(HandError::io("wait for the worker of a command"))
}
