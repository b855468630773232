//! The bytes of a segment: a header, then batches of framed records, each closed by a trailer, then zeros.
//!
//! A batch is the atom: it is written with one call and counts only when its trailer is there and every CRC and the
//! root in the trailer hold. Batches are written strictly one after the other with an fdatasync between, so at most one
//! batch can be torn, and it is the last one. That is how a crash (mend quietly, record it) is told from damage (stop):
//! a batch that does not hold and is followed by a later batch that does was durable once. See [`later_trailer`].
//!
//! All numbers are big-endian. Records are JSON, so the first byte of a trailer (0x80) cannot occur in a record.

use super::tree::{Frontier, Root};

/// Every segment begins with it.
const MAGIC: &[u8; 8] = b"GRDTRAIL";

/// The version of this format.
pub(super) const FORMAT: u32 = 1;

/// Bytes of a segment's header: one page, so that batches never share a page with it.
pub(super) const HEADER_BYTES: u64 = 4096;

/// Bytes before the content of a frame: length, CRC, number.
pub(super) const FRAME_BYTES: usize = 16;

/// The bit of the length that marks a trailer.
const TRAILER_BIT: u32 = 0x8000_0000;

/// Bytes of a trailer's content: tree size and root.
const TRAILER_CONTENT: usize = 40;

/// Bytes of a whole trailer.
pub(super) const TRAILER_BYTES: usize = FRAME_BYTES + TRAILER_CONTENT;

fn frame(out: &mut Vec<u8>, length: u32, number: u64, content: &[u8]) {
    let crc = checksum(length, number, content);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(content);
}

fn checksum(length: u32, number: u64, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length.to_be_bytes()), &number.to_be_bytes());
    crc32c::crc32c_append(crc, content)
}

/// Appends the frame of a record. `bytes` are at most [`super::record::LARGEST_RECORD`].
pub(super) fn push_record(out: &mut Vec<u8>, seq: u64, bytes: &[u8]) {
    frame(out, u32::try_from(bytes.len()).unwrap_or(0), seq, bytes);
}

/// Appends the trailer of a batch that began with record `first` and left the tree at `size` and `root`.
pub(super) fn push_trailer(out: &mut Vec<u8>, first: u64, size: u64, root: &Root) {
    let mut content = Vec::with_capacity(TRAILER_CONTENT);
    content.extend_from_slice(&size.to_be_bytes());
    content.extend_from_slice(root);
    frame(out, TRAILER_BIT | 40, first, &content);
}

/// What stands at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A record.
    Record {
        /// Its number.
        seq: u64,
        /// Its content.
        bytes: &'a [u8],
    },
    /// The end of a batch.
    Trailer {
        /// The first record of the batch.
        first: u64,
        /// The size of the tree after it.
        size: u64,
        /// The root of the tree after it.
        root: Root,
    },
    /// Zeros: nothing was written here.
    Nothing,
    /// Not enough bytes to say: read more.
    Short,
    /// Something else; why, in words.
    Damaged(&'static str),
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Reads the frame at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Frame<'_> {
    let (Some(length), Some(crc), Some(number)) = (array(bytes, 0), array(bytes, 4), array(bytes, 8)) else {
        return Frame::Short;
    };
    let (length, crc, number) = (u32::from_be_bytes(length), u32::from_be_bytes(crc), u64::from_be_bytes(number));
    if length == 0 && crc == 0 && number == 0 {
        return Frame::Nothing;
    }
    let long = usize::try_from(length & !TRAILER_BIT).unwrap_or(usize::MAX);
    let is_trailer = length & TRAILER_BIT != 0;
    let fits = if is_trailer { long == TRAILER_CONTENT } else { (1..=super::record::LARGEST_RECORD).contains(&long) };
    if !fits {
        return Frame::Damaged("no frame has that length");
    }
    let Some(content) = bytes.get(FRAME_BYTES..FRAME_BYTES + long) else { return Frame::Short };
    if checksum(length, number, content) != crc {
        return Frame::Damaged("the checksum does not match");
    }
    match (is_trailer, array(content, 0), array(content, 8)) {
        (false, _, _) => Frame::Record { seq: number, bytes: content },
        (true, Some(size), Some(root)) => Frame::Trailer { first: number, size: u64::from_be_bytes(size), root },
        (true, _, _) => Frame::Short,
    }
}

