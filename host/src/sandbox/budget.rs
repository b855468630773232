//! What one run may use up, counted.
//!
//! wasmtime answers a refused growth with -1, which a guest turns into a plain `unreachable`, and the operator would
//! read "it trapped" where the truth is "it wanted more memory than you allow". So a refusal is written down here first
//! and then ends the run. The same holds for calls and log lines: a guest that asks a thousand times is a loop, and
//! answering it politely for ever would fill the trail.
//!
//! Counted are: bytes of all memories, elements of all tables, calls (denied ones included), lines and bytes of the log.
//! Not counted: time (the watch does), stack (wasmtime does), and what the host does on a guest's behalf. That the strings
//! of one call are short enough is for the gate to say: a refusal belongs on the trail.

use wasmtime::ResourceLimiter;

use super::execute::Stop;
use crate::model::{Action, LimitHit, LimitName, Limits};

const MIB: u64 = 1024 * 1024;

/// The counters of one run.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    memory: Counted,
    tables: Counted,
    calls: u64,
    log_lines: u64,
    log_bytes: u64,
    hit: Option<LimitHit>,
}

/// A sum over all memories or tables, and the last step, in case it has to be taken back.
#[derive(Debug, Default)]
struct Counted {
    sum: u64,
    last: u64,
}

impl Counted {
    fn grow(&mut self, current: usize, desired: usize, limit: u64) -> bool {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let sum = self.sum.saturating_add(more);
        let fits = sum <= limit;
        if fits {
            (self.sum, self.last) = (sum, more);
        }
        fits
    }

    fn take_back(&mut self) {
        self.sum = self.sum.saturating_sub(std::mem::take(&mut self.last));
    }
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            memory: Counted::default(),
            tables: Counted::default(),
            calls: 0,
            log_lines: 0,
            log_bytes: 0,
            hit: None,
        }
    }

    /// The first limit that was hit.
    pub(super) const fn hit(&self) -> Option<LimitHit> {
        self.hit
    }

    /// Writes down that a limit was hit, and gives what ends the run.
    pub(super) fn spend(&mut self, limit: LimitName) -> Stop {
        let value = match limit {
            LimitName::RunTime => self.limits.run_seconds,
            LimitName::Memory => self.limits.memory_mib,
            LimitName::Tables => self.limits.table_elements,
            LimitName::Stack => self.limits.stack_kib,
            LimitName::Calls => self.limits.calls,
            LimitName::LogLines => self.limits.log_lines,
            LimitName::LogBytes => self.limits.log_bytes,
            LimitName::CallData => super::execute::CALL_DATA,
            LimitName::ComponentSize => self.limits.component_mib,
            LimitName::CompileTime => self.limits.compile_seconds,
            LimitName::CompileMemory => self.limits.compile_mib,
            LimitName::DailyTrail => self.limits.trail_mib_per_day,
        };
        let hit = *self.hit.get_or_insert(LimitHit { limit, value });
        Stop::Limit(hit)
    }

    /// Counts one call, before anybody looks at what it asks for.
    ///
    /// # Errors
    /// What ends the run.
    pub(super) fn call(&mut self, action: &Action) -> Result<(), Stop> {
        self.calls = self.calls.saturating_add(1);
        if self.calls > self.limits.calls {
            return Err(self.spend(LimitName::Calls));
        }
        if matches!(action, Action::Log { .. }) {
            let bytes = u64::try_from(action.argument_bytes()).unwrap_or(u64::MAX);
            self.log_lines = self.log_lines.saturating_add(1);
            self.log_bytes = self.log_bytes.saturating_add(bytes);
            if self.log_lines > self.limits.log_lines {
                return Err(self.spend(LimitName::LogLines));
            }
            if self.log_bytes > self.limits.log_bytes {
                return Err(self.spend(LimitName::LogBytes));
            }
        }
        Ok(())
    }
}

// INVARIANT 4: only spent limits trap, and each says which it was.
impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        if self.memory.grow(current, desired, self.limits.memory_mib.saturating_mul(MIB)) {
            return Ok(true);
        }
        Err(self.spend(LimitName::Memory).into())
    }

    /// The guest's own maximum refused it after we had agreed.
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        if self.tables.grow(current, desired, self.limits.table_elements) {
            return Ok(true);
        }
        Err(self.spend(LimitName::Tables).into())
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.take_back();
        Ok(())
    }
}
