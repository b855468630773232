//! The fence around guest code, and the only room that knows wasmtime.
//!
//! A playbook is a component from somebody the operator does not fully trust. In here it gets a memory, a stack, a
//! deadline and the interfaces it was granted; there is nothing else it could name. Three things keep it in:
//!
//! - [`walk`] reads the imports before anything is compiled. An interface that is not granted, WASI, resources,
//!   asynchronous types and other versions are refused with all their names at once.
//! - [`compile`] happens in a process of its own, which the caller confines and can kill. What it makes is run only if
//!   nobody but this host can have written it.
//! - [`run`] gives each run a fresh store, counts everything a guest can use up, and ends the run, never the host, when
//!   one of it is spent.
//!
//! Guest code reaches the world through one closure, from [`Action`](crate::model::Action) to
//! [`Reply`](crate::model::Reply): plain data that could cross a pipe, so that the sandbox can later move into a process
//! of its own. Whoever passes the closure decides, records and acts; this room only translates.
//!
//! It does not judge who may run, which calls are permitted, or whether a guest told the truth. By default there is no
//! WASI, no network, no file, no environment, no randomness and no clock but the host's.

mod budget;
mod compile;
mod engine;
mod execute;
mod import;
mod program;
mod refusal;
mod walk;
mod watch;

pub use compile::{Code, compile, compile_worker};
pub use engine::Engine;
pub use execute::{CallError, Calls, GuestEnd, run};
pub use program::Program;
pub use refusal::{ImportProblem, LoadRefusal};
pub use walk::{ImportReport, walk};

/// Something that kept a component from being compiled or run, and is not the component's fault alone.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The component itself is refused.
    #[error(transparent)]
    Refused(#[from] LoadRefusal),
    /// No engine could be made.
    #[error(
        "no engine could be made, usually because the address space is limited (`ulimit -v`, `LimitAS=`): {}",
        one_line(.0)
    )]
    Engine(#[source] wasmtime::Error),
    /// The compiler gave up.
    #[error("the component could not be compiled: {}", one_line(.0))]
    Compile(#[source] wasmtime::Error),
    /// Compiled code that does not fit this host.
    #[error("the compiled code does not fit this host (another version, or other limits); compile it again: {}", one_line(.0))]
    Stale(#[source] wasmtime::Error),
    /// The imports have the right names and the wrong types.
    #[error("the component was built against another contract; build it again with this version's SDK: {}", one_line(.0))]
    Contract(#[source] wasmtime::Error),
    /// The thread that watches deadlines could not be started. Without it nothing runs.
    #[error("the thread that ends runs at their deadline could not be started: {0}")]
    Watch(#[source] std::io::Error),
}

/// An error of wasmtime with its causes, on one line, escaped and cut: parts of it come from the component.
fn one_line(error: &wasmtime::Error) -> String {
    crate::model::escape_to(&format!("{error:#}"), 300)
}
