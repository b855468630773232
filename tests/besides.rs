//! What an act does to other resources than the one that the guest named is asked of the gate like an act on them: a reclaim
//! that has services close deleted files reloads them.

use std::sync::Arc;
use std::time::Duration;

use guardian::audit::IntentDraft;
use guardian::durable::Folder;
use guardian::gate::{Approvals, Approved, Approver, Gate, Halt, PlannedEffect, Scope};
use guardian::model::{
    Action, Actor, Clock, DenialCode, ErrorCode, Given, Glass, GuestError, Order, Reply, ServiceVerb, StorageVerb,
    SystemClock, Timestamp,
};
use guardian::orders::Orders;

use crate::coverage::{Bench, bench_with, gate, run_id};

const HEALER: &str = "acme/healer";
/// Storage and service both, so that what is asked of one is seen in the other.
const PERMITS: &str = "@id(\"room\") permit (principal == Guardian::Playbook::\"acme/healer\", action in [Guardian::Action::\"storage.reclaim\", Guardian::Action::\"storage.purge\"], resource == Guardian::Storage::\"logs\");
@id(\"web\") permit (principal == Guardian::Playbook::\"acme/healer\", action == Guardian::Action::\"service.start\", resource == Guardian::Service::\"web\");";

fn storage(verb: StorageVerb) -> Action {
    Action::Storage { verb, name: "logs".to_owned() }
}

fn reclaim() -> Action {
    storage(StorageVerb::Reclaim)
}

fn start() -> Action {
    Action::Service { verb: ServiceVerb::Start, name: "web".to_owned() }
}

/// A host on which a reclaim reloads `holder`, or nothing.
fn host(policies: &[(&str, &str)], holder: Option<&str>) -> Bench {
    let mut all = vec![("permits/p.cedar", PERMITS)];
    all.extend(policies);
    let step = holder.map_or(String::new(), |holder| format!("{{ holders = ['{holder}'] }},\n"));
    bench_with(&all, &|text| text.replace("steps = [\n", &format!("steps = [\n{step}")))
}

fn now() -> Timestamp {
    SystemClock::default().now()
}

/// Gives an order that the gates of this host heed from now on.
fn give(bench: &mut Bench, what: Order) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    let orders = Orders::below(Folder::open(home.path()).expect("a folder"));
    let by = Actor { uid: 4_711, login_uid: None };
    let until = now().plus(Duration::from_secs(60));
    let given = Given { what, at: now(), until, reason: "a deployment".to_owned(), by };
    orders.change().and_then(|change| change.give(&given)).expect("an order");
    bench.parts.orders = Arc::new(orders);
    bench.parts.clock = Arc::new(SystemClock::default());
    home
}

fn refused(answer: Result<Reply, Halt>) -> GuestError {
    match answer {
        Err(Halt::Guest(error)) => error,
        answer => panic!("{answer:?}"),
    }
}

fn denied(answer: Result<Reply, Halt>) -> DenialCode {
    refused(answer).denial.expect("a denial").code
}

fn records(bench: &Bench) -> String {
    bench.trail.flush().expect("a flush");
    format!("{:?}", bench.log.records())
}

#[test]
fn a_paused_service_is_not_reloaded_by_making_room() {
    let pause = || Order::Pause { resource: "service.web".parse().expect("a resource") };
    let mut bench = host(&[], Some("service.web"));
    let _home = give(&mut bench, pause());
    let mut running = bench.gate_of(HEALER, 2);
    assert_eq!(denied(running.call(reclaim())), DenialCode::Paused);
    // The operator reads which one it was, and why; nothing was begun.
    let shown = records(&bench);
    assert!(shown.contains("service.web: uid 4711") && !shown.contains("Intent"), "{shown}");
    // Its twins: what reloads nothing goes on.
    running.call(storage(StorageVerb::Purge)).expect("a purge reloads nothing");
    for holder in [None, Some("service.vault")] {
        let mut other = host(&[], holder);
        let _home = give(&mut other, pause());
        other.gate_of(HEALER, 2).call(reclaim()).unwrap_or_else(|error| panic!("{holder:?}: {error:?}"));
    }
    // Who may not make room learns nothing of the pause.
    assert_eq!(denied(bench.gate_of("acme/stranger", 3).call(reclaim())), DenialCode::NoPermit);
}

#[test]
fn a_hard_rule_shields_a_service_also_from_a_reload_on_the_way() {
    let never = |verb: &str| {
        format!(
            "@id(\"never\") forbid (principal, action == Guardian::Action::\"{verb}\", resource == Guardian::Service::\"web\");"
        )
    };
    let bench = host(&[("hard/h.cedar", &never("service.reload"))], Some("service.web"));
    assert_eq!(denied(bench.gate_of(HEALER, 2).call(reclaim())), DenialCode::Forbidden);
    let shown = records(&bench);
    assert!(shown.contains("never, of service.reload service.web"), "{shown}");
    let at = bench.parts.clock.now();
    let until = at.plus(Duration::from_secs(60));
    let broken = Glass { person: "ann".parse().expect("a name"), reason: "fire".to_owned(), at, until };
    let mut glass = gate(&bench.parts, HEALER, 3, None, Some(broken));
    assert_eq!(denied(glass.call(reclaim())), DenialCode::Forbidden, "broken glass opens no hard rule");
    drop(glass);
    assert_eq!(denied(bench.gate_of("acme/stranger", 4).call(reclaim())), DenialCode::NoPermit);
    // Its twins: another verb, and another holder.
    host(&[("hard/h.cedar", &never("service.stop"))], Some("service.web")).gate.call(reclaim()).expect("no reload");
    host(&[("hard/h.cedar", &never("service.reload"))], Some("service.vault")).gate.call(reclaim()).expect("not web");
}