/// Looks for the trailer of a batch that begins after record `seq`. There is one only if what precedes it was durable.
pub(super) fn later_trailer(bytes: &[u8], seq: u64) -> bool {
    let mark = (TRAILER_BIT | 40).to_be_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|window| window == mark) {
        let Some(here) = rest.get(at..) else { return false };
        if matches!(read(here), Frame::Trailer { first, .. } if first > seq) {
            return true;
        }
        rest = here.get(1..).unwrap_or_default();
    }
    false
}

/// The header of a segment. It holds the right edge of the tree before its first record, so that a segment can be
/// checked without those before it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Which log it belongs to.
    pub(super) origin: String,
    /// The tree before its first record.
    pub(super) before: Frontier,
}

impl Header {
    /// The bytes of the header; none if the origin is too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let origin = self.origin.as_bytes();
        let edge = self.before.edge();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(HEADER_BYTES).ok()?.to_be_bytes());
        bytes.extend_from_slice(&self.before.size().to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(origin.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(edge.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(origin);
        edge.iter().for_each(|hash| bytes.extend_from_slice(hash));
        let content = usize::try_from(HEADER_BYTES).ok()? - 4;
        if bytes.len() > content {
            return None;
        }
        bytes.resize(content, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        Some(bytes)
    }

    /// Reads a header; the error says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let short = || "the header is cut off".to_owned();
        let content = bytes.get(..usize::try_from(HEADER_BYTES).unwrap_or(0) - 4).ok_or_else(short)?;
        let crc = array(bytes, content.len()).ok_or_else(short)?;
        if content.get(..8) != Some(MAGIC.as_slice()) {
            return Err("it is no segment of an audit trail".to_owned());
        }
        let format = array(content, 8).map(u32::from_be_bytes).ok_or_else(short)?;
        if format != FORMAT {
            return Err(format!("its format is {format}, this version reads format {FORMAT}"));
        }
        if crc32c::crc32c(content) != u32::from_be_bytes(crc) {
            return Err("the checksum of the header does not match".to_owned());
        }
        let first = array(content, 16).map(u64::from_be_bytes).ok_or_else(short)?;
        let long = array(content, 24).map(u16::from_be_bytes).map(usize::from).ok_or_else(short)?;
        let hashes = array(content, 26).map(u16::from_be_bytes).map(usize::from).ok_or_else(short)?;
        let origin = content.get(28..28 + long).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(short)?;
        let edge: Option<Vec<Root>> = (0..hashes).map(|hash| array(content, 28 + long + hash * 32)).collect();
        let before = Frontier::from_edge(first, &edge.ok_or_else(short)?)
            .ok_or_else(|| "the header's hashes do not fit its number".to_owned())?;
        Ok(Self { origin: origin.to_owned(), before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_every_flipped_bit_shows() {
        let mut bytes = Vec::new();
        push_record(&mut bytes, 7, b"{\"v\":1}");
        let one = bytes.len();
        push_trailer(&mut bytes, 7, 8, &[9; 32]);
        assert_eq!(read(&bytes), Frame::Record { seq: 7, bytes: b"{\"v\":1}" });
        assert_eq!(read(&bytes[one..]), Frame::Trailer { first: 7, size: 8, root: [9; 32] });
        assert_eq!(read(&[0; 16]), Frame::Nothing);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let at = if bit / 8 < one { 0 } else { one };
            assert!(matches!(read(&flipped[at..]), Frame::Damaged(_) | Frame::Short), "bit {bit}");
        }
        assert!(later_trailer(&bytes, 6));
        assert!(!later_trailer(&bytes, 7));
    }

    #[test]
    fn headers_round_trip() {
        let mut before = Frontier::default();
        (0..11_u8).for_each(|leaf| before.push(&[leaf]).unwrap());
        let header = Header { origin: "guardian/audit/0123".to_owned(), before };
        let bytes = header.encode().unwrap();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        let back = Header::decode(&bytes).unwrap();
        assert_eq!((back.origin, back.before.root().unwrap()), (header.origin, header.before.root().unwrap()));
        for at in [0, 8, 20, 30, 4095] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Header::decode(&flipped).is_err(), "{at}");
        }
    }
}
