//! How a keeper is spoken to: one line of JSON each way over a Unix socket in the service's own folder.
//!
//! The folder is closed to everybody but its owner, and the keeper looks at the caller's credentials as well
//! (`SO_PEERCRED`): its own user and root, nobody else. The service itself may run as another user and then cannot
//! command its own keeper. The socket is reached through the open folder, not through a path: a long home would not fit
//! into the 108 bytes that a socket address has.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::record::StopReason;
use crate::durable::Folder;

const SOCKET: &str = "control";
/// A request is under 100 bytes, an answer under 1,000.
const LONGEST: usize = 4 * 1024;
/// How long a caller may take to say what it wants: it is on the same machine and has it ready.
const PATIENCE: Duration = Duration::from_millis(500);

/// What can be asked of a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// End the service. The answer comes when it has ended.
    Stop {
        /// Who wants it.
        reason: StopReason,
    },
    /// Let the service read its configuration again.
    Reload,
}

/// What a keeper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It was done.
    Done,
    /// It has no way to do that.
    Cannot,
}

fn address(folder: &Folder) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.dir().as_fd().as_raw_fd()))
}

/// Opens the socket. The caller holds the lock of the service, so one that is there belongs to a dead keeper.
pub(crate) fn listen(folder: &Folder) -> std::io::Result<UnixListener> {
    let _ = folder.dir().remove_file(SOCKET);
    let listener = UnixListener::bind(address(folder))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the next caller, if there is one, it may ask, and it asks something sensible.
pub(crate) fn accept(listener: &UnixListener) -> Option<(Request, UnixStream)> {
    let (stream, _) = listener.accept().ok()?;
    let caller = rustix::net::sockopt::socket_peercred(&stream).ok()?.uid;
    if !caller.is_root() && caller != rustix::process::geteuid() {
        return None;
    }
    stream.set_nonblocking(false).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let line = read_line(&stream, PATIENCE)?;
    Some((serde_json::from_slice(&line).ok()?, stream))
}

/// Answers a caller. One that has gone is no error.
pub(crate) fn answer(mut stream: &UnixStream, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    let _ = stream.write_all(&line);
}

/// A keeper that has been asked.
pub(crate) struct Asked(UnixStream);

/// Asks a keeper. An error means that the request has not been sent.
pub(crate) fn ask(folder: &Folder, request: Request) -> std::io::Result<Asked> {
    let mut stream = UnixStream::connect(address(folder))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(Asked(stream))
}

impl Asked {
    /// Waits for the answer; none if the keeper gave none in time, or ended.
    pub(crate) fn wait(self, time: Duration) -> Option<Answer> {
        serde_json::from_slice(&read_line(&self.0, time)?).ok()
    }
}

/// Reads one line; none if it does not come whole, is too long, or takes longer than `time` altogether: a caller that
/// sends a byte now and then holds nobody.
fn read_line(mut stream: &UnixStream, time: Duration) -> Option<Vec<u8>> {
    let until = Instant::now() + time;
    let mut line = Vec::new();
    let mut part = [0_u8; 256];
    while line.len() < LONGEST {
        // Zero would mean "for ever" to the kernel.
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).ok()?;
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        line.extend(part.get(..read)?);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            // One line each way: nothing comes behind it.
            line.truncate(end);
            return Some(line);
        }
        if Instant::now() >= until {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_dribbles_holds_nobody() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let dribble = std::thread::spawn(move || {
            // Each byte comes well within the time; the line does not.
            while theirs.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        assert_eq!(read_line(&ours, Duration::from_millis(100)), None);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        drop(ours);
        dribble.join().unwrap();
    }

    #[test]
    fn a_line_comes_whole_or_not_at_all() {
        for (sent, line) in [(&b"{}\n"[..], Some(&b"{}"[..])), (b"{}", None), (b"", None), (&[b'x'; LONGEST + 1], None)]
        {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent).unwrap();
            drop(theirs);
            assert_eq!(read_line(&ours, PATIENCE).as_deref(), line);
        }
    }
}
