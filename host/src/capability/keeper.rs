//! The keeper: a small process that stands between Guardian and a service that nothing else supervises.
//!
//! Guardian comes and goes: a command ends, a daemon is upgraded or killed. A service that was its child would lose its
//! output and take its exit status to the grave. So Guardian starts this same binary again as `guardian keeper FOLDER`, in
//! its own session, and *that* runs the service: as the configured user, with exactly the configured environment, no
//! inherited descriptors and limited files. It owns the output ([`output`]), knows how the service ended ([`record`]), ends
//! everything the service started ([`tree`]), and takes orders from its own user only ([`control`]).
//!
//! It never restarts a service by itself: whether to heal is decided by policy, one floor up. It holds a lock for its life,
//! so there is one keeper for a service, and leaves when the service has ended.
//!
//! If it is killed, the service lives on; whoever looks next starts a keeper that adopts it (see [`order::Task`]). The only
//! thing lost is the exit status: the kernel tells that to a parent alone.

pub(crate) mod control;
pub(crate) mod identity;
pub(crate) mod order;
pub(crate) mod output;
pub(crate) mod record;
pub(crate) mod spawn;
pub(crate) mod tree;

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cap_std::fs::{File, OpenOptions, OpenOptionsExt as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, WaitOptions, waitpid};

use self::control::{Answer, Request};
use self::identity::{Handle, Identity};
use self::order::{Order, Task};
use self::output::Output;
use self::record::{Phase, Record, StopReason};
use super::error::HandError;
use crate::durable::Folder;
use crate::model::{Clock as _, ExitStatus, SystemClock, Timestamp};

const LOCK: &str = "lock";
/// How long a keeper waits for its predecessor to go: it has recorded the end and only has to return from `main`.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How often a keeper with nothing to do looks for strays to reap. Zombies cost nothing but their pids.
const IDLE: Duration = Duration::from_secs(30);
/// When to kill again what SIGKILL did not end: it hangs in the kernel, and trying faster does not help.
const KILL_AGAIN: Duration = Duration::from_secs(1);
/// Callers that can wait for one stop. More are hung up on; they look at the record instead.
const WAITERS: usize = 16;

/// The exit status of a keeper that found another one in place.
pub(crate) const TAKEN: u8 = 75;

