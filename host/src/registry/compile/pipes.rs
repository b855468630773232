//! Talking to a worker over three pipes at once.
//!
//! One loop serves all three, so that no order of reading and writing can lock both sides, and no thread is left behind
//! when the worker is killed. What is read is bounded: code up to the largest that is kept (more ends the talk), complaints
//! up to a few kilobytes (the rest is read and thrown away, so that a worker that complains a lot is not held up by it).

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::registry::CompiledCache;

/// Of what the worker says on its standard error: enough for one message, whatever it writes.
const COMPLAINT: usize = 4 * 1024;
/// What a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How talking to the worker ended.
pub(super) enum Pumped {
    Closed,
    Late,
    Flood,
}

/// Our ends of the worker's pipes, and what went through them.
pub(super) struct Pipes<'a> {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    pub(super) unsent: &'a [u8],
    pub(super) code: Vec<u8>,
    pub(super) complaint: Vec<u8>,
}

impl Pipes<'_> {
    pub(super) fn pump(&mut self, deadline: Instant) -> std::io::Result<Pumped> {
        let most = usize::try_from(CompiledCache::LARGEST).unwrap_or(usize::MAX);
        while self.stdout.is_some() || self.stderr.is_some() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(Pumped::Late) };
            let (input, output, error) = self.ready(left)?;
            if input {
                self.send()?;
            }
            if output {
                drain(&mut self.stdout, &mut self.code, most.saturating_add(1))?;
                if self.code.len() > most {
                    return Ok(Pumped::Flood);
                }
            }
            if error {
                drain(&mut self.stderr, &mut self.complaint, COMPLAINT)?;
            }
        }
        Ok(Pumped::Closed)
    }

    fn ready(&self, left: Duration) -> std::io::Result<(bool, bool, bool)> {
        let mut waiting = Vec::with_capacity(3);
        waiting.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        waiting.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        waiting.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        wait_for(&mut waiting, left)?;
        let mut states = waiting.iter().map(|waiting| !waiting.revents().is_empty());
        let mut of = |open: bool| open && states.next().unwrap_or(false);
        Ok((of(self.stdin.is_some()), of(self.stdout.is_some()), of(self.stderr.is_some())))
    }

    fn send(&mut self) -> std::io::Result<()> {
        let Some(pipe) = &mut self.stdin else { return Ok(()) };
        match pipe.write(self.unsent) {
            Ok(sent) => self.unsent = self.unsent.get(sent..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It does not want the rest: its exit status says why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.unsent = &[],
            Err(error) => return Err(error),
        }
        if self.unsent.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }
}

/// Reads what is there, keeps at most `most` bytes of all, and closes the pipe at its end.
fn drain<P: Read + AsFd>(pipe: &mut Option<P>, kept: &mut Vec<u8>, most: usize) -> std::io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    let mut chunk = [0; CHUNK];
    match open.read(&mut chunk) {
        Ok(0) => *pipe = None,
        Ok(read) => {
            let room = most.saturating_sub(kept.len()).min(read);
            kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

pub(super) fn wait_for(waiting: &mut [PollFd<'_>], left: Duration) -> std::io::Result<usize> {
    let timeout =
        Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(waiting, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        other => Ok(other?),
    }
}
