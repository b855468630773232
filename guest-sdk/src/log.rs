//! The run's own log: lines for the person who reads the run afterwards.
//!
//! The macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and [`error!`](macro@crate::error) take
//! a format string and let the line go if the host refuses it: a playbook that may not log should still heal. A run has
//! a budget of lines and bytes, and one that spends it is ended.

use crate::Error;
#[cfg(target_arch = "wasm32")]
use crate::bindings::guardian::playbook::log as host;
pub use crate::bindings::guardian::playbook::log::Level;
#[cfg(not(target_arch = "wasm32"))]
use crate::scripted::log as host;

/// Writes one line.
///
/// # Errors
/// `denied`, `invalid` (too long), `audit-unavailable`.
pub fn write(level: Level, message: &str) -> Result<(), Error> {
    Ok(host::write(level, message)?)
}

/// Writes a line for the author of the playbook.
#[macro_export]
macro_rules! debug {
    ($($part:tt)+) => { let _ = $crate::log::write($crate::log::Level::Debug, &::std::format!($($part)+)); };
}

/// Writes a line for the reader of the run.
#[macro_export]
macro_rules! info {
    ($($part:tt)+) => { let _ = $crate::log::write($crate::log::Level::Info, &::std::format!($($part)+)); };
}

/// Writes that something was not as expected.
#[macro_export]
macro_rules! warn {
    ($($part:tt)+) => { let _ = $crate::log::write($crate::log::Level::Warn, &::std::format!($($part)+)); };
}

/// Writes that something did not work.
#[macro_export]
macro_rules! error {
    ($($part:tt)+) => { let _ = $crate::log::write($crate::log::Level::Error, &::std::format!($($part)+)); };
}
