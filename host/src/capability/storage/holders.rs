//! Files that were deleted and are still open: they take up room, and no listing shows them.
//!
//! Read off `/proc/PID/fd`: a link that ends in ` (deleted)`, to a regular file of this file system that has no name left.
//! Only processes of the services that the operator named are looked at, and nothing is closed by force: the service is
//! asked to reload, which is when a well-behaved one opens its files anew. What another user's process holds can only be
//! seen by root.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::process::Pid;

use crate::capability::deadline::Deadline;

/// Descriptors looked at per service: far more than a service's limit on them.
const MOST: usize = 100_000;
/// How long a service may take to close its files after it has said that it reloads.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The deleted files that these processes hold on a device: inode and bytes.
pub(super) fn held(device: u64, processes: &[Pid]) -> BTreeMap<u64, u64> {
    let folders = processes.iter().map(|pid| format!("/proc/{}/fd", pid.as_raw_nonzero()));
    let descriptors = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut held = BTreeMap::new();
    for descriptor in descriptors.take(MOST) {
        let path = descriptor.path();
        let deleted = std::fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().ends_with(" (deleted)"));
        if !deleted {
            continue;
        }
        // Of the open file itself, whatever has its old name by now.
        let Ok(file) = std::fs::metadata(&path) else { continue };
        if file.is_file() && file.dev() == device && file.nlink() == 0 {
            held.insert(file.ino(), file.blocks().saturating_mul(512));
        }
    }
    held
}

/// Waits until some of what was held is closed; the files and bytes that are.
pub(super) fn closed(
    before: &BTreeMap<u64, u64>,
    deadline: Deadline,
    look: impl Fn() -> BTreeMap<u64, u64>,
) -> (u64, u64) {
    let patience = deadline.min(Deadline::after(PATIENCE));
    loop {
        let now = look();
        let gone = before.iter().filter(|(inode, _)| !now.contains_key(inode));
        let (files, bytes) =
            gone.fold((0_u64, 0_u64), |(files, all), (_, bytes)| (files + 1, all.saturating_add(*bytes)));
        let all = usize::try_from(files) == Ok(before.len());
        if all || !patience.pause(LOOK_AGAIN) {
            return (files, bytes);
        }
    }
}
