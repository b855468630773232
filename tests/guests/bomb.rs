//! A component that is small to send and long to compile.
//!
//! One function with tens of thousands of variables that are all alive across hundreds of branches: valid, a few hundred
//! kilobytes, and more work for a register allocator than anybody waits for. The walk must be quick with it, and a
//! process with limits of its own must be all that it costs.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use guardian::model::Limits;
use guardian::sandbox::{compile, walk};
use rustix::process::{Resource, Rlimit, setrlimit};
use wasm_encoder::{
    CodeSection, Component, Function, FunctionSection, Instruction as I, Module, ModuleSection, TypeSection, ValType,
};

use super::{everything, good};

/// The bomb. `variables` and `branches` multiply.
pub(crate) fn bomb(variables: u32, branches: u32) -> Vec<u8> {
    let mut body = Function::new([(variables, ValType::I64)]);
    for variable in 1..=variables {
        body.instruction(&I::LocalGet(0)).instruction(&I::I64Const(i64::from(variable)));
        body.instruction(&I::I64Mul).instruction(&I::LocalSet(variable));
    }
    body.instruction(&I::Loop(wasm_encoder::BlockType::Empty));
    for branch in 0..branches {
        let (one, other) = (1 + branch * 7 % variables, 1 + branch * 31 % variables);
        body.instruction(&I::LocalGet(one)).instruction(&I::I64Eqz).instruction(&I::BrIf(0));
        body.instruction(&I::LocalGet(one)).instruction(&I::LocalGet(other)).instruction(&I::I64Xor);
        body.instruction(&I::LocalSet(other));
    }
    body.instruction(&I::End).instruction(&I::LocalGet(0));
    for variable in 1..=variables {
        body.instruction(&I::LocalGet(variable)).instruction(&I::I64Add);
    }
    body.instruction(&I::End);
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    let mut bytes = component.finish();
    // An export that the walk recognizes, of an instance with nothing in it.
    let export = wat::parse_str(
        r#"(component (instance $none) (export "guardian:playbook/remediation@0.1.0" (instance $none)))"#,
    )
    .unwrap();
    bytes.extend_from_slice(&export[8..]);
    bytes
}

#[test]
fn a_compile_bomb_costs_one_confined_process() {
    let bytes = bomb(40_000, 60_000);
    assert!(bytes.len() < 2 * 1024 * 1024);
    let begun = Instant::now();
    walk(&bytes, &everything(), &Limits::default()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "the walk itself took {:?}", begun.elapsed());

    let begun = Instant::now();
    let child = elsewhere("confined");
    // SIGXCPU, or SIGKILL if the kernel looked a moment later: it did not end by itself, in either way.
    assert!(matches!(child.status.signal(), Some(24 | 9)), "it is no bomb: {child:?} after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
    good();
}

/// Set for a process that is to be confined: the tests below do nothing without it.
const CHILD: &str = "GUARDIAN_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one of the tests below in a process of its own.
fn elsewhere(test: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("guests::bomb::{test}"), "--test-threads=1"])
        .env(CHILD, test)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The deny twin's twin: with the same kind of limits, at their defaults, an ordinary guest compiles.
#[test]
fn an_ordinary_guest_compiles_under_the_default_limits() {
    let child = elsewhere("ordinary");
    // A name that fits no test would succeed too.
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
}

#[test]
fn ordinary() {
    if !is_child() {
        return;
    }
    let limits = Limits::default();
    let memory = limits.compile_mib << 20;
    for (resource, most) in
        [(Resource::As, memory), (Resource::Cpu, limits.compile_seconds), (Resource::Fsize, 0), (Resource::Nofile, 32)]
    {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
    }
    let _ = compile(&super::component(include_str!("good.wat")), &limits).unwrap();
}

/// The other process: a second of CPU, then the kernel ends it.
#[test]
fn confined() {
    if !is_child() {
        return;
    }
    setrlimit(Resource::Cpu, Rlimit { current: Some(1), maximum: Some(1) }).unwrap();
    let _ = compile(&bomb(40_000, 60_000), &Limits::default());
}
