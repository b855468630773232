//! The engine: one per process, made once, from the operator's limits.
//!
//! Everything a guest can use is set aside here: slots for memories, tables, instances. The pool reserves address space,
//! not memory, and hands a cleaned slot to each run, so that a run costs microseconds and leaves nothing behind for the
//! next. What is switched off is as much part of the fence as what is counted: no threads, no shared memory, no
//! garbage-collected types, no asynchronous calls; this build of wasmtime does not even contain them.
//!
//! Two settings are for replay alone: NaNs have one spelling and relaxed SIMD is refused, so that the same component
//! with the same answers takes the same path on every machine.

use std::hash::{Hash, Hasher};

use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::SandboxError;
use super::watch::Watch;
use crate::model::{Digest, Limits};

/// Runs at a time. A machine heals few things at once; what comes on top waits in the queue, not in memory.
const RUNS: u32 = 16;
/// Core instances, memories and tables of one component. A Rust playbook has one module, an adapter and a table shim;
/// the JavaScript engine that was tried has three memories.
const PARTS: u32 = 8;
/// Room for the bookkeeping of one instance, in bytes. wasmtime's default; the largest guest seen needs a tenth.
const INSTANCE_BYTES: usize = 1 << 20;

/// The engine of this process. Cheap to share by reference; made once.
#[derive(Debug)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) watch: Watch,
}

impl Engine {
    /// Makes the engine. Takes well under a millisecond: address space is reserved, no memory is touched.
    ///
    /// # Errors
    /// When the address space cannot be reserved.
    pub fn new(limits: &Limits) -> Result<Self, SandboxError> {
        let mut config = shared_config(limits);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
        let wasm = wasmtime::Engine::new(&config).map_err(SandboxError::Engine)?;
        Ok(Self { wasm, watch: Watch::new() })
    }

    /// Names everything that compiled code depends on: the version of wasmtime, the processor's features, the settings.
    /// Part of the key of the compiled cache: code under another key is compiled again. Two settings that fell together by
    /// chance would cost a refusal, not run wrong code: wasmtime checks them once more in the code itself.
    #[must_use]
    pub fn engine_hash(&self) -> u64 {
        engine_hash(&self.wasm)
    }
}

/// The engine that compiles. Its settings are those of [`Engine::new`] as far as code depends on them; it has no pool,
/// because it runs under a limit of address space and runs nothing.
pub(super) fn compiler(limits: &Limits) -> Result<wasmtime::Engine, SandboxError> {
    wasmtime::Engine::new(&shared_config(limits)).map_err(SandboxError::Engine)
}

/// `Hash` feeds whatever hasher it is given. Ours keeps the bytes and takes their SHA-256: the standard library's hasher
/// may change with the compiler, and would then empty every cache without a reason.
pub(super) fn engine_hash(engine: &wasmtime::Engine) -> u64 {
    struct Bytes(Vec<u8>);
    impl Hasher for Bytes {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut bytes = Bytes(Vec::new());
    engine.precompile_compatibility_hash().hash(&mut bytes);
    Digest::of(&bytes.0).as_bytes().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

fn shared_config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .max_wasm_stack(bytes_of_kib(limits.stack_kib))
        // A trap is reported in one line; a backtrace would be as deep as a hostile guest wants it.
        .wasm_backtrace_max_frames(None)
        // Only unwinders and debuggers of other tools read these; they double the size of the compiled code.
        .native_unwind_info(false)
        .generate_address_map(false);
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(RUNS)
        .total_core_instances(RUNS * PARTS)
        .total_memories(RUNS * PARTS)
        .total_tables(RUNS * PARTS)
        .max_core_instances_per_component(PARTS)
        .max_memories_per_component(PARTS)
        .max_tables_per_component(PARTS)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        // Each table alone; the limiter of a run adds them up. Likewise memories, whose slots are as large as an
        // address can reach: the limiter says what the limit was, a full slot would only say that growing failed.
        .table_elements(usize::try_from(limits.table_elements).unwrap_or(usize::MAX));
    pool
}

fn bytes_of_kib(kib: u64) -> usize {
    usize::try_from(kib.saturating_mul(1024)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_makes_code_for_the_engine() {
        let limits = Limits::default();
        let engine = Engine::new(&limits).unwrap();
        assert_eq!(engine.engine_hash(), engine_hash(&compiler(&limits).unwrap()));
        let roomier = Limits { stack_kib: 1_024, memory_mib: 256, table_elements: 50_000, ..limits };
        assert_eq!(engine.engine_hash(), engine_hash(&compiler(&roomier).unwrap()), "raising a limit would recompile");
        let other = wasmtime::Engine::new(&Config::new()).unwrap();
        assert_ne!(engine.engine_hash(), engine_hash(&other));
    }
}
