//! One writer: an exclusive lock on `audit/lock`, with the holder's pid in it.
//!
//! The kernel lets go of it when the holder dies, however it dies, so a stale lock cannot exist. The pid is for people:
//! it is written after the lock was taken and says nothing about whether it is held.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::{AuditError, io};
use crate::durable::Folder;

const NAME: &str = "lock";

/// How often a waiting writer tries again: short beside what a person notices, long beside a system call.
const POLL: Duration = Duration::from_millis(20);

/// The right to write the trail, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for at most `wait`.
    pub(super) fn take(audit: &Folder, wait: Duration) -> Result<Self, AuditError> {
        let path = audit.path().join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut file = audit.dir().open_with(NAME, &options).map_err(io("open", &path))?.into_std();
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < wait => {
                    std::thread::sleep(POLL.min(wait.saturating_sub(begun.elapsed())));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    let mut pid = String::new();
                    // Without a pid the message is poorer, not wrong.
                    let _ = (&file).take(16).read_to_string(&mut pid);
                    return Err(AuditError::Held { path, pid: pid.trim().parse().unwrap_or(0) });
                }
                Err(error) => return Err(io("lock", path)(error.into())),
            }
        }
        let pid = format!("{:<15}\n", std::process::id());
        file.rewind().and_then(|()| file.write_all(pid.as_bytes())).map_err(io("write", path))?;
        Ok(Self { _file: file })
    }
}
