//! What everything else is compared with: the same component on wasmtime, with the same limits, and imports that answer
//! at once with a constant.

use anyhow::{Result, anyhow, ensure};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store, UpdateDeadline,
};

/// Generated from wit/ by wasmtime.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod contract {
    wasmtime::component::bindgen!({ path: "../wit", world: "playbook", imports: { default: trappable } });
}

use contract::PlaybookPre;
use contract::guardian::playbook::{probe, service, types};

/// Counts memory and tables, as the sandbox does.
#[derive(Debug, Default)]
struct Empty {
    bytes: usize,
    elements: usize,
}

impl ResourceLimiter for Empty {
    fn memory_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        self.bytes += desired - current;
        Ok(self.bytes <= 64 << 20)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        self.elements += desired - current;
        Ok(self.elements <= 10_000)
    }
}

impl types::Host for Empty {}

type Status = wasmtime::Result<Result<service::ServiceStatus, service::Error>>;

fn running() -> Status {
    Ok(Ok(service::ServiceStatus {
        state: service::State::Running,
        since_ms: Some(1),
        restarts: 0,
        last_exit: None,
        stopped_by_person: false,
        extra: Vec::new(),
    }))
}

impl service::Host for Empty {
    fn status(&mut self, _name: String) -> Status {
        running()
    }
    fn start(&mut self, _name: String) -> Status {
        running()
    }
    fn stop(&mut self, _name: String) -> Status {
        running()
    }
    fn restart(&mut self, _name: String) -> Status {
        running()
    }
    fn reload(&mut self, _name: String) -> Status {
        running()
    }
    fn reset_failed(&mut self, _name: String) -> Status {
        running()
    }
}

impl probe::Host for Empty {
    fn run(&mut self, _name: String) -> wasmtime::Result<Result<probe::Reading, probe::Error>> {
        let seen = "assumed: the service is running".to_owned();
        Ok(Ok(probe::Reading { verdict: probe::Verdict::Healthy, latency_us: 0, seen, extra: Vec::new() }))
    }
}

/// A component, ready to run.
pub(crate) struct Bare {
    engine: Engine,
    ready: PlaybookPre<Empty>,
}

impl Bare {
    /// Compiles it, with the settings of the sandbox.
    pub(crate) fn new(component: &[u8]) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(16)
            .total_core_instances(128)
            .total_memories(128)
            .total_tables(128)
            .max_core_instances_per_component(8)
            .max_memories_per_component(8)
            .max_tables_per_component(8)
            .max_component_instance_size(1 << 20)
            .max_core_instance_size(1 << 20)
            .table_elements(10_000);
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            .wasm_memory64(false)
            .max_wasm_stack(512 << 10)
            .wasm_backtrace_max_frames(None)
            .native_unwind_info(false)
            .generate_address_map(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(plain)?;
        let component = Component::new(&engine, component).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        service::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host).map_err(plain)?;
        probe::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host).map_err(plain)?;
        let ready = linker.instantiate_pre(&component).and_then(PlaybookPre::new).map_err(plain)?;
        Ok(Self { engine, ready })
    }

    /// One whole run: a store, an instance, the call, and everything dropped again.
    pub(crate) fn run(&self, incident: &types::Incident) -> Result<()> {
        let mut store = Store::new(&self.engine, Empty::default());
        store.limiter(|host| host);
        store.set_hostcall_fuel(2 << 20);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        store.set_epoch_deadline(1);
        let playbook = self.ready.instantiate(&mut store).map_err(plain)?;
        let answer = playbook.guardian_playbook_remediation().call_remediate(&mut store, incident).map_err(plain)?;
        ensure!(answer.is_ok(), "the guest gave up");
        Ok(())
    }
}

/// The incident that the guest is called with.
pub(crate) fn incident() -> types::Incident {
    types::Incident {
        id: "i-1".to_owned(),
        kind: "service_crashed".to_owned(),
        target: types::Resource { kind: "service".to_owned(), name: "web".to_owned() },
        severity: 5,
        opened_at: 1_700_000_000_000,
        labels: crate::reading::LABELS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        bindings: vec![("target".to_owned(), "web".to_owned())],
        extra: Vec::new(),
    }
}

fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
