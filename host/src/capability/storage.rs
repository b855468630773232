//! The hand on storage: how full is it, and make room by the operator's steps.
//!
//! What it guards: a playbook names a storage of the inventory and nothing else; folders, patterns and ages stay on this
//! side, and a file that no step describes is out of reach. What it stops: being led out of the folder by a link, a rename
//! or a mount ([`super::folder`]); taking a file that has changed since it was looked at, or half of one ([`take`]); putting back
//! what somebody else has made since ([`undo`]); taking more than is needed.
//!
//! [`StorageHand::prepare`] writes the plan: which files may be taken, the oldest first. [`StorageHand::perform`] takes
//! only those, looks at each once more, and stops as soon as enough is free. Time that runs out in the middle is no
//! failure: every file is whole in one form or the other, and the reply says what was taken.
//!
//! What it does not do: empty the trash, or judge whether a purge is permitted. After a reclaim nothing is put back unless
//! the operator wants it so: files that come back onto a full disk make the outage worse.

mod find;
mod holders;
mod left;
mod mark;
mod plan;
mod take;
#[cfg(test)]
mod tests;
mod undo;
mod usage;
mod words;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

pub(super) use self::plan::{Assumed, PreparedStorage};
use self::undo::Place;
pub use self::undo::StorageUndo;
use super::deadline::Deadline;
use super::error::HandError;
use super::folder::{Folder, cannot_open, shown};
use super::service::ServiceHand;
use super::undo::Reconciled;
use crate::inventory::{Inventory, Step, Storage};
use crate::model::{GuestError, Name, Outcome, Reading, Reply, ServiceVerb, StorageUsage, StorageVerb, Verdict};

/// The hand.
pub struct StorageHand {
    storages: BTreeMap<Name, (Storage, Mutex<()>)>,
    services: Arc<ServiceHand>,
}

impl StorageHand {
    /// A hand on the storages of `inventory`. Touches none of them.
    ///
    /// # Ambient Authority
    /// Later calls open the folders of the inventory's paths, each anew: a folder may be replaced while Guardian runs.
    #[must_use]
    pub fn new(inventory: &Inventory, services: Arc<ServiceHand>) -> Self {
        let storages =
            inventory.storages.iter().map(|(name, storage)| (name.clone(), (storage.clone(), Mutex::default())));
        Self { storages: storages.collect(), services }
    }

    /// Opens everything that the steps would need, and says in a line what it saw.
    ///
    /// # Errors
    /// The first thing that is wrong, with what mends it.
    pub fn touch(&self, name: &Name) -> Result<String, HandError> {
        let storage = self.storage(name)?;
        let root = Folder::open(&storage.path)?;
        let usage = usage::usage(storage, &root)?;
        if let Some(trash) = self.trash(storage, &root)? {
            trash.writable(storage.trash.as_deref().unwrap_or(Path::new("trash")))?;
        }
        for step in &storage.steps {
            let (Step::Compress(files) | Step::Trash(files) | Step::Purge(files)) = step else { continue };
            let path = storage.path.join(&files.folder);
            let folder = root.below(&files.folder).map_err(|error| cannot_open(&path, error))?;
            folder.writable(&path)?;
        }
        let steps = storage.steps.len();
        Ok(format!("`{}` {}; {steps} steps", shown(&storage.path), usage::words(storage, &usage)))
    }

    pub(super) fn observe(&self, name: &Name, deadline: Deadline) -> Outcome {
        match self.usage(name, deadline) {
            Ok(usage) => Outcome::Done { reply: Reply::Storage(usage) },
            Err(error) => error.into_outcome(),
        }
    }

    /// Gets an act ready: writes down which files may be taken. Changes nothing.
    ///
    /// # Errors
    /// When the storage is not known, or one of its folders cannot be looked at.
    pub(super) fn prepare(
        &self,
        verb: StorageVerb,
        name: &Name,
        deadline: Deadline,
    ) -> Result<PreparedStorage, GuestError> {
        let ready = self.storage(name).and_then(|storage| {
            in_time(name, deadline)?;
            let root = Folder::open(&storage.path)?;
            let moves = storage.steps.iter().any(|step| matches!(step, Step::Trash(_)));
            let trash = if moves && verb == StorageVerb::Reclaim { self.trash(storage, &root)? } else { None };
            let held = |services: &[Name]| self.held(root.which.0, services, deadline).values().sum();
            plan::plan(verb, name, storage, (&root, trash.as_ref()), held, deadline)
        });
        ready.map_err(HandError::into_guest_error)
    }

    /// Takes what was planned, until enough is free.
    pub(super) fn perform(&self, prepared: PreparedStorage, deadline: Deadline) -> Outcome {
        match self.make_room(&prepared, deadline) {
            Ok(done) => Outcome::Done { reply: Reply::Reclaimed(done) },
            Err(error) => error.into_outcome(),
        }
    }

    /// What the act would come to, for a plan; and what a later act of the plan has to know.
    pub(super) fn imagine(&self, prepared: &PreparedStorage) -> (Outcome, Option<Assumed>) {
        match self.storage(prepared.name()) {
            Ok(storage) => {
                let (done, assumed) = prepared.imagine(storage);
                (Outcome::Done { reply: Reply::Reclaimed(done) }, Some(assumed))
            }
            Err(error) => (error.into_outcome(), None),
        }
    }

