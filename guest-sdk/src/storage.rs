//! Storage of the operator's inventory: how full it is, and making room by the steps that the operator declared.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::storage as host;
pub use crate::bindings::guardian::playbook::storage::{Reclaimed, StorageUsage as Usage};
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::storage as host;

/// How full it is, and whether as much is free as the operator wants.
///
/// # Errors
/// `denied`, `not-found`, `invalid`, `timeout`, `unavailable`, `quota`, `audit-unavailable`.
pub fn usage(name: &str) -> Result<Usage, Error> {
    Ok(host::usage(name)?)
}

/// Makes room by steps that can be put back, the least harmful first, until enough is free.
///
/// # Errors
/// As [`usage`]; `failed` if a step did not work, `indeterminate` if nobody knows.
pub fn reclaim(name: &str) -> Result<Reclaimed, Error> {
    Ok(host::reclaim(name)?)
}

/// Makes room by removing files for good, until enough is free.
///
/// # Errors
/// As [`reclaim`].
pub fn purge(name: &str) -> Result<Reclaimed, Error> {
    Ok(host::purge(name)?)
}
