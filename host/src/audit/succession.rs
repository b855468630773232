//! The lawful ways on: after damage, after a restored backup, on a cloned machine.
//!
//! A trail that does not hold is never repaired in place, because a repaired trail and a forged one look alike. It gets a
//! successor: a new log with a new key, whose first record names the old checkpoint, how much could be read and how much
//! could not, who decided that, and why. The old files are moved to `audit/old/`, never deleted. Taken over is what
//! [`super::inheritance`] says, as far as anything readable knows it, and the latest time seen. A trail that holds is not
//! recovered: its successor would only hide where it came from.
//!
//! It can be interrupted at any point and started again: `audit/old/pending` says which move is under way, and stands
//! until the marks are durable on the new trail. While it stands no trail is opened or made: one without the marks would
//! take older releases in.
//!
//! Where records may be lost, runs may have left undo material that no record speaks of any more. The first record says until
//! when; what is older stays until a person has looked at it.

use std::sync::Arc;

use super::checkpoint::{CHECKPOINT, LogKey, PRIVATE_KEY};
use super::error::{AuditError, io};
use super::frame::HEADER_BYTES;
use super::lock::Lock;
use super::opening;
use super::options::{AuditOptions, Places};
use super::projection::State;
use super::reader::Reader;
use super::record::{Body, Record, SuccessorKind};
use super::scan::{self, End, Walk};
use super::snapshot::{SNAPSHOT, Snapshot};
use super::trail::Trail;
use crate::durable::{DurableError, Folder};
use crate::model::{Actor, Clock, RunId};

const OLD: &str = "old";
const PENDING: &str = "pending";

/// The most of an old checkpoint that goes into the first record.
const LARGEST_OLD_CHECKPOINT: u64 = 8 * 1024;

/// The longest reason in bytes: a paragraph.
const LONGEST_REASON: usize = 1024;

/// What became of the old trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Where the old files lie now.
    pub kept: std::path::PathBuf,
    /// Records of it that could be read.
    pub readable: u64,
    /// Records that its checkpoint or its snapshot speaks of and that could not be read.
    pub lost: u64,
    /// How many records its checkpoint or its snapshot speaks of; none if neither was there: then nobody knows how many
    /// were lost.
    pub known: Option<u64>,
    /// Playbooks whose high-water mark was taken over.
    pub marks: usize,
    /// Runs that were taken over.
    pub runs: usize,
    /// Plans that waited for people: they are over.
    pub waited: usize,
    /// Whether undo material may be there that no record speaks of any more.
    pub blind: bool,
}

/// A record that takes something over, and the call it belongs to.
pub(super) type Taken = (Option<RunId>, Option<u32>, Body);

impl Trail {
    /// Begins a new trail after one that is damaged, lost, or was put back to an earlier state.
    ///
    /// # Errors
    /// When the reason is empty, the trail holds, another process writes it, or a file cannot be moved or made.
    pub fn recover(
        options: &AuditOptions,
        reason: &str,
        actor: Actor,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Succession), AuditError> {
        succeed(options, SuccessorKind::Recover, reason, actor, clock)
    }

    /// Begins a new trail on a machine that was cloned, so that two machines do not write one log.
    ///
    /// # Errors
    /// As [`Trail::recover`]; also when the trail does not hold, because then recovering is what is meant.
    pub fn fork(
        options: &AuditOptions,
        reason: &str,
        actor: Actor,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Succession), AuditError> {
        succeed(options, SuccessorKind::Fork, reason, actor, clock)
    }
}

fn succeed(
    options: &AuditOptions,
    kind: SuccessorKind,
    reason: &str,
    actor: Actor,
    clock: Arc<dyn Clock>,
) -> Result<(Trail, Succession), AuditError> {
    options.check()?;
    if reason.trim().is_empty() || reason.len() > LONGEST_REASON {
        return Err(AuditError::Option(format!(
            "give a --reason of 1 to {LONGEST_REASON} bytes: it stands on the trail"
        )));
    }
    let places = Places::make(&options.var)?;
    let lock = Lock::take(&places.audit, options.lock_wait)?;
    let old = places.audit.make_sub(OLD)?;
    if !old.dir().exists(PENDING) {
        let opened = LogKey::load(&places.keys).and_then(|key| opening::read(&places, &key));
        match kind {
            SuccessorKind::Fork => drop(opened?),
            SuccessorKind::Recover => refuse_if_it_holds(options, opened.is_ok())?,
        }
    }
    let kept = set_aside(&places, &old, clock.as_ref())?;
    let salvaged = salvage(&kept)?;
    // The folders were moved away: make new ones.
    let places = Places::make(&options.var)?;
    let lost = salvaged.known.unwrap_or(0).saturating_sub(salvaged.readable);
    // A trail that does not hold may have lost more than its last checkpoint speaks of.
    let blind = kind == SuccessorKind::Recover || lost > 0;
    let now = clock.now().max(salvaged.state.last_seen());
    let blind_until = if blind { now } else { salvaged.state.blind_until() };
    let succession = Succession {
        kept: kept.path().to_owned(),
        readable: salvaged.readable,
        lost,
        known: salvaged.known,
        marks: salvaged.state.playbooks().count(),
        runs: salvaged.state.runs().len(),
        waited: salvaged.state.waiting().len(),
        blind,
    };
    let first = Body::Successor {
        kind,
        reason: reason.to_owned(),
        old_checkpoint: salvaged.checkpoint,
        readable: succession.readable,
        lost: succession.lost,
        in_doubt: salvaged.state.open_numbers(),
        last_seen: salvaged.state.last_seen(),
        kept: kept.path().display().to_string(),
        blind_until: Some(blind_until).filter(|until| until.millis() > 0),
    };
    let taken = salvaged.state.handed_on(clock.now());
    let trail = Trail::create_locked(options, places, lock, actor, clock, Some(first))?;
    for (run, step, body) in taken {
        trail.append(run.as_ref(), step, body)?;
    }
    trail.flush()?;
    trail.publish()?;
    old.remove(PENDING)?;
    Ok((trail, succession))
}

