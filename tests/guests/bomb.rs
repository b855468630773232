//! A component that is small to send and long to compile.
//!
//! One function with tens of thousands of variables that are all alive across hundreds of branches: valid, a few hundred
//! kilobytes, and more work for a register allocator than anybody waits for. The walk must be quick with it, and a
//! process with limits of its own must be all that it costs.

use std::time::{Duration, Instant};

use guardian::model::{LimitName, Limits};
use guardian::registry::{Compiled, Compiler};
use guardian::sandbox::walk;
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

    // The product's own worker, with a second of CPU.
    let limits = Limits { compile_seconds: 1, ..Limits::default() };
    let begun = Instant::now();
    match compiled(&bytes, &limits) {
        Compiled::Limit(hit) => {
            assert_eq!((hit.limit, hit.value), (LimitName::CompileTime, 1));
            assert!(hit.to_string().contains("compile_seconds"), "{hit}");
        }
        other => panic!("it is no bomb: {other:?} after {:?}", begun.elapsed()),
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    good();
}

/// What the program's own compile worker makes of it.
fn compiled(bytes: &[u8], limits: &Limits) -> Compiled {
    let arguments = vec!["compile-worker".to_owned(), serde_json::to_string(limits).unwrap()];
    Compiler::new(guardian_tests::program(), arguments, limits.clone()).compile(bytes).unwrap()
}

/// The deny twin's twin: under the default limits an ordinary guest compiles.
#[test]
fn an_ordinary_guest_compiles_under_the_default_limits() {
    let guest = super::component(include_str!("good.wat"));
    assert!(matches!(compiled(&guest, &Limits::default()), Compiled::Code(_)));
}
