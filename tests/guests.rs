//! Misbehaving guests, each with its own test and its own expected end.
//!
//! Each guest is a few lines of WebAssembly text in `guests/`, made into a component here, so that none of this needs a
//! toolchain for guests. [`ends`] runs one and then, in the same process and on the same engine, the good one: a guest
//! may ruin its own run and nothing else.

mod bomb;
mod ends;
mod refused;
mod returns;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use guardian::gate::{Gate, Halt};
use guardian::model::{
    Action, Incident, IncidentSource, Interface, Limits, Reading, Reply, ServiceState, ServiceStatus, Timestamp,
    Verdict,
};
use guardian::sandbox::{CallError, Calls, Engine, GuestEnd, Program, compile, run};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every guest has: one page, an allocator that only goes up, and the export.
const COMMON: &str = r#"
(type $remediate (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 2)
(global $free (mut i32) (i32.const 8192))
(func $realloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $at) (local.get $new)))
  (local.get $at))
(export "guardian:playbook/remediation@0.1.0#remediate" (func $remediate))
"#;

/// The one that must work after each of the others.
const GOOD: &str = include_str!("guests/good.wat");

/// Makes a component of a guest's text.
pub(crate) fn component(guest: &str) -> Vec<u8> {
    let common = if guest.contains("(memory $big") {
        // The first memory is the one that is exported as `memory`.
        COMMON.replace(r#"(memory (export "memory") 2)"#, r#"(export "memory" (memory $big))"#)
    } else {
        COMMON.to_owned()
    };
    let mut module = wat::parse_str(format!("(module {guest} {common})")).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(guardian_tests::workspace().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("playbook")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// One engine for all tests of this process, as in the daemon.
fn engine() -> Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    Arc::clone(ENGINE.get_or_init(|| Arc::new(Engine::new(&Limits::default()).unwrap())))
}

fn everything() -> BTreeSet<Interface> {
    BTreeSet::from(Interface::ALL)
}

fn program(guest: &str) -> Program {
    // What a guest declares is refused before it is compiled; here it has to get as far as running.
    let limits = Limits { memory_mib: 4_096, ..Limits::default() };
    let code = compile(&component(guest), &limits).unwrap();
    Program::new(&engine(), &code, &everything()).unwrap()
}

pub(crate) fn incident() -> Incident {
    Incident {
        id: "i-1".to_owned(),
        kind: "service_crashed".parse().unwrap(),
        target: "service.web".parse().unwrap(),
        severity: 5,
        source: IncidentSource::Operator,
        opened_at: Timestamp::from_millis(1_700_000_000_000),
        labels: [("reporter".to_owned(), "a test".to_owned())].into(),
        bindings: [("target".to_owned(), "web".to_owned())].into(),
    }
}

fn reply(action: &Action) -> Reply {
    match action {
        Action::Service { .. } => Reply::Service(ServiceStatus::of(ServiceState::Running)),
        Action::Probe { .. } => Reply::Probe(Reading {
            verdict: Verdict::Healthy,
            latency_us: 120,
            seen: "HTTP 200".to_owned(),
            assumed: false,
        }),
        Action::Storage { .. } | Action::Config { .. } | Action::Command { .. } | Action::Log { .. } => Reply::Done,
        Action::Now | Action::Sleep { .. } => Reply::Time { unix_ms: 1_700_000_000_000 },
    }
}

/// A host that answers everything, and the list of what it was asked.
pub(crate) fn willing() -> (Calls, Arc<Mutex<Vec<Action>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    let calls: Calls = Box::new(move |action| {
        let answer = reply(&action);
        list.lock().unwrap().push(action);
        Ok::<Reply, CallError>(answer)
    });
    (calls, asked)
}

/// What a run hangs between the sandbox and its gate.
fn through(mut gate: Gate) -> Calls {
    Box::new(move |action| {
        gate.call(action).map_err(|halt| match halt {
            Halt::Guest(error) => CallError::Guest(error),
            Halt::Stop(reason) => CallError::Abort { reason },
        })
    })
}

/// Runs `guest`, and afterwards the good one, on the same engine.
fn ends(guest: &str, limits: &Limits, calls: Calls) -> GuestEnd {
    let end = run(&program(guest), &incident(), limits, calls);
    good();
    end
}

/// The good guest works: two calls, in order, and a report.
fn good() {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| program(GOOD));
    let (calls, asked) = willing();
    let end = run(program, &incident(), &Limits::default(), calls);
    assert!(matches!(end, GuestEnd::Returned(_)), "{end:?}");
    let asked: Vec<String> = asked.lock().unwrap().iter().map(Action::resource_as_given).collect();
    assert_eq!(asked, ["service.web", "probe.service.web"]);
}
