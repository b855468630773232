//! What can go wrong with the trail, and what to do about it.

use std::path::PathBuf;

use crate::durable::DurableError;
use crate::model::LimitHit;

/// Why the trail did not do what was asked. One line each: what, where, how to mend.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused, outside a batch.
    #[error("cannot {act} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file beside the segments could not be read or written.
    #[error(transparent)]
    File(#[from] DurableError),
    /// The trail stopped for the life of this process. Nothing acts after it.
    #[error("the audit trail stopped: {reason}; nothing acts until guardian is started again")]
    Poisoned {
        /// The first fault, with its path.
        reason: String,
    },
    /// The segments have no room. Not for ever: it goes on by itself once there is space.
    #[error("the audit trail has no room: {what}; free space on its file system, it goes on by itself")]
    NoSpace {
        /// What had to stay out.
        what: String,
    },
    /// Another process writes the trail.
    #[error("`{}` is held by process {pid}, which writes the audit trail; wait for it, or wait longer: with `wait` under [audit], or `--wait` of `run` and `undo`", path.display())]
    Held {
        /// The lock.
        path: PathBuf,
        /// Who holds it; 0 if it did not say.
        pid: u32,
    },
    /// Bytes that were durable are not as they were written.
    #[error(
        "`{}` is damaged at byte {offset}: {what}; look at the disk and put the files back if you can; the last way on is `guardian audit recover --reason WHY`",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// The trail is not the one that its own signed checkpoint or snapshot speaks of.
    #[error(
        "the audit trail does not match `{}`: {what}; if a backup was restored, put back the newer trail, or go on with `guardian audit recover --reason WHY`",
        path.display()
    )]
    Behind {
        /// The checkpoint or snapshot.
        path: PathBuf,
        /// What does not match.
        what: String,
    },
    /// A checkpoint or key is not well-formed or not signed by the log's key.
    #[error("`{}` {what}; look at the disk and put the files back if you can; the last way on is `guardian audit recover --reason WHY`", path.display())]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no trail.
    #[error("there is no audit trail at `{}`; make one with `guardian init`", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// There was a trail: the folder of keys is not empty.
    #[error(
        "the audit trail at `{}` is gone; put it back if you can, or go on with `guardian audit recover --reason WHY`",
        path.display()
    )]
    Lost {
        /// Where it was.
        path: PathBuf,
    },
    /// A recovery or a fork did not come to its end: the trail that is there lacks what it was to take over.
    #[error(
        "a successor of the audit trail was begun and not finished, as `{}` says; run `guardian audit recover --reason` again",
        path.display()
    )]
    Unfinished {
        /// What says so.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is an audit trail at `{}` already; it is never overwritten", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// A record would be larger than a record may be.
    #[error("a record of {bytes} bytes is too large: the most is 65535")]
    TooLarge {
        /// How large it would be.
        bytes: usize,
    },
    /// A record could not be written as JSON.
    #[error("a record cannot be written as JSON: {0}")]
    Encoding(#[from] serde_json::Error),
    /// A playbook has spent its daily share of the trail.
    #[error("{0}")]
    BudgetSpent(LimitHit),
    /// Checkpoints could not be published for too long; running runs go on, new ones do not start.
    #[error("checkpoints were not published since record {since}: {reason}; no new run starts until they are")]
    Unpublished {
        /// The size of the last published checkpoint.
        since: u64,
        /// Why the last attempt failed.
        reason: String,
    },
    /// An option is out of bounds.
    #[error("{0}")]
    Option(String),
    /// No such record.
    #[error("there is no record {seq}; the trail has {size} records, numbered from 0")]
    NoRecord {
        /// The number asked for.
        seq: u64,
        /// How many there are.
        size: u64,
    },
}

pub(super) fn io(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.into();
    move |source| AuditError::Io { act, path, source }
}

/// Why a batch did not become durable. It goes to every caller of the batch, so it can be cloned.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// For good.
    Poison(String),
    /// Until there is space.
    NoSpace(String),
}

impl From<Failure> for AuditError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Poison(reason) => Self::Poisoned { reason },
            Failure::NoSpace(what) => Self::NoSpace { what },
        }
    }
}
