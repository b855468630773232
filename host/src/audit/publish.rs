//! Publication: the checkpoint and the snapshot, off the path of the callers.
//!
//! Durability and publication are two things. A record is durable when its batch is synced; that the world can check it
//! comes a moment later. Trouble here never stops an effect and never poisons: it is loud, it is tried again every
//! second, and past a bound no new run starts, because a trail that nobody can check any more is not what was promised.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::checkpoint::{self, LogKey};
use super::commit::{Commit, locked};
use super::error::AuditError;
use super::snapshot;
use crate::durable::Folder;
use crate::model::Clock;

/// A checkpoint is published when this many records are new, or a second has passed: its syncs compete with those of the
/// callers, so a busy trail (40,000 records in a second) publishes a few times in that second and no more.
pub(super) const PUBLISH_RECORDS: u64 = 8192;

/// Past this, new runs are refused: a minute of the busiest machine seen.
const MOST_UNPUBLISHED: u64 = 65_536;
const LONGEST_UNPUBLISHED: Duration = Duration::from_secs(60);

/// A snapshot at the end of a process is worth its two syncs from this many records on: reading them costs more.
const SNAPSHOT_AT_CLOSE: u64 = 64;
/// And while running from this many on.
const SNAPSHOT_RUNNING: u64 = 4096;

#[derive(Debug)]
struct Published {
    checkpoint: u64,
    snapshot: u64,
    failing: Option<(Duration, String)>,
}

/// Publishes the trail of one log.
pub(super) struct Publisher {
    log: Folder,
    state: Folder,
    key: LogKey,
    published: Mutex<Published>,
    /// The same number as in `published`, for looking without waiting.
    reach: AtomicU64,
}

impl Publisher {
    pub(super) fn new(log: Folder, state: Folder, key: LogKey, checkpoint: u64, snapshot: u64) -> Self {
        Self {
            log,
            state,
            key,
            published: Mutex::new(Published { checkpoint, snapshot, failing: None }),
            reach: AtomicU64::new(checkpoint),
        }
    }

    /// Publishes a checkpoint of what is durable, if anything is new.
    pub(super) fn checkpoint(&self, commit: &Commit, clock: &dyn Clock) -> Result<(), AuditError> {
        let mut published = locked(&self.published);
        let (size, root) = commit.at_rest(|writer, _| (writer.tree.size(), writer.tree.root()));
        if size == published.checkpoint {
            return Ok(());
        }
        let written = root
            .map_err(|error| error.to_string())
            .and_then(|root| checkpoint::publish(&self.log, &self.key, size, root));
        match written {
            Ok(()) => {
                published.checkpoint = size;
                self.reach.store(size, Ordering::SeqCst);
                published.failing = None;
                Ok(())
            }
            Err(reason) => {
                let since = published.failing.as_ref().map_or_else(|| clock.elapsed(), |(since, _)| *since);
                if published.failing.is_none() {
                    tracing::error!("no checkpoint of the audit trail could be published: {reason}");
                }
                published.failing = Some((since, reason.clone()));
                Err(AuditError::Unpublished { since: published.checkpoint, reason })
            }
        }
    }

    /// Writes a snapshot if that is worth it. It follows a checkpoint, so it is never ahead of one.
    pub(super) fn snapshot(&self, commit: &Commit, closing: bool) -> Result<(), AuditError> {
        let mut published = locked(&self.published);
        let worth = if closing { SNAPSHOT_AT_CLOSE } else { SNAPSHOT_RUNNING };
        let taken = commit.at_rest(|writer, state| {
            let size = writer.tree.size();
            if size > published.checkpoint || size - published.snapshot.min(size) < worth {
                return Ok(None);
            }
            let place = writer.storage.place();
            snapshot::encode(&self.key, place, &writer.tree, state).map(|bytes| Some((size, bytes)))
        })?;
        if let Some((size, bytes)) = taken {
            self.state.replace(snapshot::SNAPSHOT, &bytes)?;
            published.snapshot = size;
        }
        Ok(())
    }

    /// How far the last checkpoint reaches.
    pub(super) fn published(&self) -> u64 {
        self.reach.load(Ordering::SeqCst)
    }

    /// Why no new run may start, if so.
    pub(super) fn admits(&self, commit: &Commit, clock: &dyn Clock) -> Result<(), AuditError> {
        let published = locked(&self.published);
        let Some((since, reason)) = &published.failing else { return Ok(()) };
        let unpublished = commit.size().saturating_sub(published.checkpoint);
        if unpublished > MOST_UNPUBLISHED || clock.elapsed().saturating_sub(*since) > LONGEST_UNPUBLISHED {
            return Err(AuditError::Unpublished { since: published.checkpoint, reason: reason.clone() });
        }
        Ok(())
    }
}
