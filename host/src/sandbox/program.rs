//! A program: compiled code that is linked and ready, kept for as many runs as wanted.
//!
//! Linking happens once. Only granted interfaces are put into the linker, so what is not granted is not there to be
//! called, whatever the walk before it thought. A run then costs an instance and a call.

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::execute::HostSide;
use super::import::{self, PlaybookPre, WitIncident};
use super::{Code, Engine, ImportProblem, LoadRefusal, SandboxError};
use crate::model::{GuestError, Interface, Report};
use crate::registry::MacChecked;

/// A playbook, compiled and linked.
pub struct Program {
    engine: Arc<Engine>,
    ready: PlaybookPre<HostSide>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Program").finish_non_exhaustive()
    }
}

impl Program {
    /// Makes a program from code that this process compiled, linked with the `granted` interfaces and no other.
    ///
    /// # Errors
    /// Code of another engine, or a component that needs what is not granted.
    pub fn new(engine: &Arc<Engine>, code: &Code, granted: &BTreeSet<Interface>) -> Result<Self, SandboxError> {
        // SAFETY: a `Code` is made by `compile` alone, in this process, and nobody can change it.
        #[allow(unsafe_code)]
        unsafe {
            Self::from_code(engine, code.bytes(), granted)
        }
    }

    /// Makes a program from code that was compiled earlier and kept in the compiled cache.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn from_cache(
        engine: &Arc<Engine>,
        code: &MacChecked,
        granted: &BTreeSet<Interface>,
    ) -> Result<Self, SandboxError> {
        // SAFETY: a `MacChecked` is made by the compiled cache alone, after the MAC of this host's key over this very
        // buffer held; only code that `compile` made on this host is put in.
        #[allow(unsafe_code)]
        unsafe {
            Self::from_code(engine, code.code(), granted)
        }
    }

    /// # Safety
    /// `code` is machine code and will be run: it must be, byte for byte, what [`compile`](super::compile) made on this host.
    #[allow(unsafe_code)]
    unsafe fn from_code(
        engine: &Arc<Engine>,
        code: &[u8],
        granted: &BTreeSet<Interface>,
    ) -> Result<Self, SandboxError> {
        // SAFETY: what the caller vouches for. wasmtime itself checks version and settings.
        let component = unsafe { Component::deserialize(&engine.wasm, code) }.map_err(SandboxError::Stale)?;
        Self::link(engine, &component, granted)
    }

    fn link(engine: &Arc<Engine>, component: &Component, granted: &BTreeSet<Interface>) -> Result<Self, SandboxError> {
        let missing = missing(engine, component, granted);
        if !missing.is_empty() {
            return Err(LoadRefusal::Imports(missing).into());
        }
        let mut linker = Linker::new(&engine.wasm);
        for interface in granted {
            import::link(*interface, &mut linker).map_err(SandboxError::Contract)?;
        }
        let ready = linker.instantiate_pre(component).and_then(PlaybookPre::new).map_err(SandboxError::Contract)?;
        Ok(Self { engine: Arc::clone(engine), ready })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Instantiates and calls. Guest code can run during both.
    pub(super) fn call(
        &self,
        store: &mut Store<HostSide>,
        incident: &WitIncident,
    ) -> wasmtime::Result<Result<Report, GuestError>> {
        let playbook = self.ready.instantiate(&mut *store)?;
        let answer = playbook.guardian_playbook_remediation().call_remediate(&mut *store, incident)?;
        Ok(import::answer(answer))
    }
}

/// Every import that is not granted. The walk has read the component before it was compiled; this asks the compiled code,
/// because the grants may have changed since.
fn missing(engine: &Engine, component: &Component, granted: &BTreeSet<Interface>) -> Vec<ImportProblem> {
    let kind = component.component_type();
    let mut problems = Vec::new();
    for (name, _) in kind.imports(&engine.wasm) {
        let word = name.strip_prefix("guardian:playbook/").and_then(|rest| rest.split('@').next());
        match word.and_then(Interface::from_word) {
            Some(interface) if granted.contains(&interface) => {}
            Some(interface) => problems.push(ImportProblem::NotGranted(interface)),
            None if word == Some("types") => {}
            None => problems.push(ImportProblem::Unknown(name.to_owned())),
        }
    }
    problems
}