/// Runs as the keeper of one service, whose state folder is `folder`, until the service has ended. The order comes on
/// standard input. To be called before any thread or runtime exists.
///
/// # Ambient Authority
/// Opens `folder` by its path, and runs the command that the order names.
#[must_use]
pub fn keeper_main(folder: &Path) -> ExitCode {
    match Keeper::begin(folder) {
        Ok(Some(keeper)) => {
            keeper.watch();
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::from(TAKEN),
        Err(error) => {
            // Seen when somebody starts a keeper by hand; Guardian starts it without a terminal and reads the record.
            tracing::error!("keeper of `{}`: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    folder: Folder,
    order: Order,
    record: Record,
    child: Identity,
    handle: Handle,
    output: Output,
    listener: UnixListener,
    stopping: Option<Stopping>,
    clock: SystemClock,
    /// Held for life.
    _lock: File,
}

struct Stopping {
    kill_at: Instant,
    /// What was alive when the stop began.
    known: Vec<Handle>,
    waiters: Vec<UnixStream>,
}

impl Stopping {
    fn begin(order: &Order, record: &Record, child: &Identity) -> Self {
        let known = tree::ask_to_end(record.keeper.pid(), child);
        Self { kill_at: Instant::now() + order.stop_time(), known, waiters: Vec::new() }
    }
}

impl Keeper {
    /// Takes the service over; none if another keeper has it.
    fn begin(folder: &Path) -> Result<Option<Self>, HandError> {
        spawn::detach()?;
        let order = Order::receive(std::io::stdin()).map_err(HandError::io("read the order of the keeper"))?;
        let folder = Folder::open(folder)?;
        folder.trusted()?;
        let Some(lock) = lock(&folder)? else { return Ok(None) };
        let us = Identity::of_self().ok_or(HandError::Unavailable {
            what: "/proc does not show this process".to_owned(),
            remedy: "mount /proc".to_owned(),
        })?;
        let clock = SystemClock::default();
        let output = Output::open(&folder, order.output_bytes).map_err(HandError::io("open the output"))?;
        let listener = control::listen(&folder).map_err(HandError::io("open the control socket"))?;
        let Some(mut record) = first_record(&order.task, &folder, us, clock.now())? else { return Ok(None) };
        let taken = match &order.task {
            Task::Start => {
                record.write(&folder)?;
                spawn::service(&order, output::service_end(&folder))
            }
            Task::Adopt(child) => child
                .open()
                .map(|handle| (child.clone(), handle))
                .ok_or_else(|| "it had ended before its keeper came".to_owned()),
        };
        let (child, handle) = match taken {
            Ok(taken) => taken,
            Err(fault) => {
                record.phase = Phase::Ended;
                record.fault = Some(fault);
                record.write(&folder)?;
                return Err(HandError::Failed { what: "the service could not be run".to_owned() });
            }
        };
        if !record.adopted {
            record.child = Some(child.clone());
            record.phase = Phase::Running;
            record.since = clock.now();
        }
        if let Err(error) = record.write(&folder) {
            // INVARIANT 9: nobody would ever find a service that is in no record, so "failed" has to be true of it. One
            // that was to be adopted stands in the record of its last keeper and runs on; the next look tries again.
            if !record.adopted {
                tree::end(record.keeper.pid(), &child, &[]);
            }
            return Err(error);
        }
        let stopping = (record.phase == Phase::Stopping).then(|| Stopping::begin(&order, &record, &child));
        Ok(Some(Self { folder, order, record, child, handle, output, listener, stopping, clock, _lock: lock }))
    }

    fn watch(mut self) {
        loop {
            self.wait();
            self.output.drain(&self.folder);
            if self.handle.ended() {
                break;
            }
            if let Some((request, stream)) = control::accept(&self.listener) {
                self.answer(request, stream);
            }
            let root = self.root();
            if let Some(stopping) = self.stopping.as_mut().filter(|stopping| Instant::now() >= stopping.kill_at) {
                tree::end(root, &self.child, &stopping.known);
                stopping.kill_at = Instant::now() + KILL_AGAIN;
            }
            tree::reap_strays(self.root(), &self.child);
        }
        self.conclude();
    }

    const fn root(&self) -> i32 {
        self.record.keeper.pid()
    }

    /// Sleeps until something happens.
    fn wait(&self) {
        let time =
            self.stopping.as_ref().map_or(IDLE, |stopping| stopping.kill_at.saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(time).ok();
        let mut fds = [
            PollFd::new(&self.handle, PollFlags::IN),
            PollFd::new(&self.output, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn answer(&mut self, request: Request, stream: UnixStream) {
        match request {
            Request::Reload => {
                let signal = self.order.reload_signal.and_then(Signal::from_named_raw);
                if let Some(signal) = signal {
                    self.handle.signal(signal);
                }
                control::answer(&stream, if signal.is_some() { &Answer::Done } else { &Answer::Cannot });
            }
            Request::Stop { reason } => {
                let stopping =
                    self.stopping.get_or_insert_with(|| Stopping::begin(&self.order, &self.record, &self.child));
                if stopping.waiters.len() < WAITERS {
                    stopping.waiters.push(stream);
                }
                // INVARIANT 11: a person who joins a playbook's stop makes it a person's.
                if self.record.stop != Some(StopReason::Person) {
                    self.record.stop = Some(reason);
                }
                if self.record.phase != Phase::Stopping {
                    self.record.phase = Phase::Stopping;
                    self.record.since = self.clock.now();
                }
                self.save();
            }
        }
    }

    /// The service's main process has ended, and is a zombie that still holds its pid and its process group.
    fn conclude(mut self) {
        let known = self.stopping.as_ref().map_or(&[][..], |stopping| &stopping.known);
        tree::end(self.root(), &self.child, known);
        self.output.drain(&self.folder);
        if !self.record.adopted {
            let pid = rustix::process::Pid::from_raw(self.child.pid());
            let ended = waitpid(pid, WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status);
            self.record.exit = ended.and_then(|status| {
                status.exit_status().map(ExitStatus::Code).or(status.terminating_signal().map(ExitStatus::Signal))
            });
        }
        self.record.phase = Phase::Ended;
        self.record.since = self.clock.now();
        self.save();
        for waiter in self.stopping.iter().flat_map(|stopping| &stopping.waiters) {
            control::answer(waiter, &Answer::Done);
        }
    }

    /// Writes the record. A full disk must not end a keeper: its death would leave the service alone as well.
    fn save(&self) {
        if let Err(error) = self.record.write(&self.folder) {
            tracing::error!("{error}");
        }
    }
}

/// The record that a keeper begins with; none if the service it came for is no longer the one in the record.
///
/// INVARIANT 11: an adopting keeper goes on where the last one was. A stop that was under way stays under way, and stays
/// the person's who asked for it.
fn first_record(task: &Task, folder: &Folder, us: Identity, now: Timestamp) -> Result<Option<Record>, HandError> {
    let Task::Adopt(child) = task else { return Ok(Some(Record::starting(us, now))) };
    let old = Record::read(folder).map_err(|error| HandError::Failed { what: error.to_string() })?;
    let old = old.filter(|old| old.phase != Phase::Ended && old.child.as_ref() == Some(child));
    Ok(old.map(|old| Record { keeper: us, adopted: true, ..old }))
}

fn lock(folder: &Folder) -> Result<Option<File>, HandError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    let file = folder.dir().open_with(LOCK, &options).map_err(HandError::io("open the lock of the service"))?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() >= until => return Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(HandError::io("lock the service")(error)),
        }
    }
}
