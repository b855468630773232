//! The last lines of a unit, from the journal, as `journalctl` shows them.
//!
//! Only for evidence, and worth no more than a second: a fixed command with a clean environment whose output is bounded and
//! which is ended when its time is over. Where there is no journal, or this user may not read it, there are no lines.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where every distribution with systemd has it.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// How long it may take: it reads one screen from the end.
const TIME: Duration = Duration::from_secs(1);
/// How often its end is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The last `lines` lines of a unit, at most `bytes`.
pub(super) fn tail(unit: &str, lines: usize, bytes: u64) -> Vec<u8> {
    let mut command = Command::new(JOURNALCTL);
    command.args(["--quiet", "--no-pager", "--output=short-iso", "--lines", &lines.to_string(), "--unit", unit]);
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Vec::new() };
    let reader = child.stdout.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut read = Vec::new();
            // What it wrote up to an error is as good as all of it.
            let _ = pipe.by_ref().take(bytes).read_to_end(&mut read);
            read
        })
    });
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() >= TIME {
            // It has no children of its own, and nothing depends on how it ends.
            let _ = child.kill();
            let _ = child.wait();
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_the_journal_does_not_know_has_no_lines_and_holds_nobody() {
        let begun = Instant::now();
        assert!(tail("guardian-no-such-unit.service", 10, 1_000).is_empty());
        assert!(begun.elapsed() < TIME * 3);
    }
}
