//! Our own walk of a component's imports, before anything is compiled.
//!
//! The first fence: an interface that is not granted is never linked. A linker alone would stop at the first missing
//! name, after the compiler had chewed on hostile bytes, and would let resource types pass. This walk names everything
//! at once, and refuses what the contract does not have: WASI, other versions, resources, asynchronous types.
//!
//! It stops a component from smuggling in a way out that nobody reviewed, and an author from learning of three missing
//! grants in three attempts. It does not prove the code harmless, and it validates with every proposal switched on, so
//! that it can name what the strict engine afterwards refuses anyway. Extra exports are left alone: several languages'
//! toolchains leave some behind, and nothing ever calls them. The default is no: a name that is not known is refused.

use std::collections::BTreeSet;

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{
    ComponentDefinedType, ComponentType, ComponentTypeDeclaration, ComponentTypeRef, Encoding, InstanceTypeDeclaration,
    Parser, Payload, TypeBounds, Validator, WasmFeatures,
};

use super::refusal::{ImportProblem, LoadRefusal};
use crate::model::{Interface, LimitHit, LimitName, Limits, Manifest, escape_to};

/// The package that everything is imported from.
const PACKAGE: &str = "guardian:playbook/";
/// Shared types: no functions, so nothing to grant.
const TYPES: &str = "types";
/// What a playbook exports.
const REMEDIATION: &str = "remediation";

/// A page of linear memory has 64 KiB.
const PAGES_PER_MIB: u64 = 16;

/// What a component imports, once all of it is known to be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The interfaces it imports. `types` is not among them: it holds no functions.
    pub interfaces: BTreeSet<Interface>,
}

impl ImportReport {
    /// Whether the manifest asks for exactly what the component imports, so that who reads the one knows the other.
    ///
    /// # Errors
    /// [`LoadRefusal::Manifest`] with every difference.
    pub fn matches(&self, manifest: &Manifest) -> Result<(), LoadRefusal> {
        let asked: BTreeSet<Interface> =
            manifest.capabilities.iter().filter_map(|word| Interface::from_word(word)).collect();
        let undeclared: Vec<_> = self.interfaces.difference(&asked).copied().collect();
        let unused: Vec<_> = asked.difference(&self.interfaces).copied().collect();
        if undeclared.is_empty() && unused.is_empty() {
            Ok(())
        } else {
            Err(LoadRefusal::Manifest { undeclared, unused })
        }
    }
}

/// Reads what a component imports and exports, and refuses everything that is not `granted`.
///
/// # Errors
/// Too large, not a component, damaged, or all of its imports that it does not get.
pub fn walk(bytes: &[u8], granted: &BTreeSet<Interface>, limits: &Limits) -> Result<ImportReport, LoadRefusal> {
    check_size(bytes, limits)?;
    check_preamble(bytes)?;
    let types = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).map_err(malformed)?;
    let mut walk = Walk {
        granted,
        types: &types,
        interfaces: BTreeSet::new(),
        problems: BTreeSet::new(),
        remediation: false,
        pages: 0,
        elements: 0,
    };
    walk.sections(bytes).map_err(malformed)?;
    if let Some(hit) = walk.needs_more(limits) {
        return Err(LoadRefusal::NeedsMore(hit));
    }
    if !walk.remediation {
        walk.problems.insert(ImportProblem::NoRemediation);
    }
    if walk.problems.is_empty() {
        Ok(ImportReport { interfaces: walk.interfaces })
    } else {
        Err(LoadRefusal::Imports(walk.problems.into_iter().collect()))
    }
}

fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), LoadRefusal> {
    let largest = limits.component_mib.saturating_mul(1024 * 1024);
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > largest {
        return Err(LoadRefusal::TooLarge(LimitHit { limit: LimitName::ComponentSize, value: limits.component_mib }));
    }
    Ok(())
}

fn check_preamble(bytes: &[u8]) -> Result<(), LoadRefusal> {
    if bytes.is_empty() {
        return Err(LoadRefusal::NotAComponent("the file is empty"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadRefusal::NotAComponent("it does not begin with `\\0asm`"));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(LoadRefusal::NotAComponent("it is a core module"));
    }
    Ok(())
}

fn malformed(error: wasmparser::BinaryReaderError) -> LoadRefusal {
    LoadRefusal::Malformed { why: escape_to(error.message(), 200), offset: error.offset() }
}

struct Walk<'a> {
    granted: &'a BTreeSet<Interface>,
    types: &'a Types,
    interfaces: BTreeSet<Interface>,
    problems: BTreeSet<ImportProblem>,
    remediation: bool,
    /// Memory that is there before the first instruction, in pages of 64 KiB, all modules together.
    pages: u64,
    /// Table elements likewise.
    elements: u64,
}

