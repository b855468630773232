//! The writers' side: whoever changes an order sees what stands, and nobody else changes it in between.
//!
//! Two people can order the same thing in the same second, and a run clears away what has ended while somebody orders it
//! anew. Without a lock the later writer would replace a word that it never saw. The lock is the folder itself, as with the
//! trail: the kernel lets go of it when its holder dies, and there is no file that somebody could remove.
//!
//! Readers take none: a file is replaced whole, so a look finds the old word or the new one.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cap_std::fs::MetadataExt as _;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{FOLDER, file_of, read_one};
use crate::durable::{DurableError, Folder};
use crate::model::{Given, Order};

/// How long a change waits for another: that takes two writes to the disk, so this is a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it tries again.
const POLL: Duration = Duration::from_millis(5);

/// The right to change orders, for as long as it lives.
#[derive(Debug)]
#[must_use = "it keeps everybody else from changing orders"]
pub struct Change {
    folder: Folder,
    _lock: OwnedFd,
}

impl Change {
    /// Waits for its turn. Makes the folder if there is none.
    pub(super) fn below(state: Option<&Folder>) -> Result<Self, DurableError> {
        let Some(state) = state else {
            let nobody = std::io::Error::new(std::io::ErrorKind::Unsupported, "nobody can speak to this gate");
            return Err(io("change", FOLDER.into())(nobody));
        };
        let begun = Instant::now();
        loop {
            let folder = state.make_sub(FOLDER)?;
            folder.trusted()?;
            if let Some(change) = Self::of(state, folder)? {
                return Ok(change);
            }
            if begun.elapsed() > PATIENCE {
                let busy = std::io::Error::new(std::io::ErrorKind::TimedOut, "another process is changing orders");
                return Err(io("change", state.path().join(FOLDER))(busy));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Now or not at all: for a run, which waits for nobody. None as well if there is no folder.
    pub(super) fn at_once(state: &Folder) -> Result<Option<Self>, DurableError> {
        match state.sub(FOLDER) {
            Ok(folder) => Self::of(state, folder),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock, if it is free and the folder is still the one of that name.
    fn of(state: &Folder, folder: Folder) -> Result<Option<Self>, DurableError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |act, error: Errno| io(act, folder.path().to_owned())(error.into());
        let lock =
            rustix::fs::openat(folder.dir(), ".", flags, Mode::empty()).map_err(|error| failed("open", error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(error) => return Err(failed("lock", error)),
        }
        let locked = rustix::fs::fstat(&lock).map_err(|error| failed("look at", error))?;
        let same =
            state.dir().metadata(FOLDER).is_ok_and(|now| (now.dev(), now.ino()) == (locked.st_dev, locked.st_ino));
        Ok(same.then_some(Self { folder, _lock: lock }))
    }

    /// What somebody ordered about this, also if it has ended.
    ///
    /// # Errors
    /// When it cannot be read, which stops everything. Whoever orders the same thing anew mends it.
    pub fn standing(&self, what: &Order) -> Result<Option<Given>, String> {
        read_one(&self.folder, &file_of(what))
    }

    /// Gives an order, durably. It replaces the one about the same thing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give(&self, given: &Given) -> Result<(), DurableError> {
        self.folder.replace(&file_of(&given.what), &serde_json::to_vec(given).unwrap_or_default())
    }

    /// Removes an order, if it is this one.
    pub(super) fn remove(&self, given: &Given) -> Result<(), DurableError> {
        if self.standing(&given.what).is_ok_and(|stands| stands.as_ref() == Some(given)) {
            self.folder.remove(&file_of(&given.what))?;
        }
        Ok(())
    }
}

fn io(act: &'static str, path: std::path::PathBuf) -> impl FnOnce(std::io::Error) -> DurableError {
    move |source| DurableError::Io { act, path, source }
}
