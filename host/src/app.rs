//! The program: what a process sets up before a command runs.
//!
//! Diagnostics of the host itself (a checkpoint that was not published, compiled code that was tampered with) go to
//! standard error; answers go to standard output; what matters for the record goes to the trail and nowhere else.

use std::process::ExitCode;

/// Runs this process.
#[must_use]
pub fn main() -> ExitCode {
    let diagnostics = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .finish();
    // Fails only if a subscriber is set already, as by a program that uses this library.
    let _ = tracing::subscriber::set_global_default(diagnostics);
    crate::cli::main()
}
