//! Compiling, in a process of its own.
//!
//! A compiler is the largest piece of code that hostile bytes reach, and a small component can make it work for hours
//! or want gigabytes. So it runs in a child (`guardian compile-worker`, this same binary) that the caller confines with
//! limits of CPU time and address space and kills when it is late: a component that breaks the compiler breaks that
//! child. The child has no key, opens no file and knows no name: a component goes in on standard input, code comes out
//! on standard output, and a refusal is one line on standard error.
//!
//! Nothing here decides whether the component may run; the bytes have been admitted before, and the parent puts its own
//! MAC on what comes out.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::ExitCode;

use super::engine::compiler;
use super::{SandboxError, walk};
use crate::model::{Interface, Limits};

/// More than any `component_mib` that could be compiled within the address space of the child: a bound on reading, in
/// bytes, in case the parent did not look.
const LARGEST_INPUT: u64 = 256 * 1024 * 1024;

/// Exit code for a component that is refused, as everywhere in this program.
const REFUSED: u8 = 3;

/// Machine code that this process compiled itself, and so may run. Code from anywhere else needs another proof.
///
/// ```compile_fail,E0423
/// let forged = guardian::sandbox::Code(b"\x7fELF".to_vec());
/// ```
/// ```compile_fail,E0277
/// let forged: guardian::sandbox::Code = b"\x7fELF".to_vec().into();
/// ```
#[must_use]
pub struct Code(Vec<u8>);

impl Code {
    /// The code, for the compiled cache.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Code({} bytes)", self.0.len())
    }
}

/// Compiles a component to machine code for [`Engine`](super::Engine)s with the same limits.
///
/// # Errors
/// What [`walk`] refuses, with every interface counted as granted, and what the compiler refuses.
pub fn compile(component: &[u8], limits: &Limits) -> Result<Code, SandboxError> {
    walk(component, &BTreeSet::from(Interface::ALL), limits)?;
    compiler(limits)?.precompile_component(component).map(Code).map_err(SandboxError::Compile)
}

/// The body of `guardian compile-worker`: a component on standard input, compiled code on standard output.
///
/// Exit code 0 when all of it was written, 3 with one line on standard error when the component is refused, 1 when
/// reading or writing failed.
#[must_use]
pub fn compile_worker() -> ExitCode {
    let mut component = Vec::new();
    if let Err(error) = std::io::stdin().lock().take(LARGEST_INPUT + 1).read_to_end(&mut component) {
        return say(1, &format!("the component could not be read: {error}"));
    }
    // The operator's limits were checked by the parent and are counted again in every run; the code itself depends on
    // none of them, so that raising one does not empty the cache.
    let limits = Limits {
        component_mib: LARGEST_INPUT >> 20,
        memory_mib: u64::MAX,
        table_elements: u64::MAX,
        ..Limits::default()
    };
    match compile(&component, &limits) {
        Ok(code) => {
            let mut out = std::io::stdout().lock();
            match out.write_all(code.bytes()).and_then(|()| out.flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => say(1, &format!("the compiled code could not be written: {error}")),
            }
        }
        Err(error @ (SandboxError::Refused(_) | SandboxError::Compile(_))) => say(REFUSED, &error.to_string()),
        Err(error) => say(1, &error.to_string()),
    }
}

fn say(code: u8, line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::from(code)
}
