//! Reading segments from disk, batch by batch.
//!
//! One walk serves the writer that opens the trail, the readers beside it and the verifier: they differ only in what
//! they make of the end. A batch is handed on when its trailer holds; until then nothing of it has been seen. The walk
//! recomputes the tree as it goes, so a trailer whose root does not match what precedes it is damage, whatever its CRC.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::{AuditError, io};
use super::frame::{self, Frame, HEADER_BYTES, Header};
use super::tree::{Frontier, Root};
use crate::durable::Folder;

/// How much is read at once at most: large enough for any batch, see [`super::commit`].
const CHUNK: usize = 1024 * 1024 + 128 * 1024;
/// How much is read at first: a start finds a few records behind its snapshot, and memory that is touched for the first
/// time costs more than reading into it.
const FIRST_CHUNK: usize = 64 * 1024;

/// The name of the segment that begins with record `first`.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The segments in a folder, by their first record.
pub(super) fn segments(folder: &Folder) -> Result<Vec<u64>, AuditError> {
    let number = |name: String| match name.strip_suffix(".seg") {
        Some(digits) if digits.len() == 20 => digits.parse().ok(),
        _ => None,
    };
    Ok(folder.names()?.into_iter().filter_map(number).collect())
}

/// Why a walk ended.
#[derive(Debug)]
pub(super) enum End {
    /// Zeros follow, be they too few for a frame, or the file ends exactly there.
    Clean,
    /// Something follows that does not hold.
    Broken {
        /// Where.
        offset: u64,
        /// Why.
        what: String,
    },
}

/// One record as it stands on disk.
pub(super) struct Stored<'a> {
    /// Its number.
    pub(super) seq: u64,
    /// The place of its frame in the segment.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

/// Opens the segment that begins with record `first` and reads its header.
pub(super) fn open(folder: &Folder, first: u64) -> Result<(File, Header, PathBuf), AuditError> {
    let name = segment_name(first);
    let path = folder.path().join(&name);
    let file = folder.dir().open(&name).map_err(io("open", &path))?.into_std();
    let mut bytes = vec![0; usize::try_from(HEADER_BYTES).unwrap_or(0)];
    let damaged = |what: String| AuditError::Damaged { path: path.clone(), offset: 0, what };
    file.read_exact_at(&mut bytes, 0).map_err(|_| damaged("the header is cut off".to_owned()))?;
    let header = Header::decode(&bytes).map_err(damaged)?;
    if header.before.size() != first {
        return Err(damaged(format!("the header is of the segment that begins with record {}", header.before.size())));
    }
    Ok((file, header, path))
}

/// The state of a walk within one segment: after the last batch that held.
pub(super) struct Walk {
    file: File,
    path: PathBuf,
    /// Where the next batch begins.
    pub(super) offset: u64,
    /// The tree up to there.
    pub(super) tree: Frontier,
}

/// What the caller makes of a record.
pub(super) type OnRecord<'a> = dyn FnMut(Stored<'_>) -> Result<(), AuditError> + 'a;
/// What the caller makes of a trailer: size and root of the tree after the batch.
pub(super) type OnBatch<'a> = dyn FnMut(u64, &Root) -> Result<(), AuditError> + 'a;

impl Walk {
    /// A walk that goes on at `offset`, where the tree is `tree`.
    pub(super) const fn new(file: File, path: PathBuf, offset: u64, tree: Frontier) -> Self {
        Self { file, path, offset, tree }
    }

    /// The file it walks through.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Walks to the end of what holds.
    pub(super) fn run(&mut self, on_record: &mut OnRecord<'_>, on_batch: &mut OnBatch<'_>) -> Result<End, AuditError> {
        let mut chunk = Vec::new();
        let mut from = self.offset;
        let mut length = FIRST_CHUNK;
        loop {
            // Batches that begin in this chunk; the next chunk begins with the first one that does not end in it.
            chunk.resize(length, 0);
            let got = read_up_to(&self.file, &mut chunk, from).map_err(io("read", &self.path))?;
            chunk.truncate(got);
            match self.batches(&chunk, on_record, on_batch)? {
                Some(end) => return Ok(end),
                None if self.offset > from => from = self.offset,
                // No frame fits into what is left: the writer went on in the next segment. Also the very end of the file.
                None if got < frame::FRAME_BYTES && chunk.iter().all(|byte| *byte == 0) => return Ok(End::Clean),
                None if got == length && length < CHUNK => {}
                None => return Ok(self.broken(self.offset, "the file is cut off within a batch")),
            }
            length = CHUNK;
        }
    }

