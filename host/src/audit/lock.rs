//! One writer: an exclusive lock on the folder `audit` itself, and the holder's pid in `audit/lock`.
//!
//! The kernel lets go of it when the holder dies, however it dies, so a stale lock cannot exist. The file is for people: it
//! says who holds the lock and nothing about whether it is held. It is not what is locked, because whoever reads "held by
//! process N" may remove it, and the next writer would lock another file of that name and write into the same segment.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::{AuditError, io};
use crate::durable::Folder;

const NAME: &str = "lock";

/// How often a waiting writer tries again: short beside what a person notices, long beside a system call.
const POLL: Duration = Duration::from_millis(20);

/// The right to write the trail, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _folder: OwnedFd,
}

impl Lock {
    /// Takes the lock, waiting for at most `wait`.
    pub(super) fn take(audit: &Folder, wait: Duration) -> Result<Self, AuditError> {
        let path = audit.path().join(NAME);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(audit.dir(), ".", flags, Mode::empty())
            .map_err(|error| io("open", audit.path())(error.into()))?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < wait => {
                    std::thread::sleep(POLL.min(wait.saturating_sub(begun.elapsed())));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    let mut pid = String::new();
                    // Without a pid the message is poorer, not wrong.
                    if let Ok(file) = audit.dir().open(NAME) {
                        let _ = file.take(16).read_to_string(&mut pid);
                    }
                    return Err(AuditError::Held { path, pid: pid.trim().parse().unwrap_or(0) });
                }
                Err(error) => return Err(io("lock", path)(error.into())),
            }
        }
        let pid = format!("{:<15}\n", std::process::id());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = audit.dir().open_with(NAME, &options).map_err(io("open", &path))?;
        file.write_all(pid.as_bytes()).map_err(io("write", path))?;
        Ok(Self { _folder: folder })
    }
}
