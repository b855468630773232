//! Making room: the planned steps in order of harm, file by file, until enough is free.
//!
//! After every file the file system is asked again, because others write and remove meanwhile, and because what a file
//! gives back is known only then. A file that has changed, or for whose new form there is no room, is passed over. A step
//! that does not work ends the act: what it had taken is in the undo journal. Time that runs out ends it as well, and is
//! no failure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::folder::{Folder, shown};
use super::plan::{Planned, PlannedStep, PreparedStorage};
use super::take::{Took, parts};
use super::undo::Form;
use super::usage::{lacks_bytes, usage};
use super::{StorageHand, holders, in_time, take, words};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::inventory::{Step, Storage};
use crate::model::{Name, Outcome, Reclaimed, ServiceVerb};

/// What is kept of a call for its last look and its reply.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// The folders and the time of one act.
struct Act<'a> {
    storage: &'a Storage,
    root: Folder,
    trash: Option<Folder>,
    deadline: Deadline,
    done: Reclaimed,
    /// Steps with files for whose new form there was no room.
    cramped: BTreeSet<String>,
}

impl StorageHand {
    pub(super) fn make_room(&self, prepared: &PreparedStorage, deadline: Deadline) -> Result<Reclaimed, HandError> {
        let name = prepared.name();
        let storage = self.storage(name)?;
        in_time(name, deadline)?;
        let _alone = self.alone(name)?;
        let root = Folder::open(&storage.path)?;
        let moves = prepared.steps.iter().any(|step| matches!(step.step, Step::Trash(_)) && !step.files.is_empty());
        let trash = if moves { self.trash(storage, &root)? } else { None };
        let changed = trash.as_ref().is_some_and(|trash| Some(trash.which) != prepared.trash);
        if root.which != prepared.root || changed {
            let what = format!("a folder of storage `{name}` was replaced meanwhile; nothing was done");
            return Err(HandError::Busy { what });
        }
        let usage = usage(storage, &root)?;
        let done = Reclaimed { bytes: 0, files: 0, steps: Vec::new(), usage };
        let mut act = Act { storage, root, trash, deadline, done, cramped: BTreeSet::new() };
        let mut late = false;
        loop {
            let (files, cramped) = (act.done.files, std::mem::take(&mut act.cramped));
            for step in &prepared.steps {
                if act.done.usage.enough || late {
                    break;
                }
                late = self.step(step, &mut act)?;
            }
            // What a later step freed may be the room that an earlier one lacked.
            if act.done.usage.enough || late || act.cramped.is_empty() || act.done.files == files {
                act.cramped.extend(cramped);
                break;
            }
        }
        if late && act.done.files == 0 {
            return Err(HandError::Timeout { what: format!("room on storage `{name}`") });
        }
        if !act.done.usage.enough {
            let cramped = act.cramped.iter().map(|step| format!("{step}: no room to write the new form of some files"));
            act.done.steps.extend(cramped);
        }
        Ok(act.done)
    }

    /// Goes one step, until enough is free. True if time ran out.
    fn step(&self, step: &PlannedStep, act: &mut Act<'_>) -> Result<bool, HandError> {
        let before = (act.done.bytes, act.done.files);
        let stepped = match &step.step {
            Step::Holders(services) => self.reload(services, act).map(|()| false),
            _ => act.take(step),
        };
        let words = words::step(&step.step);
        if (act.done.bytes, act.done.files) != before && !act.done.steps.contains(&words) {
            act.done.steps.push(words);
        }
        stepped.map_err(|error| act.failed(step, error))
    }

    /// The deleted files that services hold on a device.
    pub(super) fn held(&self, device: u64, services: &[Name], deadline: Deadline) -> BTreeMap<u64, u64> {
        let processes = services.iter().flat_map(|service| self.services.processes(service, deadline));
        holders::held(device, &processes.collect::<Vec<_>>())
    }

