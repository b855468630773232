//! The operator's named resources, and the settings beside them: everything that `guardian.toml` says.
//!
//! A playbook can name nothing that does not stand here. The file is read once, strictly: an unknown key, a missing unit
//! or a value out of bounds refuses the start with the line and the nearest known name, because a typo in `healed` must
//! not quietly mean "no check". `guardian.d/*.toml` may add resources, never settings, and never a name twice.
//!
//! Who can write these files decides what is healed and how, so a file or folder that others can write refuses the
//! start, as sshd does. What this room does not do: touch any of the resources it names.

mod command;
mod config;
mod definition;
mod duration;
mod file;
mod home;
mod lookup;
mod person;
mod resource;
mod settings;
mod shape;
mod storage;

pub use command::Command;
pub use config::Config;
pub use definition::Definition;
pub use duration::parse_duration;
pub use home::Home;
pub use person::{KeyText, Person};
pub use resource::{AfterFailure, Attempts, Check, CommandLine, Healed, Inventory, Look, Probe, Service, Supervisor};
pub use settings::{AuditSettings, Configuration, DEFAULT_CONFIGURATION, SystemdSettings};
pub use storage::{Files, Share, Step, Storage};

use std::path::PathBuf;

use crate::durable::DurableError;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file or folder cannot be read, or others can write it.
    #[error(transparent)]
    File(#[from] DurableError),
    /// There is no Guardian home there.
    #[error("there is no Guardian home at `{}`; run `guardian init{flag}`{or}", path.display())]
    NoHome {
        /// Where it was looked for.
        path: PathBuf,
        /// The option that names it; empty for the home of the machine.
        flag: String,
        /// What else may be meant, if nobody named a home.
        or: &'static str,
    },
    /// Guardian's own folder is gone, and the operator's is there.
    #[error(
        "`{}` is gone, and with it keys, playbooks and the audit trail: put it back from a backup; without one, move `{}` aside, run `guardian init{flag}` and move it back",
        var.display(), etc.join("guardian.toml").display()
    )]
    NoVar {
        /// Guardian's own folder.
        var: PathBuf,
        /// The operator's.
        etc: PathBuf,
        /// The option that names the home; empty for the home of the machine.
        flag: String,
    },
    /// What a file says is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A resource is named that is not there.
    #[error("there is no `{name}` in the inventory{hint}")]
    Unknown {
        /// As it was given, escaped.
        name: String,
        /// The nearest name, or how to list them.
        hint: String,
    },
}
