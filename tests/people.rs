//! What people say, at the gate: the plan they approved, the orders they gave, the glass they broke; and that a plan says
//! what the run will hear.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use guardian::audit::Body;
use guardian::capability::{Hands, RealHands, ServiceTools, SimulatedHands};
use guardian::durable::Folder;
use guardian::gate::{Approvals, Approved, Approver, Gate, Halt, Parts, PlannedEffect, Scope};
use guardian::model::{
    Action, Actor, Clock, ConfigVerb, DenialCode, ErrorCode, Given, Glass, GuestError, LogLevel, Order, ResourceName,
    ServiceVerb, SystemClock, Timestamp,
};
use guardian::orders::Orders;
use proptest::prelude::*;

use crate::coverage::{Bench, bench, bench_of, gate};

const HEALER: &str = "acme/healer";
const WEB: &str = "@id(\"web\") permit (principal == Guardian::Playbook::\"acme/healer\", action in Guardian::Action::\"service\", resource == Guardian::Service::\"web\");";
const SITE: &str = "@id(\"site\") permit (principal == Guardian::Playbook::\"acme/healer\", action in [Guardian::Action::\"config.check\", Guardian::Action::\"config.restore\"], resource == Guardian::Config::\"site\");";

fn act(verb: ServiceVerb) -> Action {
    Action::Service { verb, name: "web".to_owned() }
}

fn config(verb: ConfigVerb) -> Action {
    Action::Config { verb, name: "site".to_owned() }
}

fn by(person: &str, roles: &[&str]) -> Approver {
    let roles = roles.iter().map(|role| role.parse().expect("a role")).collect();
    Approver { person: person.parse().expect("a name"), roles }
}

fn refused(answer: Result<guardian::model::Reply, Halt>) -> GuestError {
    match answer {
        Err(Halt::Guest(error)) => error,
        answer => panic!("{answer:?}"),
    }
}

fn denied(answer: Result<guardian::model::Reply, Halt>) -> DenialCode {
    refused(answer).denial.expect("a denial").code
}

#[test]
fn what_is_not_in_the_plan_is_denied_and_so_is_every_later_effect() {
    let plan: Vec<_> = [ServiceVerb::Start, ServiceVerb::Restart].map(|verb| PlannedEffect::of(&act(verb))).into();
    for scope in [Scope::Envelope, Scope::Exact] {
        let bench = bench(WEB);
        let approved = Approved::new(vec![by("ann", &["oncall"])], scope, plan.clone());
        let mut gate = gate(&bench.parts, HEALER, 2, Some(approved), None);
        let transcript = gate.transcript();
        let first = gate.call(act(ServiceVerb::Restart));
        assert_eq!(first.is_ok(), scope == Scope::Envelope, "out of order, {scope:?}: {first:?}");
        assert_eq!(denied(gate.call(act(ServiceVerb::Stop))), DenialCode::DepartsFromPlan);
        assert_eq!(denied(gate.call(act(ServiceVerb::Start))), DenialCode::DepartsFromPlan, "it was planned, and late");
        gate.call(act(ServiceVerb::Status)).expect("a look is no effect");
        assert!(transcript.lock().expect("a transcript").departed);
    }
}

