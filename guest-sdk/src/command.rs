//! Commands of the operator's inventory: program and arguments are the operator's, word for word.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::command as host;
pub use crate::bindings::guardian::playbook::command::CommandResult as Ended;
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::command as host;

/// Runs a command to its end. One that ends with another status than 0 is a result, not an error: see
/// [`Ended::success`](Ended).
///
/// # Errors
/// `denied`, `not-found`, `invalid`, `timeout`, `unavailable`, `failed` if it could not be started, `indeterminate` if it did
/// not end in time and was ended, `quota`, `audit-unavailable`.
pub fn run(name: &str) -> Result<Ended, Error> {
    Ok(host::run(name)?)
}
