//! Which process is meant: pid, start time and boot.
//!
//! A pid alone names whoever has the number now. The mistake it stops: a service dies, the kernel gives its pid to a
//! database, and somebody "restarts the service". So a process is named by pid, the clock tick it started at
//! (`/proc/PID/stat`, field 22) and the boot it lived in, and a signal goes only through a pidfd that was opened *before*
//! the start time was compared: if they agree, the pidfd holds that very process, and the kernel will not let the handle
//! slide to another one. There is no call to `kill(2)` in this room.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process that nothing else can be mistaken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pid: i32,
    /// Clock ticks since boot at which it started.
    start: u64,
    /// `/proc/sys/kernel/random/boot_id`: after a reboot pids and ticks begin again.
    boot: String,
}

/// What `/proc/PID/stat` says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) start: u64,
    /// It has ended and waits to be reaped.
    pub(crate) ended: bool,
}

impl Stat {
    /// Reads the line of a process; none if there is no such process or it cannot be read.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: i32, line: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, and a program may call itself `a) R 1 (`.
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Field 22; the state was field 3.
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, parent, group, start, ended: matches!(state, "Z" | "X" | "x") })
    }

    /// Every process that can be seen.
    pub(crate) fn all() -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Self::of).collect()
    }
}

/// The boot that this machine lives in.
pub(crate) fn boot() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

impl Identity {
    /// This process.
    pub(crate) fn of_self() -> Option<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).and_then(Self::of_stat)
    }

    pub(crate) fn of_stat(stat: Stat) -> Option<Self> {
        Some(Self { pid: stat.pid, start: stat.start, boot: boot()? })
    }

    pub(crate) const fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Whether that very process still lives. One that has ended and was not reaped does not.
    pub(crate) fn alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| self.is(&stat) && !stat.ended) && boot().as_ref() == Some(&self.boot)
    }

    const fn is(&self, stat: &Stat) -> bool {
        self.pid == stat.pid && self.start == stat.start
    }

    /// A handle on that very process; none if it has ended.
    pub(crate) fn open(&self) -> Option<Handle> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Only now: had it been compared first, the pid could have changed hands before the handle was opened.
        self.alive().then_some(Handle(fd))
    }

    /// A handle on a child of this very process that was not reaped: its pid cannot have changed hands, and it may have
    /// ended already.
    pub(crate) fn open_own_child(&self) -> Option<Handle> {
        pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok().map(Handle)
    }
}

/// A process held by a pidfd whose identity was checked.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// Sends a signal. A process that has ended since is no error: the handle leads to nobody else.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.0, signal);
    }

    /// Whether it has ended.
    pub(crate) fn ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(ready) if ready > 0)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_lie_about_itself_with_its_name() {
        let line = "7 (a) Z 1 2 3 (x) S 5 6 7 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4242 1 2 3";
        let stat = Stat::parse(7, line).unwrap();
        assert_eq!(stat, Stat { pid: 7, parent: 5, group: 6, start: 4242, ended: false });
        assert_eq!(Stat::parse(7, "7 (a"), None);
    }

    #[test]
    fn a_recycled_pid_is_somebody_else() {
        let us = Identity::of_self().unwrap();
        assert!(us.alive() && us.open().is_some());
        let earlier = Identity { start: us.start - 1, ..us.clone() };
        assert!(!earlier.alive() && earlier.open().is_none());
        let last_boot = Identity { boot: "before".to_owned(), ..us };
        assert!(!last_boot.alive() && last_boot.open().is_none());
    }
}