#[test]
fn a_gate_that_the_plan_did_not_meet_is_a_departure() {
    let ask = |id: &str, verb: &str, role: &str| {
        format!(
            "@id(\"{id}\") @gate(\"approval\") @approvers(\"{role}\") @quorum(\"1\") forbid (principal, action == Guardian::Action::\"{verb}\", resource) unless {{ context.approvals.contains(\"{role}\") }};\n"
        )
    };
    let gates = ask("starts", "service.start", "oncall") + &ask("stops", "service.stop", "dba");
    let bench = bench_of(&[("permits/p.cedar", WEB), ("gates/g.cedar", &gates)], "");
    let plan = vec![PlannedEffect::of(&act(ServiceVerb::Start)), PlannedEffect::of(&act(ServiceVerb::Stop))];
    let approved = |people: Vec<Approver>, plan: &[PlannedEffect]| {
        gate(&bench.parts, HEALER, 2, Some(Approved::new(people, Scope::Envelope, plan.to_vec())), None)
    };
    // Ann's word opens her gate and not the other, though the effect behind it was planned.
    let mut ann = approved(vec![by("ann", &["oncall"])], &plan);
    ann.call(act(ServiceVerb::Start)).expect("her gate");
    assert_eq!(denied(ann.call(act(ServiceVerb::Stop))), DenialCode::NeedsApproval);
    drop(ann);
    let mut both = approved(vec![by("ann", &["oncall"]), by("bob", &["dba"])], &plan);
    both.call(act(ServiceVerb::Start)).expect("one gate");
    both.call(act(ServiceVerb::Stop)).expect("and the other");
    drop(both);
    // What was not planned at all is a departure, gated or not, and nothing comes after it.
    let mut strays = approved(vec![by("ann", &["oncall"])], &plan[..1]);
    assert_eq!(denied(strays.call(act(ServiceVerb::Stop))), DenialCode::DepartsFromPlan);
    assert_eq!(denied(strays.call(act(ServiceVerb::Start))), DenialCode::DepartsFromPlan);
}

fn now() -> Timestamp {
    SystemClock::default().now()
}

fn order(what: Order, time: Duration) -> Given {
    let by = Actor { uid: 4_711, login_uid: None };
    Given { what, at: now(), until: now().plus(time), reason: "a deployment".to_owned(), by }
}

fn pause() -> Order {
    Order::Pause { resource: "service.web".parse().expect("a resource") }
}

/// A bench whose gates heed the orders of a real folder.
fn heeding(policies: &[(&str, &str)]) -> (Bench, tempfile::TempDir) {
    let mut bench = bench_of(policies, "of = 'service.web'");
    let home = tempfile::tempdir().expect("a temporary folder");
    bench.parts.orders = Arc::new(Orders::below(Folder::open(home.path()).expect("a folder")));
    bench.parts.clock = Arc::new(SystemClock::default());
    (bench, home)
}

/// As a second process gives it: the same folder, and nothing in common.
fn give(home: &tempfile::TempDir, given: &Given) {
    let orders = Orders::below(Folder::open(home.path()).expect("a folder"));
    orders.change().and_then(|change| change.give(given)).expect("an order");
}

#[test]
fn an_order_takes_hold_at_the_very_next_call() {
    let (bench, home) = heeding(&[("permits/p.cedar", WEB)]);
    let withdraw = Order::Withdraw { publisher: "acme".parse().expect("a name") };
    let kinds = [(pause(), DenialCode::Paused), (Order::Freeze, DenialCode::Frozen), (withdraw, DenialCode::Revoked)];
    let mut running = bench.gate_of(HEALER, 2);
    for round in 0..200 {
        let (what, code) = &kinds[round % kinds.len()];
        let (given, home) = (AtomicBool::new(false), &home);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                give(home, &order(what.clone(), Duration::from_secs(60)));
                given.store(true, Ordering::SeqCst);
            });
            loop {
                let before = given.load(Ordering::SeqCst);
                match running.call(act(ServiceVerb::Restart)) {
                    Ok(_) => assert!(!before, "round {round}: a call after the order {what:?}"),
                    answer => break assert_eq!(denied(answer), *code, "round {round}"),
                }
            }
        });
        give(home, &order(what.clone(), Duration::ZERO));
        running.call(act(ServiceVerb::Restart)).expect("it was lifted");
    }
}