/// Recovering is for a trail that does not hold; one that does is as good as any that would follow it.
fn refuse_if_it_holds(options: &AuditOptions, opens: bool) -> Result<(), AuditError> {
    match Reader::open(&options.var).and_then(|reader| reader.verify()) {
        Ok(verified) if opens => Err(AuditError::Option(format!(
            "the audit trail holds: it opens and its {} records verify, so there is nothing to recover from; on a cloned machine `guardian audit fork --reason WHY` begins a trail of its own",
            verified.records
        ))),
        _ => Ok(()),
    }
}

/// Whether no successor is under way; asked under the lock, so that one that is being made right now is waited for.
pub(super) fn finished(audit: &Folder) -> Result<(), AuditError> {
    let path = audit.path().join(OLD).join(PENDING);
    match audit.dir().symlink_metadata(std::path::Path::new(OLD).join(PENDING)) {
        // The marks come over before anything is accepted by them.
        Ok(_) => Err(AuditError::Unfinished { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("look at", path)(error)),
    }
}

/// Moves everything of the old trail into one folder; goes on where an interrupted move stopped.
fn set_aside(places: &Places, old: &Folder, clock: &dyn Clock) -> Result<Folder, AuditError> {
    let name = match old.read_bounded(PENDING, 64) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.is_not_found() => {
            let name = format!("{:015}", clock.now().millis());
            old.replace(PENDING, name.as_bytes())?;
            name
        }
        Err(error) => return Err(error.into()),
    };
    let kept = old.make_sub(&name)?;
    // The snapshot goes first and the key last: until the key is gone the old log can still be told by it.
    rename(&places.state, SNAPSHOT, &kept, SNAPSHOT)?;
    rename(&places.audit, "seg", &kept, "seg")?;
    rename(&places.audit, "log", &kept, "log")?;
    rename(&places.keys, PRIVATE_KEY, &kept, PRIVATE_KEY)?;
    Ok(kept)
}

/// Moves a file or folder to the first free name; one that is not there is no error.
fn rename(from: &Folder, name: &str, to: &Folder, as_name: &str) -> Result<(), AuditError> {
    let mut target = as_name.to_owned();
    let mut more = 0_u32;
    while to.dir().exists(&target) {
        more += 1;
        target = format!("{as_name}.{more}");
    }
    match from.dir().rename(name, to.dir(), &target) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("move", from.path().join(name))(error)),
    }
    for folder in [from, to] {
        crate::durable::sync_dir(folder.dir()).map_err(io("sync", folder.path()))?;
    }
    Ok(())
}

struct Salvaged {
    state: State,
    readable: u64,
    known: Option<u64>,
    checkpoint: String,
}

/// Reads what can be read of the old trail: each segment for itself, up to the first thing that does not hold.
fn salvage(kept: &Folder) -> Result<Salvaged, AuditError> {
    let mut salvaged = Salvaged { state: State::default(), readable: 0, known: None, checkpoint: String::new() };
    let not_there = |error: &DurableError| error.is_not_found();
    match kept.sub("seg") {
        Ok(segments) => {
            for first in scan::segments(&segments)? {
                salvaged.segment(&segments, first);
            }
        }
        Err(error) if not_there(&error) => {}
        Err(error) => return Err(error.into()),
    }
    if let Ok(bytes) = kept.sub("log").and_then(|log| log.read_bounded(CHECKPOINT, LARGEST_OLD_CHECKPOINT)) {
        salvaged.checkpoint = String::from_utf8_lossy(&bytes).into_owned();
        // Unverified on purpose: it is quoted, and the number only says how much is missing at most.
        salvaged.known = salvaged.checkpoint.lines().nth(1).and_then(|size| size.parse().ok());
    }
    if let Some(snapshot) = LogKey::load(kept).ok().and_then(|key| Snapshot::load(kept, &key)) {
        // With the segments gone as a whole it is the last that knows.
        let size = snapshot.tree.size();
        salvaged.known = salvaged.known.max(Some(size));
        if salvaged.readable < size {
            salvaged.state.raise(&snapshot.state);
        }
    }
    Ok(salvaged)
}

impl Salvaged {
    fn segment(&mut self, segments: &Folder, first: u64) {
        let Ok((file, header, path)) = scan::open(segments, first) else { return };
        let mut walk = Walk::new(file, path, HEADER_BYTES, header.before);
        let walked = walk.run(
            &mut |stored| {
                self.readable += 1;
                if let Ok(record) = Record::decode(stored.bytes) {
                    self.state.apply(&record, stored.bytes.len());
                }
                Ok(())
            },
            &mut |_, _| Ok(()),
        );
        if let Ok(End::Broken { offset, what }) = walked {
            tracing::warn!("`{}` could be read up to byte {offset}: {what}", walk.path().display());
        }
    }
}
