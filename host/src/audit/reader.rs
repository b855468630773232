//! Reading the trail beside its writer, or without one.
//!
//! A reader takes no lock and writes nothing. It sees whole batches only: one that is being written, or that a crash
//! tore, is not there yet. Every record it hands out has passed its checksum and the root of its batch, so a flipped byte
//! is an error that names file and place, not a wrong line on a screen.

use std::path::Path;

use super::checkpoint::{Checkpoint, LogKey, PublicKey};
use super::error::AuditError;
use super::frame::HEADER_BYTES;
use super::options::Places;
use super::projection::State;
use super::record::Record;
use super::scan::{self, End, Stored, Walk};
use super::snapshot::Snapshot;
use super::tree::Frontier;
use crate::model::RunId;

/// Which records are wanted. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only of this type, as in the field `type`.
    pub kind: Option<String>,
    /// Only from this number on.
    pub from: u64,
}

impl Filter {
    fn wants(&self, record: &Record) -> bool {
        record.seq >= self.from
            && self.run.as_ref().is_none_or(|run| record.run.as_ref() == Some(run))
            && self.kind.as_ref().is_none_or(|kind| record.body.kind() == kind)
    }
}

/// One record with the bytes that are hashed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The record.
    pub record: Record,
    /// Its bytes, exactly as stored.
    pub bytes: Vec<u8>,
    /// The segment it stands in.
    pub segment: String,
    /// The place of its frame in the segment, in bytes.
    pub offset: u64,
}

/// What is made of a record of the named segment.
type Each<'a> = dyn FnMut(&str, Stored<'_>) -> Result<(), AuditError> + 'a;

/// Reads a trail.
#[derive(Debug)]
pub struct Reader {
    places: Places,
    key: PublicKey,
}

impl Reader {
    /// Opens the trail under the daemon's folder for reading.
    ///
    /// # Errors
    /// When there is none, or its public key cannot be read.
    pub fn open(var: &Path) -> Result<Self, AuditError> {
        let places = Places::open(var)?;
        let key = PublicKey::load(&places.log)?;
        Ok(Self { places, key })
    }

