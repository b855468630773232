//! What Guardian and the worker say to each other: one line of JSON each.
//!
//! The job goes in on the worker's standard input and not in its arguments because it holds the command's environment, and
//! an environment may hold a secret: it is never on a disk and never in `ps`. The input then stays open: its end says that
//! Guardian is gone, and the worker ends everything.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::capability::keeper::identity::Identity;
use crate::capability::keeper::order::Order;
use crate::model::ExitStatus;

/// The longest line of either side: an environment and a command line are a few kilobytes, an output at most 256, which
/// JSON can make six times as long.
pub(super) const LONGEST: u64 = 2 * 1024 * 1024;

/// What is to be run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) timeout_ms: u64,
}

impl Job {
    pub(super) fn receive(from: impl BufRead) -> std::io::Result<Self> {
        let mut line = Vec::new();
        from.take(LONGEST).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    /// It could not be started; nothing runs.
    Fault(String),
    /// It runs.
    Started(Identity),
    /// It has ended, and so has everything it started.
    Ended(Ended),
}

/// How a command ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    /// None: the kernel did not tell.
    pub(super) exit: Option<ExitStatus>,
    /// Its time was up, and it was ended.
    pub(super) late: bool,
    /// Something that it started could not be ended.
    pub(super) left: bool,
    pub(super) output: String,
    pub(super) output_bytes: u64,
    pub(super) millis: u64,
}

/// Says one thing.
pub(super) fn say(what: &impl Serialize, mut to: impl Write) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}
