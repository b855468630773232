//! Healing for real, planning for nothing, and what an operator does in between.

use guardian_tests::{House, Snapshot, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Kills the service from outside, and waits until nobody answers.
pub(crate) fn kill(house: &House) -> i32 {
    let pid = house.web().expect("the service answers");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("a kill");
    wait_until("the service is gone", || house.web().is_none());
    pid
}

/// The keeper notes the end of what it kept in its own time, a moment after the port is closed.
fn keeper_saw_it(house: &House) {
    wait_until("the keeper saw it", || !house.ok(&["status"]).out.contains("running"));
}

const PLAN: [&str; 6] =
    ["plan", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];

#[test]
fn a_killed_service_is_healed_and_outlives_guardian() {
    let house = House::new();
    // It was never started: that is an outage too.
    let first = house.heal(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.out.contains("service.start") && first.out.contains("healed"), "{first:?}");
    let before = kill(&house);
    keeper_saw_it(&house);
    let healed = house.heal(&["--severity", "9", "--label", "from=\u{1b}[2Jtest"]);
    assert_eq!(healed.code, 0, "{healed:?}");
    healed.nothing_raw();
    // Guardian has ended; the service lives on, and the next run finds it and does nothing.
    let after = house.web().expect("the service outlives the run");
    assert_ne!(before, after);
    let idle = house.heal(&[]);
    assert_eq!(idle.code, 0, "{idle:?}");
    assert_eq!(house.web(), Some(after), "a healthy service was touched");
    assert_eq!(house.records("intent").len(), 3, "a start, and a reset with a start");
    let status = house.ok(&["status"]);
    assert!(status.out.contains("service.web") && status.out.contains("HEALTHY"), "{status:?}");
    let verified = house.ok(&["audit", "verify", "--json"]).json();
    assert_eq!(verified["records"], verified["signed"]);
    let starts = house.records("run-start");
    assert_eq!(starts.len(), 3);
    assert_eq!(starts[1]["incident"]["severity"], 9);
}

#[test]
fn a_plan_shows_the_effects_and_changes_nothing() {
    let house = House::new();
    assert_eq!(house.heal(&[]).code, 0);
    let pid = house.web();
    let healthy = Snapshot::of(house.root(), &[]);
    let plan = house.ok(&PLAN);
    assert!(plan.out.contains("the plan: 0 effects"), "{plan:?}");
    healthy.unchanged(&Snapshot::of(house.root(), &[]), "a plan");
    assert_eq!(house.web(), pid);
    kill(&house);
    keeper_saw_it(&house);
    let dead = Snapshot::of(house.root(), &[]);
    let plan = house.ok(&PLAN);
    assert!(plan.out.contains("would do") && plan.out.contains("the plan: 2 effects"), "{plan:?}");
    assert!(plan.out.contains("service.start"), "{plan:?}");
    // The other branch: what it would do if that did not work.
    let other = house.ok(&[&PLAN[..], &["--assume", "fail:2"]].concat());
    assert!(other.out.contains("failed    service.start"), "{other:?}");
    assert_ne!(other.out, plan.out);
    dead.unchanged(&Snapshot::of(house.root(), &[]), "a plan");
    assert_eq!(house.web(), None, "a plan started a service");
}

#[test]
fn a_spent_quota_is_named_and_explained() {
    let house = House::new();
    for _ in 0..3 {
        assert_eq!(house.heal(&[]).code, 0);
        kill(&house);
        keeper_saw_it(&house);
    }
    let said = house.heal(&[]);
    assert_eq!(said.code, 4, "{said:?}");
    let denied = said.out.lines().find(|line| line.contains("DENIED")).expect("a denial").to_owned();
    assert!(denied.contains("quota spent of service-crashed-"), "{denied}");
    assert!(denied.contains("3 in 1 hour"), "{denied}");
    // What it proposes can be pasted, and says which condition it was.
    let line = said.out.lines().find(|line| line.contains("policy explain")).expect("a proposal");
    let asked = line.split('`').nth(1).expect("a command").split_whitespace().skip(1);
    let asked: Vec<&str> = asked.take_while(|word| *word != "--home").collect();
    let explained = house.guardian(&asked);
    assert!(explained.code == 3 && explained.out.contains("context.used.h1 is 3"), "{explained:?}");
    // The guest is told what it is always told.
    let record = house.records("denied").pop().expect("a denial");
    assert_eq!(record["code"], "no-permit", "{record}");
    assert!(!said.out.lines().any(|line| line.contains("gave up") && line.contains("quota")), "{said:?}");
    // A playbook that never had a permit for it has no quota either.
    std::fs::remove_file(house.permits().join("service_crashed.cedar")).expect("its permits");
    let look = "@id(\"look\") permit (principal == Guardian::Playbook::\"guardian/service_crashed\", action in [Guardian::Action::\"service.status\", Guardian::Action::\"probe.run\"], resource in Guardian::Group::\"front\");";
    std::fs::write(house.permits().join("look.cedar"), look).expect("a permit");
    let said = house.heal(&[]);
    assert!(said.out.contains("DENIED") && !said.out.contains("quota"), "{said:?}");
}

#[test]
fn a_gate_needs_a_person() {
    let house = House::new();
    let gate = house.root().join("etc/policy/gates/change.cedar");
    let text = "@id(\"ask-first\")\n@gate(\"approval\")\n@approvers(\"oncall\")\n@quorum(\"1\")\nforbid (principal, action == Guardian::Action::\"service.start\", resource) unless { context.approvals.contains(\"oncall\") };\n";
    std::fs::write(&gate, text).expect("a gate");
    // Nobody has that role: it would stop for ever, and the check says so.
    let check = house.guardian(&["policy", "check"]);
    assert!(check.code == 3 && check.out.contains("nobody can open the gate `ask-first`"), "{check:?}");
    let said = house.heal(&[]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.out.contains("oncall"), "{said:?}");
    assert_eq!(house.web(), None, "it was started without approval");
    // The next writer to start does not take a run that waits for people for one that went away in the middle.
    house.ok(&["playbook", "remove", "guardian/service_crashed"]);
    house.ok(&["playbook", "add", &guardian_tests::text(&house.root().join("service_crashed-1.wasm"))]);
    let status = house.ok(&["status", "--json"]).json();
    assert_eq!(status["runs"][0]["state"], "awaiting-approval", "{status}");
    let plan = house.guardian(&PLAN);
    assert!(plan.out.contains("oncall") && plan.out.contains("it meets the gate ask-first"), "{plan:?}");
    for said in [&plan, &said] {
        assert!(said.out.contains("`approve --exact` this sequence and no other"), "{said:?}");
    }
    std::fs::remove_file(&gate).expect("removed");
    assert_eq!(house.heal(&[]).code, 0);
}

#[test]
fn the_grant_that_explain_prints_is_the_one_that_is_missing() {
    let house = House::new();
    let permits = house.permits().join("service_crashed.cedar");
    let text = std::fs::read_to_string(&permits).expect("the permits");
    std::fs::write(
        &permits,
        text.replace("Guardian::Action::\"service.revive\"", "Guardian::Action::\"service.observe\""),
    )
    .expect("narrower");
    if house.guardian(&["policy", "check"]).code != 0 {
        let narrower = text.replace(
            "action in Guardian::Action::\"service.revive\"",
            "action == Guardian::Action::\"service.status\"",
        );
        std::fs::write(&permits, narrower).expect("narrower");
    }
    house.ok(&["policy", "check"]);
    let refused = house.heal(&[]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.out.contains("DENIED"), "{refused:?}");
    let explain = ["policy", "explain", "guardian/service_crashed", "service.start", "service.web", "--json"];
    let said = house.guardian(&explain);
    assert_eq!(said.code, 3, "{said:?}");
    let grant = said.json()["grant"].as_str().expect("a grant").to_owned();
    std::fs::write(house.permits().join("pasted.cedar"), grant).expect("pasted");
    house.ok(&["policy", "check"]);
    assert_eq!(house.ok(&explain).json()["verdict"], "permitted");
    let healed = house.heal(&[]);
    assert_eq!(healed.code, 0, "{healed:?}");
}
