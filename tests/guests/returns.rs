//! Guests that answer, with something or with nonsense.

use guardian::audit::Body;
use guardian::model::{DenialCode, Limits};
use guardian::sandbox::{CallError, Calls, GuestEnd};

use super::{ends, good, through, willing};
use crate::coverage::bench;

fn traps(guest: &str, with: &str) {
    let (calls, _) = willing();
    match ends(guest, &Limits::default(), calls) {
        GuestEnd::Trapped { message } => {
            assert!(message.contains(with) && !message.contains('\n'), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_good_one_runs() {
    good();
}

#[test]
fn a_trap_is_a_result() {
    traps(include_str!("trap_at_once.wat"), "unreachable");
}

#[test]
fn garbage_is_a_trap() {
    traps(include_str!("garbage_pointer.wat"), "");
    traps(include_str!("garbage_tag.wat"), "");
    traps(include_str!("garbage_text.wat"), "utf-8");
    traps(include_str!("four_gib_list.wat"), "out of bounds");
    traps(include_str!("argument_out_of_bounds.wat"), "out of bounds");
    traps(include_str!("bad_realloc.wat"), "");
}

#[test]
fn a_huge_argument_is_invalid_and_on_the_trail_with_its_beginning() {
    // A permit for everything: what is too large is refused before anybody is asked.
    let bench = bench(r#"@id("all") @wide("a test") permit (principal, action, resource);"#);
    let end = ends(include_str!("huge_argument.wat"), &Limits::default(), through(bench.gate_of("acme/x", 2)));
    assert!(matches!(end, GuestEnd::Returned(_)), "{end:?}");
    bench.trail.flush().unwrap();
    let records = bench.log.records();
    let denied = records.iter().filter_map(|record| match &record.body {
        Body::Denied { action, resource, code: DenialCode::TooLarge, .. } => Some((action.as_str(), resource.len())),
        _ => None,
    });
    assert!(matches!(&denied.collect::<Vec<_>>()[..], [("service.status", 100..200)]), "{records:?}");
}

#[test]
fn a_long_summary_is_cut() {
    let (calls, _) = willing();
    match ends(include_str!("long_summary.wat"), &Limits::default(), calls) {
        GuestEnd::Returned(report) => assert_eq!(report.summary.len(), 4_096),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_host_can_stop_a_run_at_a_call() {
    let mut calls_made = 0;
    let calls: Calls = Box::new(move |_| {
        calls_made += 1;
        assert_eq!(calls_made, 1, "a stopped guest called again");
        Err(CallError::Abort { reason: "the trail is lost".to_owned() })
    });
    let end = ends(include_str!("million_calls.wat"), &Limits::default(), calls);
    assert_eq!(end, GuestEnd::Stopped { reason: "the trail is lost".to_owned() });
}
