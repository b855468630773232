//! Why a component is not loaded: all reasons at once, so that an author mends them in one go.

use crate::model::{Interface, LimitHit, escape_to};

/// Longest name that is shown. A component can hold names of any length.
const SHOWN: usize = 96;

/// Why a component is refused before any of it is compiled or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadRefusal {
    /// It is larger than the operator allows.
    #[error("the component is too large: {0}")]
    TooLarge(LimitHit),
    /// It declares more memory or tables to begin with than a run gets.
    #[error("the component could never run: {0}")]
    NeedsMore(LimitHit),
    /// It does not begin as WebAssembly does.
    #[error("this is not a WebAssembly component: {0}; build one with `guardian playbook build`")]
    NotAComponent(&'static str),
    /// It begins as a component and does not go on as one.
    #[error("the component is damaged or uses what this host does not have: {why} (at byte {offset})")]
    Malformed {
        /// What is wrong, in the validator's words, escaped.
        why: String,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// It asks for something that it does not get.
    #[error("{}", join(.0))]
    Imports(Vec<ImportProblem>),
    /// The manifest and the component say different things.
    #[error("{}", disagreement(.undeclared, .unused))]
    Manifest {
        /// Imported, but not in the manifest.
        undeclared: Vec<Interface>,
        /// In the manifest, but not imported.
        unused: Vec<Interface>,
    },
}

/// One thing that a component asks for and does not get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ImportProblem {
    /// An interface that the operator did not grant.
    #[error(
        "it imports `{0}`, which is not granted: no permit gives it anything of that, or its manifest does not ask for it; see `guardian policy explain PLAYBOOK ACTION RESOURCE`"
    )]
    NotGranted(Interface),
    /// Part of WASI.
    #[error("it imports `{}`, and there is no WASI here; build it for wasm32-unknown-unknown", shown(.0))]
    Wasi(String),
    /// An interface of ours in a version that this host does not have.
    #[error("it imports `{}`, and this host has version 0.1; build it against this version's wit/", shown(.0))]
    Version(String),
    /// A function of an interface of ours that this host does not have.
    #[error("it imports `{}`, which this host does not have; it needs a newer guardian", shown(.0))]
    UnknownFunction(String),
    /// Anything else.
    #[error("it imports `{}`, which this host does not offer; import from guardian:playbook only", shown(.0))]
    Unknown(String),
    /// A resource type, imported, exported or defined.
    #[error("it has resource types, which guardian:playbook does not use; pass names instead")]
    Resource,
    /// An asynchronous function, a stream or a future.
    #[error("it has asynchronous functions, streams or futures; all calls of guardian:playbook are synchronous")]
    Asynchronous,
    /// It exports nothing that could be run.
    #[error("it does not export `guardian:playbook/remediation@0.1.0`; export it with `guardian_sdk::export!`")]
    NoRemediation,
}

fn shown(name: &str) -> String {
    escape_to(name, SHOWN)
}

/// More than this is not read by anybody; the count says that there is more.
const LISTED: usize = 20;

fn join(problems: &[ImportProblem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(LISTED).map(ToString::to_string).collect();
    if problems.len() > LISTED {
        lines.push(format!("and {} more", problems.len() - LISTED));
    }
    format!("the component is refused: {}", lines.join(" · "))
}

fn disagreement(undeclared: &[Interface], unused: &[Interface]) -> String {
    let words = |list: &[Interface]| list.iter().map(|interface| interface.word()).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !undeclared.is_empty() {
        parts.push(format!("add {} to it, which the component imports", words(undeclared)));
    }
    if !unused.is_empty() {
        parts.push(format!("remove {} from it, which the component never imports", words(unused)));
    }
    format!("`capabilities` in playbook.toml is not what the component imports: {}", parts.join(", and "))
}
