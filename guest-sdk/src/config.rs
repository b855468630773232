//! Configuration files of the operator's inventory, each with a baseline. No content passes here.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::config as host;
pub use crate::bindings::guardian::playbook::config::{ConfigStatus as Status, State};
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::config as host;

/// Compares the file with its baseline.
///
/// # Errors
/// `denied`, `not-found`, `invalid`, `timeout`, `unavailable`, `quota`, `audit-unavailable`.
pub fn check(name: &str) -> Result<Status, Error> {
    Ok(host::check(name)?)
}

/// Gives the file the content, owner and mode of its baseline. One that matches is left alone.
///
/// # Errors
/// As [`check`]; `busy` if the file changed meanwhile, `failed` if it could not be written and is as it was.
pub fn restore(name: &str) -> Result<Status, Error> {
    Ok(host::restore(name)?)
}
