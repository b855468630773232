//! How full the file system is, and whether that is enough.

use rustix::fs::fstatvfs;

use crate::capability::error::HandError;
use crate::capability::folder::Folder;
use crate::inventory::Storage;
use crate::model::StorageUsage;

/// Looks.
pub(super) fn usage(storage: &Storage, folder: &Folder) -> Result<StorageUsage, HandError> {
    let seen = fstatvfs(folder).map_err(HandError::io("see how full the file system is"))?;
    let usage = StorageUsage {
        bytes_total: seen.f_blocks.saturating_mul(seen.f_frsize),
        bytes_free: seen.f_bavail.saturating_mul(seen.f_frsize),
        inodes_total: seen.f_files,
        inodes_free: seen.f_favail,
        enough: false,
        assumed: false,
    };
    Ok(judged(storage, usage))
}

/// The same, with whether it is enough.
pub(super) fn judged(storage: &Storage, usage: StorageUsage) -> StorageUsage {
    let enough = enough_bytes(storage, &usage) && enough_inodes(storage, &usage);
    StorageUsage { enough, ..usage }
}

/// How many bytes are wanted beside those that are free; 0 where it is only inodes.
pub(super) fn missing_bytes(storage: &Storage, usage: &StorageUsage) -> u64 {
    storage.free.of(usage.bytes_total).saturating_sub(usage.bytes_free)
}

fn enough_bytes(storage: &Storage, usage: &StorageUsage) -> bool {
    missing_bytes(storage, usage) == 0
}

fn enough_inodes(storage: &Storage, usage: &StorageUsage) -> bool {
    // btrfs and some others make inodes as they go and say 0.
    usage.inodes_total == 0 || usage.inodes_free >= storage.inodes.of(usage.inodes_total)
}

/// In words: `3.2% of bytes free, 10% wanted`.
pub(super) fn words(storage: &Storage, usage: &StorageUsage) -> String {
    let mut lacks = Vec::new();
    if !enough_bytes(storage, usage) {
        let wanted = super::words::share(storage.free, super::words::size);
        lacks.push(format!("{} of bytes free, {wanted} wanted", percent(usage.bytes_free, usage.bytes_total)));
    }
    if !enough_inodes(storage, usage) {
        let wanted = super::words::share(storage.inodes, |count| count.to_string());
        lacks.push(format!("{} of inodes free, {wanted} wanted", percent(usage.inodes_free, usage.inodes_total)));
    }
    if lacks.is_empty() {
        format!("{} of bytes free", percent(usage.bytes_free, usage.bytes_total))
    } else {
        lacks.join("; ")
    }
}

/// Cut, not rounded: 9.96% must not read as the 10% that are wanted.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part).saturating_mul(1_000).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{}%", tenths / 10, tenths % 10)
}
