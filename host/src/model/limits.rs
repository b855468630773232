//! The limits of a run, each with its reason, and what is said when one is hit.
//!
//! Every limit is on by default and has no value that means "none". A limit that is hit ends the run, never the host,
//! and the message names the limit, its value and the line of `guardian.toml` that raises it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one run. Units are in the names; the reasons stand at [`Limits::default`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall-clock time of guest code and host calls together, in seconds.
    pub run_seconds: u64,
    /// Deadline of one host call within it, in seconds.
    pub call_seconds: u64,
    /// Linear memory, all memories of the component together, in MiB.
    pub memory_mib: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Stack of guest code, in KiB.
    pub stack_kib: u64,
    /// Host calls of one run, denied ones included.
    pub calls: u64,
    /// Lines a run may log.
    pub log_lines: u64,
    /// Bytes a run may log.
    pub log_bytes: u64,
    /// Bytes of strings in one call.
    pub argument_bytes: u64,
    /// Size of a component, in MiB.
    pub component_mib: u64,
    /// CPU time of a compilation, in seconds.
    pub compile_seconds: u64,
    /// Address space of a compilation, in MiB.
    pub compile_mib: u64,
    /// What one playbook may add to the trail in a day, in MiB.
    pub trail_mib_per_day: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A person who is woken up waits about that long before they look themselves.
            run_seconds: 60,
            // systemd's own default for starting a unit is 90 s; most services are up within a third of that.
            call_seconds: 30,
            // Measured: a Rust playbook uses under 2 MiB, one in a language with a runtime of its own up to 30 MiB.
            memory_mib: 64,
            // A Rust playbook has under 100; a garbage-collected language a few thousand.
            table_elements: 10_000,
            // wasmtime's own default, and deep enough for every legitimate guest seen.
            stack_kib: 512,
            // A playbook makes tens of calls; a thousand is a loop that waits for something.
            calls: 1_000,
            // What a person reads.
            log_lines: 200,
            // 200 lines of 320 characters.
            log_bytes: 64 * 1024,
            // A record holds at most 65,535 bytes and escaping can make six bytes of one.
            argument_bytes: 4 * 1024,
            // Eight languages were built; the largest (a JavaScript engine) came to 12 MiB.
            component_mib: 16,
            // 16 MiB of ordinary code compile in about 10 s of CPU on one slow core.
            compile_seconds: 60,
            // Cranelift needs about 60 times the size of the code, its thread stacks and the binary itself.
            compile_mib: 2_048,
            // A thousand full runs; a loop that never ends is stopped before it fills a disk.
            trail_mib_per_day: 64,
        }
    }
}

impl Limits {
    /// Wall-clock time of a run.
    #[must_use]
    pub const fn run_time(&self) -> Duration {
        Duration::from_secs(self.run_seconds)
    }

    /// Deadline of one host call.
    #[must_use]
    pub const fn call_time(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }
}

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitName {
    /// `run_seconds`.
    RunTime,
    /// `memory_mib`.
    Memory,
    /// `table_elements`.
    Tables,
    /// `stack_kib`.
    Stack,
    /// `calls`.
    Calls,
    /// `log_lines`.
    LogLines,
    /// `log_bytes`.
    LogBytes,
    /// What a guest may pass in one call, before it is even decoded. Fixed: 2 MiB.
    CallData,
    /// `component_mib`.
    ComponentSize,
    /// `compile_seconds`.
    CompileTime,
    /// `compile_mib`.
    CompileMemory,
    /// `trail_mib_per_day`.
    DailyTrail,
}

impl LimitName {
    /// The key under `[limits]` that sets it, if it can be set.
    #[must_use]
    pub const fn setting(self) -> Option<&'static str> {
        match self {
            Self::RunTime => Some("run_seconds"),
            Self::Memory => Some("memory_mib"),
            Self::Tables => Some("table_elements"),
            Self::Stack => Some("stack_kib"),
            Self::Calls => Some("calls"),
            Self::LogLines => Some("log_lines"),
            Self::LogBytes => Some("log_bytes"),
            Self::CallData => None,
            Self::ComponentSize => Some("component_mib"),
            Self::CompileTime => Some("compile_seconds"),
            Self::CompileMemory => Some("compile_mib"),
            Self::DailyTrail => Some("trail_mib_per_day"),
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::RunTime => ("time", "s"),
            Self::Memory => ("memory", "MiB"),
            Self::Tables => ("table", "elements"),
            Self::Stack => ("stack", "KiB"),
            Self::Calls => ("host call", "calls"),
            Self::LogLines => ("log", "lines"),
            Self::LogBytes => ("log", "bytes"),
            Self::CallData => ("call data", "bytes"),
            Self::ComponentSize => ("component size", "MiB"),
            Self::CompileTime => ("compilation time", "s"),
            Self::CompileMemory => ("compilation memory", "MiB"),
            Self::DailyTrail => ("daily trail", "MiB"),
        }
    }
}

/// A limit that was hit: the typed result of a run that spent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// Which one.
    pub limit: LimitName,
    /// Its value, in the unit of its setting.
    pub value: u64,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, unit) = self.limit.words();
        write!(out, "the {what} limit of {} {unit} was hit", self.value)?;
        match self.limit.setting() {
            Some(key) => write!(out, "; to raise it, set `{key}` under [limits] in guardian.toml"),
            None => write!(out, "; it is fixed"),
        }
    }
}