    /// The log's public key: what a third party needs besides the files.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The last published checkpoint, verified.
    ///
    /// # Errors
    /// When it cannot be read or is not signed by the log's key.
    pub fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        Checkpoint::load(&self.places.log, &self.key)
    }

    pub(super) const fn places(&self) -> &Places {
        &self.places
    }

    /// Hands every record that the filter wants to `each`, in order; the number of the next record to come.
    ///
    /// # Errors
    /// The first damage met, or what `each` returns.
    pub fn each(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(Shown) -> Result<(), AuditError>,
    ) -> Result<u64, AuditError> {
        let all = scan::segments(&self.places.segments)?;
        // The last segment that begins at or before the first number that is wanted.
        let begin = all.partition_point(|first| *first <= filter.from).saturating_sub(1);
        let Some(first) = all.get(begin) else { return Ok(filter.from) };
        let next = self.walk(*first, None, &mut |name, stored| {
            if stored.seq < filter.from {
                return Ok(());
            }
            let record = self.decode(name, &stored)?;
            if filter.wants(&record) {
                let (segment, offset) = (name.to_owned(), stored.offset);
                each(Shown { record, bytes: stored.bytes.to_vec(), segment, offset })?;
            }
            Ok(())
        })?;
        Ok(next.max(filter.from))
    }

    fn decode(&self, segment: &str, stored: &Stored<'_>) -> Result<Record, AuditError> {
        Record::decode(stored.bytes).map_err(|_| AuditError::Damaged {
            path: self.places.segments.path().join(segment),
            offset: stored.offset,
            what: "the record is not JSON".to_owned(),
        })
    }

    /// Walks from the segment that begins with record `begin`, or from a place in it, to the end; the number of the next
    /// record to come.
    fn walk(&self, begin: u64, place: Option<(u64, Frontier)>, each: &mut Each<'_>) -> Result<u64, AuditError> {
        // First how far it must reach, then what is there: it only grows meanwhile. A checkpoint that does not hold is
        // for `verify` to report; what can be read, can be read.
        let signed = self.checkpoint().map_or(0, |checkpoint| checkpoint.size());
        let mut all = scan::segments(&self.places.segments)?;
        all.retain(|first| *first >= begin);
        let (mut next, mut place) = (begin, place);
        for (index, first) in all.iter().enumerate() {
            let reach = all.get(index + 1).copied().unwrap_or(signed);
            next = self.segment(*first, place.take(), reach, each)?.size();
        }
        Ok(next)
    }

    /// Walks one segment, or its rest, which holds all records before `reach`; the tree after it.
    fn segment(
        &self,
        first: u64,
        place: Option<(u64, Frontier)>,
        reach: u64,
        each: &mut Each<'_>,
    ) -> Result<Frontier, AuditError> {
        let name = scan::segment_name(first);
        let (file, header, path) = scan::open(&self.places.segments, first)?;
        let (offset, tree) = place.unwrap_or((HEADER_BYTES, header.before));
        let mut walk = Walk::new(file, path.clone(), offset, tree);
        let mut on_record = |stored: Stored<'_>| each(&name, stored);
        let mut end = walk.run(&mut on_record, &mut |_, _| Ok(()))?;
        if matches!(end, End::Broken { .. }) {
            let (settled, tail) = walk.settle(&mut on_record, &mut |_, _| Ok(()))?;
            match settled {
                End::Broken { offset, what } if tail.later => return Err(AuditError::Damaged { path, offset, what }),
                settled => end = settled,
            }
        }
        if walk.tree.size() < reach {
            let (offset, what) = match end {
                End::Broken { offset, what } => (offset, what),
                End::Clean => (walk.offset, format!("record {} is not there", walk.tree.size())),
            };
            return Err(AuditError::Damaged { path, offset, what });
        }
        Ok(walk.tree)
    }

    /// The records that the filter wants, in order.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Record>, AuditError> {
        let mut records = Vec::new();
        self.each(filter, &mut |shown| {
            records.push(shown.record);
            Ok(())
        })?;
        Ok(records)
    }

    /// The last `most` records that the filter wants, in order.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn last(&self, filter: &Filter, most: usize) -> Result<Vec<Record>, AuditError> {
        let mut records = std::collections::VecDeque::new();
        self.each(filter, &mut |shown| {
            records.push_back(shown.record);
            if records.len() > most {
                records.pop_front();
            }
            Ok(())
        })?;
        Ok(records.into())
    }

    /// One record.
    ///
    /// # Errors
    /// When there is no such record, or it is damaged.
    pub fn show(&self, seq: u64) -> Result<Shown, AuditError> {
        let mut found = None;
        self.each(&Filter { from: seq, ..Filter::default() }, &mut |shown| {
            if shown.record.seq == seq {
                found = Some(shown);
            }
            Ok(())
        })?;
        match found {
            Some(found) => Ok(found),
            None => Err(AuditError::NoRecord { seq, size: self.each(&Filter::default(), &mut |_| Ok(()))? }),
        }
    }

    /// What the trail says, folded from its records. Whoever may read the log's own key begins at the snapshot that the
    /// writer left; everybody else cannot tell whether it is authentic, and reads all records.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn state(&self) -> Result<State, AuditError> {
        let Snapshot { segment, offset, tree, mut state } = self.snapshot().unwrap_or_else(Snapshot::genesis);
        let place = (offset > HEADER_BYTES).then_some((offset, tree));
        self.walk(segment, place, &mut |name, stored| {
            state.apply(&self.decode(name, &stored)?, stored.bytes.len());
            Ok(())
        })?;
        Ok(state)
    }

    /// The snapshot, if it is authentic, signed over and borne out by the segments.
    fn snapshot(&self) -> Option<Snapshot> {
        let key = LogKey::load(&self.places.keys).ok()?;
        let snapshot = Snapshot::load(&self.places.state, &key)?;
        let signed = self.checkpoint().ok()?.size();
        let stands = snapshot.tree.size() <= signed && snapshot.stands(&self.places.segments).ok()?;
        stands.then_some(snapshot)
    }

    /// Follows the trail: hands what is new since `from` to `each` and returns the number to go on with. Call it again
    /// after a while; it waits for nothing.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn follow(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(Shown) -> Result<(), AuditError>,
    ) -> Result<Filter, AuditError> {
        let next = self.each(filter, each)?;
        Ok(Filter { from: next, ..filter.clone() })
    }
}
