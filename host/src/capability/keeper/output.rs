//! Where a service's standard output goes: through a named pipe into a file that cannot grow.
//!
//! The service holds the pipe open for reading *and* writing, so there is always a reader. If its keeper is killed, the
//! service is not killed by SIGPIPE along with it: it writes on until the pipe is full, and the next keeper goes on
//! reading where the last one stopped. A service that floods its output fills two files of the configured size, never the
//! disk; what a full disk refuses is lost, because a service must not hang on its log.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use cap_std::fs::{File, OpenOptions, OpenOptionsExt as _};
use rustix::fs::Mode;

use crate::durable::Folder;

const PIPE: &str = "output.pipe";
const FILE: &str = "output";
const OLDER: &str = "output.1";

/// What is read at once: the size of a pipe on Linux.
const CHUNK: usize = 64 * 1024;
/// Chunks read before other events are looked at, so that a flood cannot keep a stop from being heard.
const CHUNKS: usize = 16;

/// The keeper's end.
pub(crate) struct Output {
    pipe: File,
    file: Option<File>,
    written: u64,
    limit: u64,
}

/// Opens the pipe for a service: both ways, so that it never loses its reader.
pub(crate) fn service_end(folder: &Folder) -> std::io::Result<std::fs::File> {
    Ok(folder.dir().open_with(PIPE, OpenOptions::new().read(true).write(true))?.into_std())
}

impl Output {
    /// Opens pipe and file, making them where they are missing.
    pub(crate) fn open(folder: &Folder, limit: u64) -> std::io::Result<Self> {
        match rustix::fs::mkfifoat(folder.dir(), PIPE, Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let mut options = OpenOptions::new();
        // The flag of the service's end is its own: a service must find a pipe that blocks.
        options.read(true).write(true).custom_flags(NONBLOCK);
        let pipe = folder.dir().open_with(PIPE, &options)?;
        let mut output = Self { pipe, file: None, written: 0, limit };
        output.open_file(folder);
        Ok(output)
    }

    fn open_file(&mut self, folder: &Folder) {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        self.file = folder.dir().open_with(FILE, &options).ok();
        self.written = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
    }

    /// Takes over what has been written meanwhile.
    pub(crate) fn drain(&mut self, folder: &Folder) {
        let mut chunk = vec![0_u8; CHUNK];
        for _ in 0..CHUNKS {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => self.keep(folder, chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, folder: &Folder, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.limit.saturating_sub(self.written);
            if room == 0 {
                let _ = folder.dir().rename(FILE, folder.dir(), OLDER);
                self.open_file(folder);
                if self.written >= self.limit {
                    // It could not be turned over: stay within the bound and lose what comes.
                    return;
                }
                continue;
            }
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at_checked(take).unwrap_or((bytes, &[]));
            if let Some(file) = &mut self.file {
                let _ = file.write_all(now);
            }
            self.written = self.written.saturating_add(u64::try_from(take).unwrap_or(u64::MAX));
            bytes = later;
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[expect(clippy::cast_possible_wrap, reason = "flags fit; the two crates differ in the sign of the type")]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Whether some process still holds the pipe. Asked when no keeper lives: then it is the service itself, started by a
/// keeper that was killed before it could write down whom it had started.
pub(crate) fn has_holder(folder: &Folder) -> bool {
    let mut options = OpenOptions::new();
    // Opening for writing only, without waiting, works exactly if somebody has it open for reading.
    options.write(true).custom_flags(NONBLOCK);
    folder.dir().open_with(PIPE, &options).is_ok()
}

/// The end of what a service wrote, oldest first: at most `bytes`. Written by the service: escape before showing.
pub(crate) fn tail(folder: &Folder, bytes: u64) -> Vec<u8> {
    use std::io::{Seek as _, SeekFrom};
    let mut all = Vec::new();
    for name in [OLDER, FILE] {
        let Ok(mut file) = folder.dir().open(name) else { continue };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if file.seek(SeekFrom::Start(length.saturating_sub(bytes))).is_ok() {
            let _ = file.take(bytes).read_to_end(&mut all);
        }
    }
    let surplus = all.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
    all.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_the_newest_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        assert!(!has_holder(&folder));
        let mut output = Output::open(&folder, 1_000).unwrap();
        let mut service = service_end(&folder).unwrap();
        for line in 0..500 {
            writeln!(service, "line {line:03}").unwrap();
            output.drain(&folder);
        }
        let size = |name| folder.dir().metadata(name).unwrap().len();
        assert!(size(FILE) <= 1_000 && size(OLDER) == 1_000, "{} {}", size(FILE), size(OLDER));
        assert!(tail(&folder, 100).ends_with(b"line 499\n"));
        assert_eq!(tail(&folder, 18), b"line 498\nline 499\n");
        drop(output);
        assert!(has_holder(&folder), "the service still has it");
        drop(service);
        // A test beside this one may be between fork and exec, and hold a copy for that moment.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while has_holder(&folder) {
            assert!(std::time::Instant::now() < until, "nobody is left to hold it");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