#[test]
fn a_hard_rule_that_fails_about_the_reload_denies() {
    // Fails to evaluate where the incident is old; Cedar by itself would pass over it.
    let fails = "@id(\"fails\") forbid (principal, action == Guardian::Action::\"service.reload\", resource) when { context.used.h1 * 9223372036854775807 + 9223372036854775807 + 1 > 0 };";
    let bench = host(&[("hard/h.cedar", fails)], Some("service.web"));
    assert_eq!(denied(bench.gate_of(HEALER, 2).call(reclaim())), DenialCode::PolicyError);
    host(&[("hard/h.cedar", fails)], None).gate.call(reclaim()).expect("nothing is reloaded");
}

#[test]
fn a_gate_before_the_reload_stands_before_making_room() {
    let ask = |id: &str, verb: &str, role: &str| {
        format!(
            "@id(\"{id}\") @gate(\"approval\") @approvers(\"{role}\") @quorum(\"1\") forbid (principal, action == Guardian::Action::\"{verb}\", resource) unless {{ context.approvals.contains(\"{role}\") }};\n"
        )
    };
    let gates = ask("reloads", "service.reload", "oncall")
        + &ask("room", "storage.reclaim", "dba").replace("\"room\"", "\"makes-room\"");
    let bench = host(&[("gates/g.cedar", &gates)], Some("service.web"));
    let approved = |run, roles: &[(&str, &str)]| -> Gate {
        let by = |(person, role): &(&str, &str)| Approver {
            person: person.parse().expect("a name"),
            roles: [role.parse().expect("a role")].into(),
        };
        let plan = vec![PlannedEffect::of(&reclaim())];
        let approved = Approved::new(roles.iter().map(by).collect(), Scope::Envelope, plan);
        gate(&bench.parts, HEALER, run, Some(approved), None)
    };
    assert_eq!(denied(bench.gate_of(HEALER, 2).call(reclaim())), DenialCode::NeedsApproval);
    // One word opens one gate.
    assert_eq!(denied(approved(3, &[("bob", "dba")]).call(reclaim())), DenialCode::NeedsApproval);
    assert_eq!(denied(approved(4, &[("ann", "oncall")]).call(reclaim())), DenialCode::NeedsApproval);
    approved(5, &[("ann", "oncall"), ("bob", "dba")]).call(reclaim()).expect("both gates");
    // A plan says whom to ask, and goes on.
    let mut parts = bench.parts.clone();
    parts.approvals = Approvals::Assumed;
    let mut plan = gate(&parts, HEALER, 6, None, None);
    plan.call(reclaim()).expect("a plan goes on");
    let transcript = plan.transcript();
    let gates = &transcript.lock().expect("the transcript").gates;
    assert!(["makes-room", "reloads"].iter().all(|id| gates.iter().any(|gate| gate == id)), "{gates:?}");
    // Its twin: where nothing is reloaded, one gate is all there is.
    let bench = host(&[("gates/g.cedar", &ask("reloads", "service.reload", "oncall"))], None);
    bench.gate_of(HEALER, 2).call(reclaim()).expect("no gate");
}

#[test]
fn one_run_at_a_time_acts_on_what_is_reloaded() {
    let bench = host(&[], Some("service.web"));
    let (mut first, mut second) = (bench.gate_of(HEALER, 2), bench.gate_of(HEALER, 3));
    first.call(start()).expect("the first");
    assert_eq!(refused(second.call(reclaim())).code, ErrorCode::Busy);
    drop((first, second));
    let (mut first, mut second) = (bench.gate_of(HEALER, 4), bench.gate_of(HEALER, 5));
    first.call(reclaim()).expect("the other way round");
    assert_eq!(refused(second.call(start())).code, ErrorCode::Busy);
    drop((first, second));
    // Its twin.
    let bench = host(&[], Some("service.vault"));
    let (mut first, mut second) = (bench.gate_of(HEALER, 2), bench.gate_of(HEALER, 3));
    first.call(start()).expect("the first");
    second.call(reclaim()).expect("another service");
}

#[test]
fn what_is_in_doubt_is_not_reloaded_on_the_way() {
    for (holder, busy) in [(Some("service.web"), true), (Some("service.vault"), false), (None, false)] {
        let bench = host(&[], holder);
        let draft = IntentDraft {
            action: start(),
            playbook: HEALER.parse().expect("a playbook"),
            class: start().verb().class(),
            policies: Vec::new(),
            key: "k".to_owned(),
            undo: None,
            undoes: None,
        };
        // Begun by a run that nobody saw end.
        drop(bench.trail.begin(&run_id(9), 1, draft).expect("an intent"));
        let answer = bench.gate_of(HEALER, 2).call(reclaim());
        if busy {
            let error = refused(answer);
            assert!(error.code == ErrorCode::Busy && error.message.contains("a person has to look"), "{error:?}");
        } else {
            answer.unwrap_or_else(|error| panic!("{holder:?}: {error:?}"));
        }
    }
}
