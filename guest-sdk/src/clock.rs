//! The host's clock. A replay answers with the times of the recorded run.

use std::time::Duration;

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::clock as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::clock as host;

/// Milliseconds since 1970-01-01T00:00:00Z. Can step when the machine's clock is set.
///
/// # Errors
/// `denied`, `quota`, `audit-unavailable`.
pub fn now() -> Result<u64, Error> {
    Ok(host::now()?)
}

/// Waits. The wait counts against the run's time, and one call waits no longer than the deadline of a call.
///
/// # Errors
/// `denied`, `invalid`, `timeout`, `quota`, `audit-unavailable`.
pub fn sleep(time: Duration) -> Result<(), Error> {
    host::sleep(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))?;
    Ok(())
}