#[test]
fn a_pause_holds_for_what_belongs_to_it_and_not_for_looks_and_is_on_record() {
    let (bench, home) = heeding(&[("permits/p.cedar", &format!("{WEB}\n{SITE}"))]);
    let mut running = bench.gate_of(HEALER, 2);
    give(&home, &order(pause(), Duration::from_secs(60)));
    assert_eq!(denied(running.call(config(ConfigVerb::Restore))), DenialCode::Paused, "it belongs to service.web");
    assert_eq!(denied(running.call(act(ServiceVerb::Restart))), DenialCode::Paused);
    running.call(act(ServiceVerb::Status)).expect("a look");
    running.call(config(ConfigVerb::Check)).expect("a look");
    bench.trail.flush().expect("a flush");
    let records: Vec<serde_json::Value> =
        bench.log.records().iter().map(|record| serde_json::to_value(record).expect("JSON")).collect();
    let orders: Vec<_> = records.iter().filter(|record| record["type"] == "order").collect();
    assert_eq!(orders.len(), 1, "seen four times, recorded once: {records:?}");
    let shown = orders[0].to_string();
    assert!(shown.contains("a deployment") && shown.contains("4711"), "{shown}");
    // The operator reads on the refusal who did it and why; the guest is not told.
    assert!(records.iter().any(|record| record["type"] == "denied" && record.to_string().contains("a deployment")));
    let told = refused(running.call(act(ServiceVerb::Restart)));
    assert!(!format!("{told:?}").contains("deployment"), "{told:?}");
    // It ends by itself.
    give(&home, &order(pause(), Duration::from_millis(300)));
    assert_eq!(denied(running.call(act(ServiceVerb::Restart))), DenialCode::Paused);
    std::thread::sleep(Duration::from_millis(320));
    running.call(act(ServiceVerb::Restart)).expect("it has ended");
}

#[test]
fn orders_that_have_ended_are_recorded_once_and_cleared_away_by_the_run_that_sees_them() {
    let (bench, home) = heeding(&[("permits/p.cedar", WEB)]);
    let mut running = bench.gate_of(HEALER, 2);
    let all = [pause(), Order::Freeze, Order::Withdraw { publisher: "acme".parse().expect("a name") }];
    for what in &all {
        give(&home, &order(what.clone(), Duration::ZERO));
    }
    for _ in 0..3 {
        running.call(act(ServiceVerb::Restart)).expect("nothing stands");
    }
    bench.trail.flush().expect("a flush");
    let recorded = bench.log.records().iter().filter(|record| matches!(record.body, Body::Order(_))).count();
    assert_eq!(recorded, all.len(), "each once");
    assert_eq!(std::fs::read_dir(home.path().join("orders")).expect("the folder").count(), 0);
}

#[test]
fn who_has_no_permit_learns_nothing_of_a_pause() {
    let (bench, home) = heeding(&[("permits/p.cedar", WEB)]);
    let mut stranger = bench.gate_of("acme/stranger", 3);
    let mut hears = || {
        let mut error = refused(stranger.call(act(ServiceVerb::Restart)));
        let record = std::mem::take(&mut error.denial.as_mut().expect("a denial").record);
        format!("{error:?}").replace(&record.to_string(), "RECORD")
    };
    let before = hears();
    for what in [pause(), Order::Freeze] {
        give(&home, &order(what, Duration::from_secs(60)));
        assert_eq!(hears(), before);
    }
}

#[test]
fn an_order_that_cannot_be_read_stops_every_effect_and_says_which_file() {
    for (file, text) in [
        ("pause.service.db.json", "{"),
        // A copy under another name would outlive the order when that is lifted.
        ("mine.json", &serde_json::to_string(&order(Order::Freeze, Duration::from_secs(60))).expect("JSON")),
    ] {
        let (bench, home) = heeding(&[("permits/p.cedar", WEB)]);
        give(&home, &order(pause(), Duration::ZERO));
        std::fs::write(home.path().join("orders").join(file), text).expect("written");
        let mut running = bench.gate_of(HEALER, 2);
        assert_eq!(denied(running.call(act(ServiceVerb::Restart))), DenialCode::Frozen);
        running.call(act(ServiceVerb::Status)).expect("a look");
        bench.trail.flush().expect("a flush");
        let records = format!("{:?}", bench.log.records());
        assert!(records.contains(file) && records.contains("remove it"), "{records}");
        std::fs::remove_file(home.path().join("orders").join(file)).expect("removed");
        running.call(act(ServiceVerb::Restart)).expect("mended");
    }
}

