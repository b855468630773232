//! Services of the operator's inventory, whatever supervises them.
//!
//! Every function takes the name of an inventory resource: `web`, not `nginx.service`. Those that change something
//! answer with the status seen after the change.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::service as host;
pub use crate::bindings::guardian::playbook::service::{Exit, ServiceStatus as Status, State};
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::service as host;

/// What the service is doing.
///
/// # Errors
/// `denied`, `not-found`, `invalid`, `timeout`, `unavailable`, `quota`, `audit-unavailable`.
pub fn status(name: &str) -> Result<Status, Error> {
    Ok(host::status(name)?)
}

/// Starts a service that does not run. A running one is left alone.
///
/// # Errors
/// As [`status`]; `failed` if it did not come up, `indeterminate` if nobody knows.
pub fn start(name: &str) -> Result<Status, Error> {
    Ok(host::start(name)?)
}

/// Stops a service. A stopped one is left alone.
///
/// # Errors
/// As [`status`]; `failed` if it did not go down, `indeterminate` if nobody knows.
pub fn stop(name: &str) -> Result<Status, Error> {
    Ok(host::stop(name)?)
}

/// Stops a service if it runs, and starts it. One whose supervisor is about to start it is waited for instead.
///
/// # Errors
/// As [`status`]; `failed` if it did not come up, `indeterminate` if nobody knows.
pub fn restart(name: &str) -> Result<Status, Error> {
    Ok(host::restart(name)?)
}

/// Asks a running service to read its configuration again.
///
/// # Errors
/// As [`status`]; `failed` if it does not run or refused, `unavailable` if it has no way to reload.
pub fn reload(name: &str) -> Result<Status, Error> {
    Ok(host::reload(name)?)
}

/// Clears the supervisor's memory of past failures, so that a start limit no longer holds.
///
/// # Errors
/// As [`status`].
pub fn reset_failed(name: &str) -> Result<Status, Error> {
    Ok(host::reset_failed(name)?)
}