    /// Lets services close what was deleted. One that holds nothing is left alone.
    fn reload(&self, services: &[Name], act: &mut Act<'_>) -> Result<(), HandError> {
        let device = act.root.which.0;
        for service in services {
            let one = std::slice::from_ref(service);
            let before = self.held(device, one, act.deadline);
            if before.is_empty() || act.done.usage.enough {
                continue;
            }
            let ready = self.services.prepare(ServiceVerb::Reload, service, act.deadline);
            let ready = ready.map_err(|error| HandError::Failed { what: error.message })?;
            match self.services.perform(ready, act.deadline) {
                Outcome::Done { .. } => {}
                Outcome::Failed { error } => return Err(HandError::Failed { what: error.message }),
                Outcome::Indeterminate { error } => return Err(HandError::Unsure { what: error.message }),
            }
            let (files, bytes) = holders::closed(&before, act.deadline, || self.held(device, one, act.deadline));
            act.took(files, bytes)?;
        }
        Ok(())
    }
}

impl Act<'_> {
    /// Takes the files of a step until enough is free. True if time ran out.
    fn take(&mut self, step: &PlannedStep) -> Result<bool, HandError> {
        for planned in &step.files {
            // Compressing gives no inode back.
            let useless = matches!(step.step, Step::Compress(_)) && !lacks_bytes(self.storage, &self.done.usage);
            if self.done.usage.enough || useless {
                break;
            }
            if self.deadline.remaining() <= LAST_LOOK {
                return Ok(true);
            }
            let took = self.take_one(planned).map_err(|error| HandError::Failed {
                what: format!("`{}`: {}", shown(Path::new(&planned.file.path)), explained(error)),
            })?;
            match took {
                Took::Freed(bytes) => self.took(1, bytes)?,
                Took::Skipped => {}
                Took::Cramped => drop(self.cramped.insert(words::step(&step.step))),
                Took::Late => return Ok(true),
            }
        }
        Ok(false)
    }

    fn take_one(&self, planned: &Planned) -> Result<Took, Errno> {
        let Planned { file, form } = planned;
        let folder = match self.root.below(Path::new(parts(&file.path).0)) {
            Ok(folder) => folder,
            // It is not what was looked at any more: gone, a link, a mount.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => return Ok(Took::Skipped),
            Err(error) => return Err(error),
        };
        match (form, &self.trash) {
            (Some(Form::Compressed), _) => take::compress(&folder, file, self.deadline),
            (Some(Form::Trash(name)), Some(trash)) => take::trash(&folder, file, trash, name, self.deadline),
            (Some(Form::Trash(_)), None) => Ok(Took::Skipped),
            (None, _) => take::purge(&folder, file),
        }
    }

    fn took(&mut self, files: u64, bytes: u64) -> Result<(), HandError> {
        self.done.files = self.done.files.saturating_add(files);
        self.done.bytes = self.done.bytes.saturating_add(bytes);
        self.done.usage = usage(self.storage, &self.root)?;
        Ok(())
    }

    fn failed(&self, step: &PlannedStep, error: HandError) -> HandError {
        let taken = match (&step.step, self.done.files) {
            (_, 0) => "nothing was taken".to_owned(),
            (Step::Purge(_), files) => format!("{files} files were removed before, for good"),
            (_, files) => format!("{files} files were taken before and can be put back"),
        };
        let what = format!("step `{}` did not work: {error}; {taken}", crate::model::escape(&words::step(&step.step)));
        match error {
            HandError::Unsure { .. } => HandError::Unsure { what },
            _ => HandError::Failed { what },
        }
    }
}

fn explained(error: Errno) -> String {
    let hint = match error {
        Errno::PERM | Errno::ACCESS => {
            "; it may be immutable (see `lsattr`), or Guardian has to run as root to keep its owner"
        }
        Errno::ROFS => "; the file system is mounted for reading only, see `dmesg` for why",
        Errno::IO => "; the disk may be failing, see `dmesg`",
        _ => "",
    };
    format!("{}{hint}", std::io::Error::from(error))
}
