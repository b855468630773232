//! What the compiling process does to itself before it reads a byte of what it compiles.
//!
//! The limits are set by the process that they bind, with safe calls, because setting them between fork and exec of the
//! parent would need unsafe code in the daemon. They are inherited by nothing else and cannot be raised again: each is
//! set as the hard limit too.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};

use super::RegistryError;
use crate::model::Limits;

/// Standard streams, and what the runtime opens for a moment to count the processors.
const FILES: u64 = 32;

/// Limits this process for good, for compiling: address space and CPU time as in `limits`, no core dump (it would hold
/// what a stranger sent), no file longer than nothing, few open files; and it dies with its parent.
///
/// # Errors
/// When the system refuses one of the limits. Compile nothing then.
pub fn confine(limits: &Limits) -> Result<(), RegistryError> {
    let refused =
        |source: rustix::io::Errno| RegistryError::System { act: "limit the compiling process", source: source.into() };
    let memory = limits.compile_mib.saturating_mul(1 << 20);
    // The hard CPU limit kills without a message; one second after the soft one, which says which limit it was.
    let cpu = limits.compile_seconds;
    for (resource, soft, hard) in [
        (Resource::As, memory, memory),
        (Resource::Cpu, cpu, cpu.saturating_add(1)),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, FILES, FILES),
    ] {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) }).map_err(refused)?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(refused)
}
