//! Components that never get as far as running: refused by name, all reasons at once, on one line.

use std::collections::BTreeSet;

use guardian::model::{Interface, LimitName, Limits, Manifest};
use guardian::sandbox::{ImportProblem, LoadRefusal, Program, SandboxError, compile, walk};

use super::{component, engine, everything, good};

/// A component in text: `imports`, and an export that the walk recognizes.
fn text(imports: &str) -> Vec<u8> {
    let export = r#"(instance $none) (export "guardian:playbook/remediation@0.1.0" (instance $none))"#;
    wat::parse_str(format!("(component {imports} {export})")).unwrap()
}

fn problems(bytes: &[u8], granted: &BTreeSet<Interface>) -> Vec<ImportProblem> {
    let refusal = walk(bytes, granted, &Limits::default()).unwrap_err();
    assert!(!refusal.to_string().contains('\n'));
    // The worker knows no grants; whatever is refused for another reason, it refuses too, before it compiles.
    let compiled = compile(bytes, &Limits::default());
    if *granted == everything() {
        assert!(matches!(compiled, Err(SandboxError::Refused(_))), "{compiled:?}");
    }
    good();
    match refusal {
        LoadRefusal::Imports(problems) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ungranted_interfaces_are_all_named() {
    let bytes = component(include_str!("good.wat"));
    let found = walk(&bytes, &everything(), &Limits::default()).unwrap();
    assert_eq!(found.interfaces, BTreeSet::from([Interface::Service, Interface::Probe]));
    assert_eq!(
        problems(&bytes, &BTreeSet::from([Interface::Log])),
        [ImportProblem::NotGranted(Interface::Service), ImportProblem::NotGranted(Interface::Probe)]
    );
    assert_eq!(problems(&bytes, &BTreeSet::from([Interface::Service])), [ImportProblem::NotGranted(Interface::Probe)]);
}

/// The second fence: compiled code is linked with what is granted now.
#[test]
fn compiled_code_without_its_grant_is_not_linked() {
    let code = compile(&component(include_str!("good.wat")), &Limits::default()).unwrap();
    let refused = Program::new(&engine(), &code, &BTreeSet::from([Interface::Service]));
    match refused {
        Err(SandboxError::Refused(LoadRefusal::Imports(problems))) => {
            assert_eq!(problems, [ImportProblem::NotGranted(Interface::Probe)]);
        }
        other => panic!("{other:?}"),
    }
    good();
}

#[test]
fn wasi_unknown_interfaces_and_wrong_versions_are_named_at_once() {
    let bytes = text(
        r#"(import "wasi:cli/environment@0.2.0" (instance (export "get" (func (result string)))))
           (import "guardian:playbook/shell@0.1.0" (instance (export "run" (func (param "line" string)))))
           (import "guardian:playbook/service@0.2.0" (instance))
           (import "guardian:playbook/types@1.0.0" (instance))
           (import "guardian:playbook/log" (instance))
           (import "acme:tools/shell@1.0.0" (instance))
           (import "run" (func))"#,
    );
    assert_eq!(
        problems(&bytes, &everything()),
        [
            ImportProblem::Wasi("wasi:cli/environment@0.2.0".to_owned()),
            ImportProblem::Version("guardian:playbook/log".to_owned()),
            ImportProblem::Version("guardian:playbook/service@0.2.0".to_owned()),
            ImportProblem::Version("guardian:playbook/types@1.0.0".to_owned()),
            ImportProblem::Unknown("acme:tools/shell@1.0.0".to_owned()),
            ImportProblem::Unknown("guardian:playbook/shell@0.1.0".to_owned()),
            ImportProblem::Unknown("run".to_owned()),
        ]
    );
}

#[test]
fn a_function_of_a_later_0_1_is_named() {
    let bytes = text(r#"(import "guardian:playbook/service@0.1.7" (instance (export "isolate" (func))))"#);
    assert_eq!(
        problems(&bytes, &everything()),
        [ImportProblem::UnknownFunction("guardian:playbook/service@0.1.7#isolate".to_owned())]
    );
}

/// Right name, wrong type: the walk lets it pass, the link does not.
#[test]
fn a_function_of_another_type_is_not_linked() {
    let bytes = text(r#"(import "guardian:playbook/service@0.1.0" (instance (export "status" (func))))"#);
    let code = compile(&bytes, &Limits::default()).unwrap();
    let refused = Program::new(&engine(), &code, &everything());
    assert!(matches!(refused, Err(SandboxError::Contract(_))), "{refused:?}");
    good();
}

#[test]
fn resource_types_are_refused_wherever_they_hide() {
    let imported = r#"(import "guardian:playbook/service@0.1.0" (instance (export "handle" (type (sub resource)))))"#;
    let defined = "(type $handle (resource (rep i32)))";
    let nested = "(component (type $handle (resource (rep i32))))";
    for hidden in [imported, defined, nested] {
        assert_eq!(problems(&text(hidden), &everything()), [ImportProblem::Resource], "{hidden}");
    }
}

#[test]
fn asynchronous_types_are_refused() {
    for hidden in [
        r#"(import "guardian:playbook/service@0.1.0" (instance (export "status" (func async))))"#,
        "(type (stream u8))",
        "(type (future u8))",
    ] {
        assert_eq!(problems(&text(hidden), &everything()), [ImportProblem::Asynchronous], "{hidden}");
    }
}

#[test]
fn a_component_that_exports_nothing_to_run_is_refused() {
    let bytes = wat::parse_str("(component)").unwrap();
    assert_eq!(problems(&bytes, &everything()), [ImportProblem::NoRemediation]);
}

#[test]
fn what_is_not_a_component_is_refused() {
    let module = wat::parse_str("(module)").unwrap();
    for (bytes, why) in [
        (module.as_slice(), "core module"),
        (b"", "empty"),
        (b"#!/bin/sh\n", "begin"),
        (b"\x7fELF\x02\x01\x01", "begin"),
    ] {
        let refusal = walk(bytes, &everything(), &Limits::default()).unwrap_err();
        assert!(matches!(refusal, LoadRefusal::NotAComponent(_)), "{refusal:?}");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
    good();
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let whole = component(include_str!("good.wat"));
    // What follows the export are custom sections; without them it is another, whole component with another digest.
    let export = wasmparser::Parser::new(0)
        .parse_all(&whole)
        .filter_map(|payload| match payload.unwrap() {
            wasmparser::Payload::ComponentExportSection(section) => Some(section.range().end),
            _ => None,
        })
        .last()
        .unwrap();
    for length in 0..export {
        let refusal = walk(&whole[..length], &everything(), &Limits::default());
        assert!(refusal.is_err(), "cut at {length} of {} it was taken", whole.len());
    }
    assert!(walk(&whole[..export], &everything(), &Limits::default()).is_ok());
    good();
}

/// What the walk makes of it matters less than that it makes something of it: no byte may bring it down.
#[test]
fn a_flipped_byte_anywhere_is_survived() {
    let whole = component(include_str!("good.wat"));
    let mut refused = 0;
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 0xff;
        if let Err(refusal) = walk(&flipped, &everything(), &Limits::default()) {
            refused += 1;
            let line = refusal.to_string();
            assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        }
    }
    assert!(refused > whole.len() / 2, "only {refused} of {} flips were noticed", whole.len());
    good();
}

#[test]
fn a_hundred_mb_are_refused_by_size_alone() {
    let mut bytes = component(include_str!("good.wat"));
    bytes.resize(100 * 1024 * 1024, 0);
    match walk(&bytes, &everything(), &Limits::default()).unwrap_err() {
        LoadRefusal::TooLarge(hit) => assert_eq!((hit.limit, hit.value), (LimitName::ComponentSize, 16)),
        other => panic!("{other:?}"),
    }
    good();
}

#[test]
fn what_could_never_run_is_refused() {
    for (guest, limit, raised) in [
        (include_str!("memory_at_once.wat"), LimitName::Memory, Limits { memory_mib: 4_096, ..Limits::default() }),
        (include_str!("table_at_once.wat"), LimitName::Tables, Limits { table_elements: 20_000, ..Limits::default() }),
    ] {
        let bytes = component(guest);
        match walk(&bytes, &everything(), &Limits::default()).unwrap_err() {
            LoadRefusal::NeedsMore(hit) => assert_eq!(hit.limit, limit),
            other => panic!("{other:?}"),
        }
        assert!(walk(&bytes, &everything(), &raised).is_ok());
    }
    good();
}

#[test]
fn the_manifest_must_say_what_the_component_imports() {
    let found = walk(&component(include_str!("good.wat")), &everything(), &Limits::default()).unwrap();
    let manifest = |capabilities: &str| {
        Manifest::from_toml(&format!(
            "publisher = 'acme'\nname = 'good'\nversion = '0.1.0'\nrelease = 1\ndescription = 'd'\ncapabilities = {capabilities}"
        ))
        .unwrap()
    };
    assert_eq!(found.matches(&manifest("['service', 'probe']")), Ok(()));
    let refusal = found.matches(&manifest("['service', 'log']")).unwrap_err();
    assert_eq!(refusal, LoadRefusal::Manifest { undeclared: vec![Interface::Probe], unused: vec![Interface::Log] });
    assert!(refusal.to_string().contains("add probe") && refusal.to_string().contains("remove log"));
}
