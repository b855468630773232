//! Probes of the operator's inventory, and the check of each service.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::probe as host;
pub use crate::bindings::guardian::playbook::probe::{Reading, Verdict};
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::probe as host;

/// Looks once, through the probe of that name. A thing that does not answer is a reading, not an error.
///
/// # Errors
/// `denied`, `not-found`, `invalid`, `quota`, `audit-unavailable`.
pub fn run(name: &str) -> Result<Reading, Error> {
    Ok(host::run(name)?)
}

/// Looks once, through the check of a service.
///
/// # Errors
/// As [`run`].
pub fn check(service: &str) -> Result<Reading, Error> {
    run(&format!("service.{service}"))
}
