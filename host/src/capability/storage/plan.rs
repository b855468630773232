//! The plan of an act: which files may be taken, step by step, before any of them is.
//!
//! Everything that can be put back is in the plan before the act begins, so the undo material is on the disk before the
//! first file goes. More is planned than will be taken: how much a file gives back is known only afterwards. A plan of a
//! *plan* (a dry run) counts instead: what a first act would have taken, a second one does not find again.

use std::collections::BTreeSet;

use super::find::{Fate, Found, Walk};
use super::left::LeftOver;
use super::undo::{Form, Item, StorageUndo};
use super::usage::{judged, missing_bytes, usage};
use super::words;
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::capability::folder::Folder;
use crate::inventory::{Step, Storage};
use crate::model::{Digest, Name, Reclaimed, StorageUsage, StorageVerb};

/// A file that may be taken.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) file: Found,
    /// What becomes of it; none: it goes for good.
    pub(super) form: Option<Form>,
}

/// A step, with the files that it may take.
#[derive(Debug)]
pub(super) struct PlannedStep {
    pub(super) step: Step,
    pub(super) files: Vec<Planned>,
    /// Bytes of deleted files that the services of the step hold.
    held: u64,
}

/// An act on storage that may be done.
#[derive(Debug)]
#[must_use]
pub(in super::super) struct PreparedStorage {
    verb: StorageVerb,
    name: Name,
    pub(super) steps: Vec<PlannedStep>,
    /// The folders that were looked at: device and inode.
    pub(super) root: (u64, u64),
    pub(super) trash: Option<(u64, u64)>,
    /// How full it was.
    pub(super) usage: StorageUsage,
    /// What could not be looked at, and why.
    pub(super) left: LeftOver,
    undo: Option<StorageUndo>,
    /// Files that an earlier act of the same dry run would have taken.
    gone: BTreeSet<u64>,
}

/// What an act of a dry run leaves behind for the next one.
#[derive(Clone, Debug)]
pub(in super::super) struct Assumed {
    pub(in super::super) usage: StorageUsage,
    gone: BTreeSet<u64>,
}

impl PreparedStorage {
    pub(in super::super) const fn undo(&self) -> Option<&StorageUndo> {
        self.undo.as_ref()
    }

    pub(in super::super) const fn verb(&self) -> StorageVerb {
        self.verb
    }

    pub(in super::super) const fn name(&self) -> &Name {
        &self.name
    }

    /// The same act after what a dry run assumes to have happened.
    pub(in super::super) fn after(self, assumed: &Assumed) -> Self {
        Self { usage: assumed.usage.clone(), gone: assumed.gone.clone(), ..self }
    }

    /// What it would come to: step by step until enough is free, as the act itself.
    pub(super) fn imagine(&self, storage: &Storage) -> (Reclaimed, Assumed) {
        let mut usage = judged(storage, StorageUsage { assumed: true, ..self.usage.clone() });
        let left = self.left.words();
        let mut done = Reclaimed { bytes: 0, files: 0, steps: Vec::new(), left, usage: usage.clone() };
        let mut gone = self.gone.clone();
        for planned in &self.steps {
            let mut taken = false;
            if planned.held > 0 && !usage.enough {
                (done.bytes, taken) = (done.bytes.saturating_add(planned.held), true);
                usage = freed(storage, &usage, planned.held, 0);
            }
            for file in &planned.files {
                if usage.enough {
                    break;
                }
                if !gone.insert(file.file.mark.inode) {
                    continue;
                }
                let (bytes, inodes) = match file.form {
                    // What logs shrink by at the very least; how much it really is only compressing tells.
                    Some(Form::Compressed) => (file.file.occupied / 2, 0),
                    _ => (file.file.occupied, 1),
                };
                usage = freed(storage, &usage, bytes, inodes);
                (done.bytes, done.files, taken) = (done.bytes.saturating_add(bytes), done.files + 1, true);
            }
            if taken {
                done.steps.push(words::step(&planned.step));
            }
        }
        done.usage = usage.clone();
        (done, Assumed { usage, gone })
    }
}

fn freed(storage: &Storage, usage: &StorageUsage, bytes: u64, inodes: u64) -> StorageUsage {
    let bytes_free = usage.bytes_free.saturating_add(bytes).min(usage.bytes_total);
    let inodes_free = usage.inodes_free.saturating_add(inodes).min(usage.inodes_total);
    judged(storage, StorageUsage { bytes_free, inodes_free, ..usage.clone() })
}

/// Writes the plan.
pub(super) fn plan(
    verb: StorageVerb,
    name: &Name,
    storage: &Storage,
    (root, trash): (&Folder, Option<&Folder>),
    held: impl Fn(&[Name]) -> u64,
    deadline: Deadline,
) -> Result<PreparedStorage, HandError> {
    let usage = usage(storage, root)?;
    let mut steps = Vec::new();
    let walks = |step: &&Step| match step {
        Step::Compress(_) | Step::Trash(_) => verb == StorageVerb::Reclaim,
        Step::Purge(_) => verb == StorageVerb::Purge,
        Step::Holders(_) => false,
    };
    let shares = storage.steps.iter().filter(walks).count();
    let mut walk = Walk::new(root, missing_bytes(storage, &usage), shares, deadline);
    // Names in the trash are new ones with every act, so that what an earlier act left is never in the way.
    let salt = getrandom::u64().map_err(|error| HandError::Unavailable {
        what: format!("the kernel gives no random number: {error}"),
        remedy: "see /dev/urandom".to_owned(),
    })?;
    for step in storage.steps.iter().filter(|_| !usage.enough) {
        let reclaims = verb == StorageVerb::Reclaim;
        let found = match step {
            Step::Compress(files) if reclaims => walk.find(files, Fate::Compress),
            Step::Trash(files) if reclaims => walk.find(files, Fate::Trash),
            Step::Purge(files) if verb == StorageVerb::Purge => walk.find(files, Fate::Purge),
            Step::Holders(services) if reclaims => {
                steps.push(PlannedStep { step: step.clone(), files: Vec::new(), held: held(services) });
                continue;
            }
            _ => continue,
        };
        let files = found.into_iter().map(|file| {
            let form = match step {
                Step::Compress(_) => Some(Form::Compressed),
                Step::Trash(_) => Some(Form::Trash(name_in_trash(name, salt, &file))),
                _ => None,
            };
            Planned { file, form }
        });
        steps.push(PlannedStep { step: step.clone(), files: files.collect(), held: 0 });
    }
    let items = steps.iter().flat_map(|step| &step.files).filter_map(|planned| {
        let Planned { file, form } = planned;
        form.clone().map(|form| Item { path: file.path.clone(), mark: file.mark, form })
    });
    let items: Vec<Item> = items.collect();
    let to_trash = items.iter().any(|item| matches!(item.form, Form::Trash(_)));
    let undo = (!items.is_empty()).then(|| StorageUndo {
        root: root.which.1,
        trash: trash.filter(|_| to_trash).map(|trash| trash.which.1),
        items,
    });
    Ok(PreparedStorage {
        verb,
        name: name.clone(),
        steps,
        root: root.which,
        trash: trash.map(|trash| trash.which),
        usage,
        left: walk.left,
        undo,
        gone: BTreeSet::new(),
    })
}

/// `app.log.3-5d41402a`: the name that a person looks for in front, and one that nothing has.
fn name_in_trash(storage: &Name, salt: u64, file: &Found) -> String {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let cut = name.floor_char_boundary(200);
    let id = Digest::of(format!("{storage} {salt} {}", file.path).as_bytes());
    format!("{}-{}", name.get(..cut).unwrap_or_default(), id.short())
}
