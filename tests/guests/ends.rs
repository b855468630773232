//! Guests that use up what they were given: each ends with the limit's own name.

use std::time::{Duration, Instant};

use guardian::audit::Body;
use guardian::model::{DenialCode, LimitHit, LimitName, Limits, RunState};
use guardian::sandbox::{Calls, GuestEnd, run};

use super::{GOOD, ends, incident, program, through, willing};
use crate::coverage::{bench, run_id};

fn hits(guest: &str, limits: &Limits, limit: LimitName, value: u64) {
    let (calls, _) = willing();
    assert_eq!(ends(guest, limits, calls), GuestEnd::Limit(LimitHit { limit, value }));
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let limits = Limits { run_seconds: 1, ..Limits::default() };
    for guest in [include_str!("endless_loop.wat"), include_str!("endless_start.wat")] {
        let begun = Instant::now();
        hits(guest, &limits, LimitName::RunTime, 1);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_neighbours_deadline_ends_only_the_neighbour() {
    let short = Limits { run_seconds: 1, ..Limits::default() };
    let long = Limits { run_seconds: 2, ..Limits::default() };
    std::thread::scope(|scope| {
        let guest = include_str!("endless_loop.wat");
        let begun = Instant::now();
        scope.spawn(move || hits(guest, &long, LimitName::RunTime, 2));
        hits(guest, &short, LimitName::RunTime, 1);
        assert!(begun.elapsed() < Duration::from_millis(1_900));
    });
}

#[test]
fn waiting_in_the_host_counts() {
    let limits = Limits { run_seconds: 1, ..Limits::default() };
    let calls: Calls = Box::new(|action| {
        std::thread::sleep(Duration::from_millis(400));
        Ok(super::reply(&action))
    });
    let end = ends(include_str!("sleeper.wat"), &limits, calls);
    assert_eq!(end, GuestEnd::Limit(LimitHit { limit: LimitName::RunTime, value: 1 }));
}

#[test]
fn deep_recursion_ends_at_the_stack() {
    hits(include_str!("deep_recursion.wat"), &Limits::default(), LimitName::Stack, 512);
}

#[test]
fn memory_growth_ends_at_the_memory_limit() {
    hits(include_str!("memory_growth.wat"), &Limits::default(), LimitName::Memory, 64);
    hits(include_str!("memory_at_once.wat"), &Limits::default(), LimitName::Memory, 64);
    hits(include_str!("memory_growth.wat"), &Limits { memory_mib: 8, ..Limits::default() }, LimitName::Memory, 8);
}

#[test]
fn table_growth_ends_at_the_table_limit() {
    hits(include_str!("table_growth.wat"), &Limits::default(), LimitName::Tables, 10_000);
}

#[test]
fn a_log_flood_ends_at_lines_and_at_bytes() {
    hits(include_str!("log_flood.wat"), &Limits::default(), LimitName::LogLines, 200);
    hits(include_str!("log_volume.wat"), &Limits::default(), LimitName::LogBytes, 65_536);
}

#[test]
fn a_million_calls_end_at_the_thousandth() {
    let (calls, asked) = willing();
    let end = ends(include_str!("million_calls.wat"), &Limits::default(), calls);
    assert_eq!(end, GuestEnd::Limit(LimitHit { limit: LimitName::Calls, value: 1_000 }));
    assert_eq!(asked.lock().unwrap().len(), 1_000);
}

#[test]
fn a_million_calls_that_the_policy_denies_end_there_too_and_leave_two_records() {
    let permits = r#"@id("look") permit (principal == Guardian::Playbook::"acme/good",
        action in [Guardian::Action::"service.status", Guardian::Action::"probe.run"],
        resource in Guardian::Target::"service.web");"#;
    let bench = bench(permits);
    let gate = bench.gate_of("acme/flood", 2);
    let transcript = gate.transcript();
    let end = run(&program(include_str!("million_calls.wat")), &incident(), &Limits::default(), through(gate));
    assert_eq!(end, GuestEnd::Limit(LimitHit { limit: LimitName::Calls, value: 1_000 }));
    assert_eq!(transcript.lock().unwrap().denied, 1_000);
    // As a run ends: what was only counted is written then.
    let (state, reason) = (RunState::NotHealed, "a limit".to_owned());
    let ended = Body::RunEnd { state, reason, report: None, limit: None, millis: 1 };
    bench.trail.append_durable(Some(&run_id(2)), ended).unwrap();
    let records = bench.log.records();
    let denied = records.iter().filter_map(|record| match &record.body {
        Body::Denied { playbook, code: DenialCode::NoPermit, count, .. } => Some((playbook.to_string(), *count)),
        _ => None,
    });
    assert_eq!(denied.collect::<Vec<_>>(), [("acme/flood".to_owned(), 1), ("acme/flood".to_owned(), 999)]);
    assert!(records.iter().all(|record| !matches!(&record.body, Body::Intent { .. } | Body::Read { .. })));
    // The host lives: the same trail and policy let the good one do its work.
    let end = run(&program(GOOD), &incident(), &Limits::default(), through(bench.gate_of("acme/good", 3)));
    assert!(matches!(end, GuestEnd::Returned(_)), "{end:?}");
    bench.trail.flush().unwrap();
    assert_eq!(bench.log.records().iter().filter(|record| matches!(&record.body, Body::Read { .. })).count(), 2);
}

#[test]
fn a_name_of_three_mib_is_not_even_copied() {
    hits(include_str!("enormous_argument.wat"), &Limits::default(), LimitName::CallData, 2 * 1024 * 1024);
    hits(include_str!("long_list.wat"), &Limits::default(), LimitName::CallData, 2 * 1024 * 1024);
}

#[test]
fn the_message_says_how_to_raise_it() {
    let (calls, _) = willing();
    let end = ends(include_str!("deep_recursion.wat"), &Limits::default(), calls);
    let GuestEnd::Limit(hit) = end else { panic!("{end:?}") };
    assert_eq!(
        hit.to_string(),
        "the stack limit of 512 KiB was hit; to raise it, set `stack_kib` under [limits] in guardian.toml"
    );
}