#[test]
fn broken_glass_opens_gates_and_no_hard_rule() {
    let hard = "@id(\"never\") forbid (principal, action == Guardian::Action::\"service.stop\", resource);";
    let asks = "@id(\"ask\") @gate(\"approval\") @approvers(\"oncall\") @quorum(\"1\") forbid (principal, action, resource) unless { context.approvals.contains(\"oncall\") };";
    let bench = bench_of(&[("permits/p.cedar", WEB), ("hard/h.cedar", hard), ("gates/g.cedar", asks)], "");
    let mut shut = gate(&bench.parts, "acme/stranger", 2, None, None);
    assert_eq!(denied(shut.call(act(ServiceVerb::Restart))), DenialCode::NoPermit);
    let at = bench.parts.clock.now();
    let glass = broken(at, at.plus(Duration::from_secs(60)));
    let mut gate = gate(&bench.parts, "acme/stranger", 3, None, Some(glass));
    gate.call(act(ServiceVerb::Restart)).expect("neither permit nor approval is needed");
    assert_eq!(denied(gate.call(act(ServiceVerb::Stop))), DenialCode::Forbidden);
    let nowhere = Action::Service { verb: ServiceVerb::Restart, name: "nowhere".to_owned() };
    assert_eq!(denied(gate.call(nowhere)), DenialCode::NoPermit, "the inventory is a fence of its own");
    bench.trail.flush().expect("a flush");
    assert!(format!("{:?}", bench.log.records()).contains("break-glass by ann"));
}

/// Glass that ann broke a second ago.
fn glass(time: Duration) -> Glass {
    let at = Timestamp::from_millis(now().millis() - 1_000);
    broken(at, now().plus(time))
}

fn broken(at: Timestamp, until: Timestamp) -> Glass {
    let person = "ann".parse().expect("a name");
    Glass { person, reason: "all is on fire".to_owned(), at, until }
}

#[test]
fn broken_glass_is_over_at_the_very_next_call() {
    let (bench, home) = heeding(&[("permits/p.cedar", WEB)]);
    let under = |run, time| gate(&bench.parts, "acme/stranger", run, None, Some(glass(time)));
    let mut short = under(2, Duration::from_millis(300));
    short.call(act(ServiceVerb::Restart)).expect("it is broken");
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(denied(short.call(act(ServiceVerb::Restart))), DenialCode::NoPermit, "by its time");
    drop(short);
    let mut long = under(3, Duration::from_secs(60));
    long.call(act(ServiceVerb::Restart)).expect("it is broken");
    give(&home, &order(Order::EndGlass, Duration::from_secs(3_600)));
    assert_eq!(denied(long.call(act(ServiceVerb::Restart))), DenialCode::NoPermit, "because somebody ended it");
    assert!(long.transcript().lock().expect("the transcript").glass_over);
    drop(long);
    // The order is on the trail by now. It holds there as well, and what is broken after it counts.
    std::fs::remove_dir_all(home.path().join("orders")).expect("removed");
    let (bench, _home) =
        (Bench { parts: Parts { orders: Arc::new(Orders::none()), ..bench.parts.clone() }, ..bench }, home);
    let mut late = gate(&bench.parts, "acme/stranger", 4, None, Some(glass(Duration::from_secs(60))));
    assert_eq!(denied(late.call(act(ServiceVerb::Restart))), DenialCode::NoPermit, "it is on the trail");
    drop(late);
    let anew = Glass { at: now().plus(Duration::from_millis(1)), ..glass(Duration::from_secs(60)) };
    let mut anew = gate(&bench.parts, "acme/stranger", 5, None, Some(anew));
    anew.call(act(ServiceVerb::Restart)).expect("broken again");
}

#[test]
fn one_run_at_a_time_acts_on_a_target() {
    let bench = bench_of(&[("permits/p.cedar", &format!("{WEB}\n{SITE}"))], "of = 'service.web'");
    let (mut first, mut second) = (bench.gate_of(HEALER, 2), bench.gate_of(HEALER, 3));
    first.call(act(ServiceVerb::Start)).expect("the first");
    for action in [act(ServiceVerb::Restart), config(ConfigVerb::Restore)] {
        let busy = refused(second.call(action));
        assert_eq!(busy.code, ErrorCode::Busy, "{busy:?}");
    }
    second.call(act(ServiceVerb::Status)).expect("a look");
    drop(first);
    second.call(act(ServiceVerb::Restart)).expect("the first is over");
}

