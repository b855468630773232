//! The projection on disk, so that a start need not read the whole trail.
//!
//! `state/projection.json` is two lines of JSON: the code that authenticates the second, and the second: the state, the
//! place in the segments it belongs to, and the right edge of the tree there. It is believed only if the code holds, it
//! is of this log, and the batch that ends at that place has exactly that root. A snapshot that is missing, damaged or
//! forged costs a rebuild from the segments; it is never taken for "nothing happened yet". A snapshot that holds and is
//! ahead of the segments is proof that they were put back to an earlier state, and refuses the start.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checkpoint::LogKey;
use super::error::AuditError;
use super::frame::{self, Frame, HEADER_BYTES};
use super::projection::State;
use super::scan;
use super::tree::{Frontier, Root};
use crate::durable::Folder;
use crate::model::Digest;

/// The file under `state`.
pub(super) const SNAPSHOT: &str = "projection.json";

/// The most that is read: the quota counts of a machine with thousands of resources fit.
const LARGEST: u64 = 64 * 1024 * 1024;

/// 3: with what has overtaken the effects of runs that are not committed.
const FORMAT: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Code {
    #[serde(rename = "hmac-sha256")]
    code: Digest,
}

#[derive(Serialize, Deserialize)]
struct Stored<S> {
    format: u32,
    origin: String,
    size: u64,
    edge: Vec<Digest>,
    segment: u64,
    offset: u64,
    state: S,
}

/// A place in the trail, and what it says up to there.
pub(super) struct Snapshot {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) tree: Frontier,
    pub(super) state: State,
}

impl Snapshot {
    /// The beginning of the trail.
    pub(super) fn genesis() -> Self {
        Self { segment: 0, offset: HEADER_BYTES, tree: Frontier::default(), state: State::default() }
    }

    /// The snapshot of this log, if there is one that holds.
    pub(super) fn load(folder: &Folder, key: &LogKey) -> Option<Self> {
        let bytes = folder.read_bounded(SNAPSHOT, LARGEST).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let code: Code = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let content = bytes.get(end + 1..)?;
        if !key.mac_holds(content, code.code.as_bytes()) {
            return None;
        }
        let stored: Stored<State> = serde_json::from_slice(content).ok()?;
        if stored.format != FORMAT || stored.origin != key.origin() {
            return None;
        }
        let edge: Vec<Root> = stored.edge.iter().map(|hash| *hash.as_bytes()).collect();
        let tree = Frontier::from_edge(stored.size, &edge)?;
        Some(Self { segment: stored.segment, offset: stored.offset, tree, state: stored.state })
    }

    /// Whether the segments have a batch that ends exactly here with exactly this root.
    pub(super) fn stands(&self, segments: &Folder) -> Result<bool, AuditError> {
        let Ok((file, header, _)) = scan::open(segments, self.segment) else { return Ok(false) };
        let Ok(root) = self.tree.root() else { return Ok(false) };
        if self.offset <= HEADER_BYTES {
            return Ok(header.before.size() == self.tree.size() && header.before.root().ok() == Some(root));
        }
        let mut bytes = vec![0; frame::TRAILER_BYTES];
        let at = self.offset.saturating_sub(u64::try_from(frame::TRAILER_BYTES).unwrap_or(0));
        let read = file.read_exact_at(&mut bytes, at).is_ok();
        Ok(read
            && matches!(frame::read(&bytes), Frame::Trailer { size, root: stored, .. }
                if size == self.tree.size() && stored == root))
    }
}

/// The bytes of the snapshot of this place.
pub(super) fn encode(key: &LogKey, place: (u64, u64), tree: &Frontier, state: &State) -> Result<Vec<u8>, AuditError> {
    let stored = Stored {
        format: FORMAT,
        origin: key.origin().to_owned(),
        size: tree.size(),
        edge: tree.edge().into_iter().map(Digest::from_bytes).collect(),
        segment: place.0,
        offset: place.1,
        state,
    };
    let content = serde_json::to_vec(&stored)?;
    let mut bytes = serde_json::to_vec(&Code { code: Digest::from_bytes(key.mac(&content)) })?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

/// Where the snapshot stands, for messages.
pub(super) fn path(folder: &Folder) -> PathBuf {
    folder.path().join(SNAPSHOT)
}
