//! The end of what a command writes, and how much it was.
//!
//! A command may write for ever. What it writes is taken off its pipe as it comes, so that it never waits for its reader,
//! and all but the last bytes are forgotten, so that a flood fills no memory. The end is kept because that is where a
//! program says why it failed.

use std::collections::VecDeque;
use std::os::fd::AsFd;

/// What is read at once: the size of a pipe on Linux.
const CHUNK: usize = 64 * 1024;
/// Chunks read before other events are looked at, so that a flood cannot hide a deadline.
const CHUNKS: usize = 16;

/// The last bytes of a stream.
#[derive(Debug)]
pub(super) struct Tail {
    last: VecDeque<u8>,
    limit: usize,
    pub(super) total: u64,
}

impl Tail {
    pub(super) fn new(limit: u64) -> Self {
        Self { last: VecDeque::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX), total: 0 }
    }

    /// Takes what is there. False when nobody holds the other end any more.
    pub(super) fn drain(&mut self, pipe: &impl AsFd) -> bool {
        let mut chunk = vec![0_u8; CHUNK];
        for _ in 0..CHUNKS {
            match rustix::io::read(pipe, chunk.as_mut_slice()) {
                Ok(0) => return false,
                Ok(count) => self.take(chunk.get(..count).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let newest = bytes.get(bytes.len().saturating_sub(self.limit)..).unwrap_or_default();
        let surplus = (self.last.len() + newest.len()).saturating_sub(self.limit);
        self.last.drain(..surplus.min(self.last.len()));
        self.last.extend(newest);
    }

    /// The end as text of at most as many bytes. What is no UTF-8 is replaced.
    pub(super) fn into_text(mut self) -> String {
        let cut = self.total > u64::try_from(self.last.len()).unwrap_or(u64::MAX);
        let bytes = self.last.make_contiguous();
        // The cut may have gone through a character; its rest is none.
        let rest = if cut { bytes.iter().take(3).take_while(|byte| (0x80..0xc0).contains(*byte)).count() } else { 0 };
        let text = String::from_utf8_lossy(bytes.get(rest..).unwrap_or_default()).into_owned();
        // A replacement takes three bytes where one was.
        let mut from = text.len().saturating_sub(self.limit);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.get(from..).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(limit: u64, chunks: &[&[u8]]) -> (String, u64) {
        let mut tail = Tail::new(limit);
        for chunk in chunks {
            tail.take(chunk);
        }
        let total = tail.total;
        (tail.into_text(), total)
    }

    #[test]
    fn the_end_is_kept_and_the_rest_counted() {
        assert_eq!(text(8, &[b"abc", b"def"]), ("abcdef".to_owned(), 6));
        assert_eq!(text(4, &[b"abc", b"def"]), ("cdef".to_owned(), 6));
        assert_eq!(text(4, &[b"abc", b"0123456789"]), ("6789".to_owned(), 13));
        assert_eq!(text(4, &[]), (String::new(), 0));
        // A character that was cut leaves nothing behind; bytes that are none become a sign, within the bound.
        assert_eq!(text(4, &["aéé".as_bytes()]).0, "éé");
        assert_eq!(text(3, &["aéé".as_bytes()]).0, "é");
        assert_eq!(text(6, &[b"\xff\xff\xff\xff"]).0, "\u{fffd}\u{fffd}");
    }
}