#[test]
fn at_the_limit_minus_one_exactly_one_of_64_gates_passes() {
    let limited = WEB.replace(");", ") when { context.used.h1 < 3 };");
    for _ in 0..10 {
        let bench = bench(&limited);
        let mut earlier = bench.gate_of(HEALER, 1);
        earlier.call(act(ServiceVerb::Restart)).expect("one of three");
        earlier.call(act(ServiceVerb::Restart)).expect("two of three");
        drop(earlier);
        let start = Barrier::new(64);
        let passed: usize = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..64)
                .map(|_| {
                    // One run, so that its lease does not do the work of the limit.
                    let mut gate = bench.gate_of(HEALER, 2);
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let answer = gate.call(act(ServiceVerb::Restart));
                        start.wait();
                        match answer {
                            Ok(_) => 1,
                            Err(Halt::Guest(error)) if error.code == ErrorCode::Busy => 0,
                            answer => {
                                assert_eq!(denied(answer), DenialCode::NoPermit);
                                0
                            }
                        }
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("a call")).sum()
        });
        assert_eq!(passed, 1);
    }
}

/// One call of the property below.
fn calls() -> impl Strategy<Value = Vec<Action>> {
    let one = prop_oneof![
        3 => Just(config(ConfigVerb::Restore)),
        2 => Just(config(ConfigVerb::Check)),
        1 => Just(Action::Config { verb: ConfigVerb::Restore, name: "other".to_owned() }),
        1 => Just(Action::Config { verb: ConfigVerb::Check, name: "../site".to_owned() }),
        1 => Just(act(ServiceVerb::Status)),
        1 => Just(act(ServiceVerb::Reload)),
        1 => Just(Action::Log { level: LogLevel::Info, message: "a line".to_owned() }),
        1 => Just(Action::Now),
    ];
    prop::collection::vec(one, 1..8)
}

#[derive(Debug, Clone)]
struct Rules {
    permits: String,
    hard: String,
    gates: String,
    paused: Vec<Order>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let condition = prop::sample::select(
        &[
            "",
            " when { context.used.h1 < 1 }",
            " when { context.used.h1 < 2 }",
            " when { context.incident.severity > 7 }",
        ][..],
    );
    let actions = prop::sample::select(
        &[
            "action == Guardian::Action::\"config.restore\"",
            "action == Guardian::Action::\"config.check\"",
            "action in Guardian::Action::\"read\"",
            "action in Guardian::Action::\"basics\"",
        ][..],
    );
    let permit = (actions, condition).prop_map(|(action, condition)| {
        let resource = match action {
            _ if action.contains("basics") => "resource == Guardian::Run::\"self\"",
            _ if action.contains("config.") => "resource == Guardian::Config::\"site\"",
            _ => "resource in Guardian::Target::\"service.web\"",
        };
        format!("permit (principal == Guardian::Playbook::\"acme/healer\", {action}, {resource}){condition};")
    });
    let maybe = |texts: &'static [&'static str]| prop::sample::select(texts);
    let hard = maybe(&[
        "",
        "",
        "@id(\"never\") forbid (principal, action == Guardian::Action::\"config.restore\", resource) when { context.used.h1 > 0 };",
    ]);
    let gates = maybe(&[
        "",
        "@id(\"ask\") @gate(\"approval\") @approvers(\"oncall\") @quorum(\"1\") forbid (principal, action == Guardian::Action::\"config.restore\", resource) unless { context.approvals.contains(\"oncall\") };",
        "@id(\"ask\") @gate(\"approval\") @approvers(\"oncall\") @quorum(\"2\") forbid (principal, action == Guardian::Action::\"config.restore\", resource) unless { context.used.h1 < 1 || context.approvals.contains(\"oncall\") };",
    ]);
    let paused = prop::sample::subsequence(vec!["service.web", "config.site", "service.vault", "freeze"], 0..2);
    (prop::collection::vec(permit, 1..4), hard, gates, paused).prop_map(|(permits, hard, gates, paused)| Rules {
        permits: permits.iter().enumerate().map(|(at, text)| format!("@id(\"p{at}\") {text}\n")).collect(),
        hard: hard.to_owned(),
        gates: gates.to_owned(),
        paused: paused
            .into_iter()
            .map(|name| match name.parse::<ResourceName>() {
                Ok(resource) => Order::Pause { resource },
                Err(_) => Order::Freeze,
            })
            .collect(),
    })
}

