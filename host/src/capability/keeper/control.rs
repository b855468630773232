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
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::StopReason;
use crate::durable::Folder;

const SOCKET: &str = "control";
/// A request is under 100 bytes, an answer under 1,000.
const LONGEST: u64 = 4 * 1024;
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
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let line = read_line(&stream)?;
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
        // Zero would mean "for ever" to the kernel.
        self.0.set_read_timeout(Some(time.max(Duration::from_millis(1)))).ok()?;
        serde_json::from_slice(&read_line(&self.0)?).ok()
    }
}

fn read_line(stream: &UnixStream) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut limited = stream.take(LONGEST);
    let mut byte = [0_u8];
    while limited.read(&mut byte).ok()? == 1 {
        if byte == *b"\n" {
            return Some(line);
        }
        line.extend(byte);
    }
    None
}
