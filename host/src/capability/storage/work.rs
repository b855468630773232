//! Making room: the planned steps in order of harm, file by file, until enough is free.
//!
//! After every file the file system is asked again, because others write and remove meanwhile, and because what a file
//! gives back is known only then. Whatever is wrong with one file, it is left and named, and the others are taken: the folder
//! may belong to whoever wants the act to end ([`left`](super::left)). What is wrong with the file system or this process ends
//! the act; what was taken by then is in the undo journal. Time that runs out ends it as well, and is no failure; no file and
//! no step takes more than half of what is left of it while others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::left::LeftOver;
use super::plan::{Planned, PlannedStep, PreparedStorage};
use super::take::{CHANGED, Fault, Took, parts};
use super::undo::Form;
use super::usage::{missing_bytes, usage};
use super::{StorageHand, holders, in_time, take, words};
use crate::capability::deadline::Deadline;
use crate::capability::error::HandError;
use crate::capability::folder::{Folder, shown};
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
    /// When the files of this step have had their share of the time.
    until: Deadline,
    /// Whether time ran out for a file or a step.
    hurried: bool,
    done: Reclaimed,
    /// Steps with files for whose new form there was no room.
    cramped: BTreeSet<String>,
    /// What was left, and why.
    left: LeftOver,
    /// Folders in which nothing more is begun.
    shut: BTreeSet<String>,
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
        let done = Reclaimed { bytes: 0, files: 0, steps: Vec::new(), left: Vec::new(), usage };
        let left = prepared.left.clone();
        let (cramped, shut) = (BTreeSet::new(), BTreeSet::new());
        let mut act =
            Act { storage, root, trash, deadline, until: deadline, hurried: false, done, cramped, left, shut };
        let last = prepared.steps.iter().rposition(|step| !step.files.is_empty());
        let late = |act: &Act<'_>| act.deadline.remaining() <= LAST_LOOK;
        loop {
            let (files, cramped) = (act.done.files, std::mem::take(&mut act.cramped));
            for (number, step) in prepared.steps.iter().enumerate() {
                if act.done.usage.enough || late(&act) {
                    break;
                }
                act.until = share(act.deadline, last > Some(number));
                self.step(step, &mut act)?;
            }
            // What a later step freed may be the room that an earlier one lacked.
            if act.done.usage.enough || late(&act) || act.cramped.is_empty() || act.done.files == files {
                act.cramped.extend(cramped);
                break;
            }
        }
        if act.hurried && act.done.files == 0 && !act.done.usage.enough {
            return Err(HandError::Timeout { what: format!("room on storage `{name}`") });
        }
        act.done.left = act.left.words();
        if act.left.faulty() && act.done.files == 0 && !act.done.usage.enough {
            return Err(HandError::Failed { what: format!("nothing was taken: {}", act.done.left.join("; ")) });
        }
        if !act.done.usage.enough {
            let cramped = act.cramped.iter().map(|step| format!("{step}: no room to write the new form of some files"));
            act.done.steps.extend(cramped);
        }
        Ok(act.done)
    }

    /// Goes one step, until enough is free or its time is up.
    fn step(&self, step: &PlannedStep, act: &mut Act<'_>) -> Result<(), HandError> {
        let before = (act.done.bytes, act.done.files);
        let stepped = match &step.step {
            Step::Holders(services) => self.reload(services, act),
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
            let reloaded = match self.services.prepare(ServiceVerb::Reload, service, act.deadline) {
                Ok(ready) => self.services.perform(ready, act.deadline),
                Err(error) => Outcome::Failed { error },
            };
            match reloaded {
                Outcome::Done { .. } => {}
                // It holds on to its files; those of the next step are other ones.
                Outcome::Failed { error } => {
                    act.left.fault(&format!("service.{service}"), error.message);
                    continue;
                }
                Outcome::Indeterminate { error } => return Err(HandError::Unsure { what: error.message }),
            }
            let (files, bytes) = holders::closed(&before, act.deadline, || self.held(device, one, act.deadline));
            act.took(files, bytes)?;
        }
        Ok(())
    }
}

impl Act<'_> {
    /// Takes the files of a step until enough is free or its time is up.
    fn take(&mut self, step: &PlannedStep) -> Result<(), HandError> {
        for (number, planned) in step.files.iter().enumerate() {
            // Compressing gives no inode back.
            let useless = matches!(step.step, Step::Compress(_)) && missing_bytes(self.storage, &self.done.usage) == 0;
            if self.done.usage.enough || useless {
                break;
            }
            if self.until.remaining() <= LAST_LOOK {
                self.hurried = true;
                break;
            }
            let path = &planned.file.path;
            let until = share(self.until, number + 1 < step.files.len());
            match self.take_one(planned, until) {
                Ok(Took::Freed(bytes)) => {
                    self.left.forget(path);
                    self.took(1, bytes)?;
                }
                Ok(Took::Left(why)) => self.left.note(path, why),
                Ok(Took::Cramped) => drop(self.cramped.insert(words::step(&step.step))),
                Ok(Took::Late) => {
                    self.hurried = true;
                    self.left.note(path, "takes longer than its share of this call's time");
                }
                Err(Fault::File(error)) => self.left.fault(path, explained(error)),
                Err(Fault::Folder(error)) => {
                    self.shut.insert(parts(path).0.to_owned());
                    self.left.fault(path, explained(error));
                }
                Err(Fault::System(error)) => {
                    let what = format!("`{}`: {}", shown(Path::new(path)), explained(error));
                    return Err(HandError::Failed { what });
                }
            }
        }
        Ok(())
    }

    fn take_one(&self, planned: &Planned, until: Deadline) -> Result<Took, Fault> {
        let Planned { file, form } = planned;
        if self.shut.contains(parts(&file.path).0) {
            return Ok(Took::Left("its folder kept what was made there"));
        }
        let folder = match self.root.below(Path::new(parts(&file.path).0)) {
            Ok(folder) => folder,
            // It is not what was looked at any more: gone, a link, a mount.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => return Ok(Took::Left(CHANGED)),
            Err(error) => return Err(error.into()),
        };
        match (form, &self.trash) {
            (Some(Form::Compressed), _) => take::compress(&folder, file, until),
            (Some(Form::Trash(name)), Some(trash)) => take::trash(&folder, file, trash, name, until),
            (Some(Form::Trash(_)), None) => Ok(Took::Left("there is no trash any more")),
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

/// What one of several may take of a time: half of what is left, or all of it if nothing comes after. A huge file that its
/// owner put there on purpose takes its own time, and not that of the others.
fn share(deadline: Deadline, others: bool) -> Deadline {
    if others { deadline.min(Deadline::after(deadline.remaining() / 2)) } else { deadline }
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