/// A fresh host under these rules; with real hands, or with those of a plan.
fn host(rules: &Rules, live: bool) -> (Bench, tempfile::TempDir) {
    let mut policies = vec![("permits/p.cedar", rules.permits.as_str())];
    policies.extend((!rules.hard.is_empty()).then_some(("hard/h.cedar", rules.hard.as_str())));
    policies.extend((!rules.gates.is_empty()).then_some(("gates/g.cedar", rules.gates.as_str())));
    let (mut bench, home) = heeding(&policies);
    for what in &rules.paused {
        give(&home, &order(what.clone(), Duration::from_secs(600)));
    }
    let folder = bench.folder.path().join("keeper");
    let tools = ServiceTools { folder, bus: String::new(), keeper: guardian_tests::program() };
    let real = RealHands::on(&bench.parts.inventory, &tools, Arc::clone(&bench.parts.clock)).expect("hands");
    let hands = if live { Hands::real(real) } else { Hands::simulated(SimulatedHands::new(real, BTreeSet::new())) };
    bench.parts.hands = Arc::new(hands);
    bench.parts.approvals = if live { Approvals::Required } else { Approvals::Assumed };
    (bench, home)
}

/// What each call was told: permitted, or why not; and whether people would be asked.
fn verdicts(mut gate: Gate, calls: &[Action]) -> (Vec<(String, bool)>, Vec<PlannedEffect>) {
    let transcript = gate.transcript();
    let verdict = |answer: Result<_, Halt>| match answer {
        Ok(_) => "permitted".to_owned(),
        Err(Halt::Guest(error)) => error.denial.map_or(error.code.word(), |denial| denial.code.word()).to_owned(),
        Err(Halt::Stop(reason)) => reason,
    };
    let heard: Vec<String> = calls.iter().map(|call| verdict(gate.call(call.clone()))).collect();
    let transcript = transcript.lock().expect("a transcript");
    let asked = transcript.calls.iter().map(|call| call.approval.is_some());
    (heard.into_iter().zip(asked).collect(), transcript.effects.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A dry run that one can trust: with the same host, the same calls are answered alike. A gate ends the comparison of an
    /// unapproved run where it stops; approved, the run hears all that the plan said.
    #[test]
    fn a_plan_says_what_the_run_will_hear(rules in rules(), calls in calls()) {
        let (bench, _home) = host(&rules, false);
        let before = std::fs::read(bench.folder.path().join("site.conf")).expect("the file");
        let (planned, effects) = verdicts(bench.gate_of(HEALER, 2), &calls);
        prop_assert_eq!(std::fs::read(bench.folder.path().join("site.conf")).expect("the file"), before, "a plan acted");
        let (bench, _home) = host(&rules, true);
        let (live, _) = verdicts(bench.gate_of(HEALER, 2), &calls);
        for (at, ((said, asks), (heard, _))) in planned.iter().zip(&live).enumerate() {
            if *asks && said == "permitted" {
                prop_assert_eq!(heard.as_str(), "needs-approval", "call {} of {:?}", at, calls);
                break;
            }
            prop_assert_eq!(said, heard, "call {} of {:?}", at, calls);
            if *asks { break; }
        }
        let (bench, _home) = host(&rules, true);
        let people = vec![by("ann", &["oncall"]), by("bob", &["oncall"])];
        let approved = Approved::new(people, Scope::Exact, effects.clone());
        let (live, done) = verdicts(gate(&bench.parts, HEALER, 3, Some(approved), None), &calls);
        let words = |heard: &[(String, bool)]| heard.iter().map(|(word, _)| word.clone()).collect::<Vec<_>>();
        prop_assert_eq!(words(&planned), words(&live), "approved, {:?}", calls);
        prop_assert_eq!(effects, done);
    }
}