impl Walk<'_> {
    /// Names count at the outermost level only; types count at every level, since a resource may hide in any of them.
    fn sections(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        self.import(import?.name.name);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        self.export(export?.name.name);
                    }
                }
                Payload::ComponentTypeSection(types) => {
                    for found in types {
                        self.component_type(&found?);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        self.pages = self.pages.saturating_add(memory?.initial);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        self.elements = self.elements.saturating_add(table?.ty.initial);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A run would end at this limit before its first instruction; better to say so before anything is signed. A module
    /// that is instantiated twice counts once here, and the run's own count catches it.
    fn needs_more(&self, limits: &Limits) -> Option<LimitHit> {
        if self.pages > limits.memory_mib.saturating_mul(PAGES_PER_MIB) {
            return Some(LimitHit { limit: LimitName::Memory, value: limits.memory_mib });
        }
        (self.elements > limits.table_elements)
            .then_some(LimitHit { limit: LimitName::Tables, value: limits.table_elements })
    }

    fn import(&mut self, name: &str) {
        let problem = match name.strip_prefix(PACKAGE) {
            Some(rest) => match rest.split_once('@') {
                Some((TYPES, version)) if is_ours(version) => return,
                Some((word, version)) => match (Interface::from_word(word), is_ours(version)) {
                    (Some(interface), true) => return self.interface(interface, name),
                    (Some(_), false) => ImportProblem::Version(name.to_owned()),
                    (None, _) if word == TYPES => ImportProblem::Version(name.to_owned()),
                    (None, _) => ImportProblem::Unknown(name.to_owned()),
                },
                None => ImportProblem::Version(name.to_owned()),
            },
            None if name.starts_with("wasi:") || name.starts_with("wasi_") => ImportProblem::Wasi(name.to_owned()),
            None => ImportProblem::Unknown(name.to_owned()),
        };
        self.problems.insert(problem);
    }

    fn interface(&mut self, interface: Interface, name: &str) {
        if !self.granted.contains(&interface) {
            self.problems.insert(ImportProblem::NotGranted(interface));
        }
        self.interfaces.insert(interface);
        let item = self.types.component_item_for_import(name).map(|item| item.ty);
        let Some(ComponentEntityType::Instance(id)) = item else {
            self.problems.insert(ImportProblem::Unknown(name.to_owned()));
            return;
        };
        for (function, item) in &self.types[id].exports {
            let is_function = matches!(item.ty, ComponentEntityType::Func(_));
            if is_function && !interface.verbs().any(|verb| verb.function() == function) {
                self.problems.insert(ImportProblem::UnknownFunction(format!("{name}#{function}")));
            }
        }
    }

    fn export(&mut self, name: &str) {
        let version = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix(REMEDIATION));
        self.remediation |= version.and_then(|rest| rest.strip_prefix('@')).is_some_and(is_ours);
    }

    fn component_type(&mut self, found: &ComponentType<'_>) {
        match found {
            ComponentType::Resource { .. } => self.resource(),
            ComponentType::Func(function) if function.async_ => self.asynchronous(),
            ComponentType::Defined(ComponentDefinedType::Future(_) | ComponentDefinedType::Stream(_)) => {
                self.asynchronous();
            }
            ComponentType::Defined(ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_)) => self.resource(),
            ComponentType::Component(declarations) => {
                for declaration in declarations {
                    match declaration {
                        ComponentTypeDeclaration::Type(inner) => self.component_type(inner),
                        ComponentTypeDeclaration::Export { ty, .. } => self.reference(*ty),
                        ComponentTypeDeclaration::Import(import) => self.reference(import.ty),
                        ComponentTypeDeclaration::CoreType(_) | ComponentTypeDeclaration::Alias(_) => {}
                    }
                }
            }
            ComponentType::Instance(declarations) => {
                for declaration in declarations {
                    match declaration {
                        InstanceTypeDeclaration::Type(inner) => self.component_type(inner),
                        InstanceTypeDeclaration::Export { ty, .. } => self.reference(*ty),
                        InstanceTypeDeclaration::CoreType(_) | InstanceTypeDeclaration::Alias(_) => {}
                    }
                }
            }
            ComponentType::Func(_) | ComponentType::Defined(_) => {}
        }
    }

    fn reference(&mut self, to: ComponentTypeRef) {
        if matches!(to, ComponentTypeRef::Type(TypeBounds::SubResource)) {
            self.resource();
        }
    }

    fn resource(&mut self) {
        self.problems.insert(ImportProblem::Resource);
    }

    fn asynchronous(&mut self) {
        self.problems.insert(ImportProblem::Asynchronous);
    }
}

/// 0.1.x: the package is widened within 0.1 by new functions, never changed, so every 0.1.x can be linked as far as its
/// functions are known.
fn is_ours(version: &str) -> bool {
    version
        .strip_prefix("0.1.")
        .is_some_and(|patch| !patch.is_empty() && patch.len() <= 5 && patch.bytes().all(|byte| byte.is_ascii_digit()))
}
