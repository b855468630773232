//! Opening a trail for writing: what a start believes, and what it refuses.
//!
//! The start reads from the last snapshot that holds, or from the first segment, to the end, recomputing the tree, and
//! then asks three questions. Does the tree pass through the signed checkpoint, and through the snapshot? If not, the
//! segments are not the ones that were signed: a restored backup, a lost tail. Does anything follow the last batch that
//! holds? If a later batch holds, what lies between was durable and is damaged; if none does, a crash tore the last batch,
//! which nobody was told was durable: it is zeroed, and the trail says how many bytes went. Is everything before the last
//! segment whole? Only the last one can be torn.
//!
//! Older bytes are not read here: `guardian audit verify` reads all of them.

use std::path::PathBuf;

use super::checkpoint::{CHECKPOINT, Checkpoint, LogKey};
use super::commit::LARGEST_BATCH;
use super::error::AuditError;
use super::options::Places;
use super::record::Record;
use super::scan::{self, End, Stored, Tail, Walk};
use super::snapshot::{self, Snapshot};
use super::tree::Root;

/// A signed or authenticated statement about the trail that the tree must pass through.
pub(super) struct Claim {
    size: u64,
    root: Root,
    path: PathBuf,
    met: bool,
}

impl Claim {
    fn see(&mut self, size: u64, root: &Root) {
        self.met |= self.size == size && self.root == *root;
    }
}

/// Where the trail ends, and what it says up to there.
pub(super) struct Opened {
    pub(super) at: Snapshot,
    pub(super) checkpoint: Checkpoint,
    /// Whether anything was read that the snapshot did not cover.
    pub(super) read: u64,
    /// One after the last byte of a torn batch; `at.offset` if there is none.
    pub(super) torn_end: u64,
}

/// Reads the trail to its end.
pub(super) fn read(places: &Places, key: &LogKey) -> Result<Opened, AuditError> {
    let checkpoint = match Checkpoint::load(&places.log, &key.public()) {
        Err(AuditError::File(error)) if error.is_not_found() => {
            let path = places.log.path().join(CHECKPOINT);
            return Err(AuditError::Checkpoint { path, what: "is not there".to_owned() });
        }
        checkpoint => checkpoint?,
    };
    let mut claims = vec![Claim {
        size: checkpoint.size(),
        root: *checkpoint.root(),
        path: places.log.path().join(CHECKPOINT),
        met: checkpoint.size() == 0,
    }];
    let start = start(places, key, &checkpoint, &mut claims)?;
    let begun = start.tree.size();
    if let Ok(root) = start.tree.root() {
        claims.iter_mut().for_each(|claim| claim.see(begun, &root));
    }
    let (at, torn_end) = walk(places, key.origin(), start, &mut claims)?;
    if let Some(claim) = claims.iter().find(|claim| !claim.met) {
        let what = if claim.size > at.tree.size() {
            format!("it speaks of {} records and the trail has {}", claim.size, at.tree.size())
        } else {
            format!("the first {} records are not the ones it was made of", claim.size)
        };
        return Err(AuditError::Behind { path: claim.path.clone(), what });
    }
    Ok(Opened { read: at.tree.size() - begun, at, checkpoint, torn_end })
}

/// Where to begin: at the snapshot if the segments and the checkpoint bear it out.
fn start(
    places: &Places,
    key: &LogKey,
    checkpoint: &Checkpoint,
    claims: &mut Vec<Claim>,
) -> Result<Snapshot, AuditError> {
    let Some(snapshot) = Snapshot::load(&places.state, key) else { return Ok(Snapshot::genesis()) };
    if snapshot.tree.size() <= checkpoint.size() && snapshot.stands(&places.segments)? {
        return Ok(snapshot);
    }
    // It holds, so the trail was that long once: read everything, and let it pass through here.
    let root = snapshot.tree.root().unwrap_or_default();
    claims.push(Claim { size: snapshot.tree.size(), root, path: snapshot::path(&places.state), met: false });
    Ok(Snapshot::genesis())
}

fn walk(places: &Places, origin: &str, mut at: Snapshot, claims: &mut [Claim]) -> Result<(Snapshot, u64), AuditError> {
    let all = scan::segments(&places.segments)?;
    let Some(begin) = all.iter().position(|first| *first == at.segment) else {
        let path = places.segments.path().join(scan::segment_name(at.segment));
        return Err(AuditError::Damaged { path, offset: 0, what: "the segment is not there".to_owned() });
    };
    let rest = all.get(begin..).unwrap_or_default();
    let mut torn_end = at.offset;
    for (index, first) in rest.iter().enumerate() {
        let (file, header, path) = scan::open(&places.segments, *first)?;
        let damaged = |offset: u64, what: String| AuditError::Damaged { path: path.clone(), offset, what };
        if header.origin != origin {
            return Err(damaged(0, format!("it belongs to the log `{}`", crate::model::escape(&header.origin))));
        }
        if index > 0 {
            if header.before.size() != at.tree.size() || header.before.root().ok() != at.tree.root().ok() {
                return Err(damaged(0, "it does not follow the segment before it".to_owned()));
            }
            at.segment = *first;
            at.offset = super::frame::HEADER_BYTES;
        }
        let mut walk = Walk::new(file, path.clone(), at.offset, at.tree.clone());
        let state = &mut at.state;
        let mut on_record = |stored: Stored<'_>| {
            let record = Record::decode(stored.bytes)
                .map_err(|_| damaged(stored.offset, "the record is not JSON".to_owned()))?;
            state.apply(&record, stored.bytes.len());
            Ok(())
        };
        let end = walk.run(&mut on_record, &mut |size, root| {
            claims.iter_mut().for_each(|claim| claim.see(size, root));
            Ok(())
        })?;
        let is_last = index + 1 == rest.len();
        // What a claim covers was durable: it cannot be torn.
        let covered = claims.iter().any(|claim| claim.size > walk.tree.size());
        torn_end = match end {
            End::Broken { offset, what } if covered || !is_last => return Err(damaged(offset, what)),
            end => ending(&walk, end, is_last)?,
        };
        at.offset = walk.offset;
        at.tree = walk.tree;
    }
    Ok((at, torn_end))
}

/// Tells a torn batch from damage; one after the last byte of a torn batch, or the end of the last batch.
fn ending(walk: &Walk, end: End, is_last: bool) -> Result<u64, AuditError> {
    let damaged = |offset: u64, what: String| AuditError::Damaged { path: walk.path().to_owned(), offset, what };
    match end {
        End::Clean if !is_last => Ok(walk.offset),
        // A torn batch may have lost its first page, so zeros prove nothing until there is no room for a batch.
        End::Clean => match walk.tail(u64::try_from(LARGEST_BATCH).unwrap_or(u64::MAX))? {
            Tail { later: true, .. } => Err(damaged(walk.offset, "a batch is gone that later ones follow".to_owned())),
            Tail { end, .. } => Ok(end),
        },
        End::Broken { offset, what } => match walk.tail(u64::MAX)? {
            Tail { later: true, .. } => Err(damaged(offset, what)),
            Tail { end, .. } => Ok(end),
        },
    }
}
