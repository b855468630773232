//! What a resource is: plain data, checked when it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::{Command, Config, Storage};
use crate::model::{Name, PlaybookId, ResourceName};

/// Everything the operator has named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// `[service.NAME]`.
    pub services: BTreeMap<Name, Service>,
    /// `[storage.NAME]`.
    pub storages: BTreeMap<Name, Storage>,
    /// `[config.NAME]`.
    pub configs: BTreeMap<Name, Config>,
    /// `[command.NAME]`.
    pub commands: BTreeMap<Name, Command>,
    /// `[probe.NAME]`.
    pub probes: BTreeMap<Name, Probe>,
}

/// What becomes of what a run did when its target is not healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AfterFailure {
    /// It is left as it is, and a person is called.
    Leave,
    /// It is put back.
    Undo,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Who supervises it.
    pub supervisor: Supervisor,
    /// Groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// Whether hard rules may shield it; policies see it as `resource.protected`.
    pub protected: bool,
    /// What proves it healthy.
    pub check: Option<Check>,
    /// Which playbooks heal it, in order; empty: by trigger and priority.
    pub heal: Vec<PlaybookId>,
    /// When it counts as healed.
    pub healed: Healed,
    /// What becomes of effects on it when the target is not healed.
    pub unhealed: AfterFailure,
    /// How often healing may be tried.
    pub attempts: Attempts,
}

/// Who supervises a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Supervisor {
    /// systemd, by unit name: `unit = "nginx.service"`.
    Systemd {
        /// The unit.
        unit: String,
    },
    /// Guardian's own keeper: `command = [...]`.
    Process(CommandLine),
}

/// What Guardian's keeper runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandLine {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<String>,
    /// The user to run as; none: the user of Guardian.
    pub user: Option<String>,
    /// Where it starts; none: `/`.
    pub directory: Option<PathBuf>,
    /// Its whole environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// How long it may take to go down after SIGTERM before SIGKILL.
    pub stop_time: Duration,
    /// How long it must stay up to count as started.
    pub settle_time: Duration,
    /// The signal that makes it read its configuration again; none: it cannot.
    pub reload_signal: Option<i32>,
    /// The largest its output file may grow, in bytes; one older file is kept beside it.
    pub output_bytes: u64,
    /// The most files it may hold open (RLIMIT_NOFILE).
    pub open_files: u64,
}

/// Something to look at on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// How to look.
    pub check: Check,
    /// Groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// What it belongs to: policies see both in one `Target`.
    pub of: Option<ResourceName>,
}

/// How to look, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What to do.
    pub look: Look,
    /// How often a monitor looks.
    pub every: Duration,
    /// When a look without an answer has failed.
    pub timeout: Duration,
    /// A good answer slower than this is `DEGRADED`; none: never.
    pub slow: Option<Duration>,
    /// How many failed looks in a row make an incident.
    pub fail_after: u32,
}

/// One way to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Look {
    /// The supervisor's own word (`running`), for a service without an address.
    Supervisor,
    /// A TCP connection is accepted.
    Tcp {
        /// Where.
        address: SocketAddr,
    },
    /// A GET is answered with a status below 400, or with `status` exactly.
    Http {
        /// Where: `http://` only.
        url: String,
        /// The one status that is right; none: any below 400. Redirects are not followed.
        status: Option<u16>,
    },
}

/// When a resource counts as healed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// How many good looks in a row.
    pub successes: u32,
    /// How long failed looks do not count after the playbook is done.
    pub grace: Duration,
    /// When to give up, after the playbook is done.
    pub deadline: Duration,
}

/// How often healing may be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// At most so often ...
    pub attempts: u32,
    /// ... within this time, ...
    pub per: Duration,
    /// ... and not sooner than this after the last one.
    pub cooldown: Duration,
}
