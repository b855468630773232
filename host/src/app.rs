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
    leave_no_core();
    crate::cli::main()
}

/// Keys, what puts effects back and the environment of services pass through these processes and must not end up in a core
/// dump, nor in the hands of another process of the same user. The resource limit would be handed down to services; this ends
/// with the next program.
fn leave_no_core() {
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!("a core dump of this process could hold keys and what it puts back: {error}");
    }
}