    /// Says whether an act happened that nobody saw end. The files tell.
    pub(super) fn reconcile(
        &self,
        verb: StorageVerb,
        name: &Name,
        undo: Option<&StorageUndo>,
        deadline: Deadline,
    ) -> Reconciled {
        let Ok(storage) = self.storage(name) else { return Reconciled::Unknown };
        if verb != StorageVerb::Reclaim || deadline.passed() {
            return Reconciled::Unknown;
        }
        // Where no file was taken: whether a service was asked to reload leaves no sign.
        let reloads = storage.steps.iter().any(|step| matches!(step, Step::Holders(_)));
        let nothing = if reloads { Reconciled::Unknown } else { Reconciled::NotDone };
        let Some(undo) = undo else { return nothing };
        let begun = self.with_place(storage, undo, |place| {
            for item in &undo.items {
                if place.begun(item).map_err(HandError::io("look at a file"))? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        match begun {
            Ok(true) => Reconciled::Done,
            Ok(false) => nothing,
            Err(_) => Reconciled::Unknown,
        }
    }

    /// Puts back what was taken, as far as nobody has made something else of it. Doing it twice is doing it once.
    pub(super) fn put_back(&self, name: &Name, undo: &StorageUndo, deadline: Deadline) -> Outcome {
        let done = self.storage(name).and_then(|storage| {
            in_time(name, deadline)?;
            let _alone = self.alone(name)?;
            self.with_place(storage, undo, |place| place.put_back(&undo.items, deadline))?;
            Ok(self.usage(name, deadline).map_or(Reply::Done, Reply::Storage))
        });
        match done {
            Ok(reply) => Outcome::Done { reply },
            Err(error) => error.into_outcome(),
        }
    }

    pub(super) fn check(&self, name: &Name, deadline: Deadline) -> Reading {
        let begun = Instant::now();
        let seen = self.storage(name).and_then(|storage| Ok((storage, self.usage(name, deadline)?)));
        let (verdict, seen) = match seen {
            Ok((storage, usage)) => {
                let verdict = if usage.enough { Verdict::Healthy } else { Verdict::Failed };
                (verdict, usage::words(storage, &usage))
            }
            Err(error) => (Verdict::Unknown, error.to_string()),
        };
        let latency_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Reading { verdict, latency_us, seen, assumed: false }
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, verb: StorageVerb, name: &Name) -> Option<String> {
        let (storage, _) = self.storages.get(name)?;
        words::by_hand(verb, storage, |service| self.services.by_hand(ServiceVerb::Reload, service))
    }

    fn usage(&self, name: &Name, deadline: Deadline) -> Result<StorageUsage, HandError> {
        let storage = self.storage(name)?;
        in_time(name, deadline)?;
        usage::usage(storage, &Folder::open(&storage.path)?)
    }

    fn storage(&self, name: &Name) -> Result<&Storage, HandError> {
        self.storages.get(name).map(|(storage, _)| storage).ok_or_else(|| unknown(name))
    }

    /// One act at a time on a storage; an act can take as long as a call, so nobody waits for another one.
    fn alone(&self, name: &Name) -> Result<MutexGuard<'_, ()>, HandError> {
        let (_, lock) = self.storages.get(name).ok_or_else(|| unknown(name))?;
        match lock.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(HandError::Busy { what: format!("room is being made on storage `{name}` already") })
            }
        }
    }

    /// The trash, open, if there is one.
    fn trash(&self, storage: &Storage, root: &Folder) -> Result<Option<Folder>, HandError> {
        let Some(path) = &storage.trash else { return Ok(None) };
        let trash = Folder::open(path)?;
        if trash.which.0 == root.which.0 {
            let (trash, path) = (shown(path), shown(&storage.path));
            return Err(HandError::Unavailable {
                what: format!("the trash `{trash}` is on the same file system as `{path}`: moving makes no room"),
                remedy: "name a folder on another file system as `trash`".to_owned(),
            });
        }
        Ok(Some(trash))
    }

    /// Opens the folders of an act that was begun, if they are still the same ones.
    fn with_place<T>(
        &self,
        storage: &Storage,
        undo: &StorageUndo,
        act: impl FnOnce(&Place<'_>) -> Result<T, HandError>,
    ) -> Result<T, HandError> {
        let same = |path: &Path, inode: u64| {
            let folder = Folder::open(path)?;
            if folder.which.1 == inode {
                return Ok(folder);
            }
            Err(HandError::Unavailable {
                what: format!("`{}` is not the folder that it was", shown(path)),
                remedy: "mount the file system that was there, or look for the files by hand".to_owned(),
            })
        };
        let root = same(&storage.path, undo.root)?;
        let trash = match (&storage.trash, undo.trash) {
            (Some(path), Some(inode)) => Some(same(path, inode)?),
            _ => None,
        };
        act(&Place { root: &root, trash: trash.as_ref() })
    }
}

fn unknown(name: &Name) -> HandError {
    HandError::NotFound {
        what: format!("storage `{name}`"),
        remedy: format!("name it in guardian.toml as [storage.{name}]"),
    }
}

fn in_time(name: &Name, deadline: Deadline) -> Result<(), HandError> {
    if deadline.passed() { Err(HandError::Timeout { what: format!("storage `{name}`") }) } else { Ok(()) }
}