    /// Walks to the end of what holds beside a writer: what looks like damage may be a batch that was under way and is
    /// followed by others by now. It is damage if a later batch holds and a walk begun after that was seen gets no
    /// further.
    pub(super) fn settle(
        &mut self,
        on_record: &mut OnRecord<'_>,
        on_batch: &mut OnBatch<'_>,
    ) -> Result<(End, Tail), AuditError> {
        let mut seen: Option<Tail> = None;
        loop {
            let before = self.offset;
            let end = self.run(on_record, on_batch)?;
            match seen {
                Some(tail) if self.offset == before => return Ok((end, tail)),
                _ => {}
            }
            let tail = self.tail(u64::MAX)?;
            if !tail.later {
                return Ok((end, tail));
            }
            seen = Some(tail);
        }
    }

    fn broken(&self, offset: u64, what: impl Into<String>) -> End {
        End::Broken { offset, what: what.into() }
    }

    /// Walks through the batches of one chunk that begins at `self.offset`; none when it has to read more.
    fn batches(
        &mut self,
        chunk: &[u8],
        on_record: &mut OnRecord<'_>,
        on_batch: &mut OnBatch<'_>,
    ) -> Result<Option<End>, AuditError> {
        let base = self.offset;
        let place = |at: usize| base.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
        let mut at = 0;
        let mut tree = self.tree.clone();
        let mut batch: Vec<(u64, usize, &[u8])> = Vec::new();
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            match frame::read(rest) {
                Frame::Short => return Ok(None),
                Frame::Nothing if batch.is_empty() => return Ok(Some(End::Clean)),
                Frame::Nothing => return Ok(Some(self.broken(place(at), "a batch has no end"))),
                Frame::Damaged(what) => return Ok(Some(self.broken(place(at), what))),
                Frame::Record { seq, .. } if seq != tree.size() => {
                    let what = format!("record {seq} stands where record {} belongs", tree.size());
                    return Ok(Some(self.broken(place(at), what)));
                }
                Frame::Record { seq, bytes } => {
                    if tree.push(bytes).is_err() {
                        return Ok(Some(self.broken(place(at), "the tree cannot be computed")));
                    }
                    batch.push((seq, at, bytes));
                    at += frame::FRAME_BYTES + bytes.len();
                }
                Frame::Trailer { first, size, root } => {
                    if first != self.tree.size() || size != tree.size() {
                        return Ok(Some(self.broken(place(at), "the end of a batch does not fit its records")));
                    }
                    if tree.root().ok() != Some(root) {
                        return Ok(Some(self.broken(place(at), "the root of a batch does not match the records")));
                    }
                    for (seq, at, bytes) in batch.drain(..) {
                        on_record(Stored { seq, offset: place(at), bytes })?;
                    }
                    on_batch(size, &root)?;
                    at += frame::TRAILER_BYTES;
                    self.tree = tree.clone();
                    self.offset = place(at);
                }
            }
        }
    }

    /// What stands after the last batch that held: whether a later batch does hold, and where the last byte is that is
    /// not zero.
    pub(super) fn tail(&self, most: u64) -> Result<Tail, AuditError> {
        let mut tail = Tail { later: false, end: self.offset };
        let length =
            self.file.metadata().map_err(io("look at", &self.path))?.len().min(self.offset.saturating_add(most));
        let mut chunk = vec![0; FIRST_CHUNK];
        let mut from = self.offset;
        while from < length {
            let got = read_up_to(&self.file, &mut chunk, from).map_err(io("read", &self.path))?;
            let bytes = chunk.get(..got).unwrap_or_default();
            if let Some(last) = last_written(bytes) {
                tail.end = from.saturating_add(u64::try_from(last).unwrap_or(u64::MAX)).saturating_add(1);
                tail.later |= frame::later_trailer(bytes, self.tree.size());
            }
            if got == 0 {
                break;
            }
            // Trailers that lie across two chunks are seen by overlapping them.
            let step = if got == FIRST_CHUNK { got - frame::TRAILER_BYTES } else { got };
            from = from.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
        }
        Ok(tail)
    }
}

/// What follows the last batch that holds.
pub(super) struct Tail {
    /// A batch after it does hold, so what lies between was durable and is damaged.
    pub(super) later: bool,
    /// One after the last byte that is not zero.
    pub(super) end: u64,
}

/// The last byte that is not zero. Whole pages are compared at once: a start looks at a megabyte of zeros.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    let zeros = [0; PAGE];
    let pages = bytes.chunks(PAGE).enumerate().rev();
    let mut written = pages.filter(|(_, page)| zeros.get(..page.len()) != Some(*page));
    let (index, page) = written.next()?;
    page.iter().rposition(|byte| *byte != 0).map(|last| index * PAGE + last)
}

fn read_up_to(file: &File, buffer: &mut [u8], from: u64) -> std::io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        let at = from.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
