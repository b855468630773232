//! A person orders, and a run that is under way obeys: within one call, on record, and until they say otherwise.

use std::process::{Child, Stdio};

use guardian::model::Manifest;
use guardian::trust::{embed_manifest, read_manifest};
use guardian_tests::{House, Said, playbooks, text, wait_until};

/// Restarts the service again and again, whatever it hears, and looks at it after each time.
const RESTLESS: &str = r#"
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(import "guardian:playbook/service@0.1.0" "restart" (func $restart (param i32 i32 i32)))
(data (i32.const 16) "web")
(func $remediate (type $remediate)
  (local $left i32)
  (local.set $left (i32.const 100))
  (loop $more
    (global.set $free (i32.const 8192))
    (call $restart (i32.const 16) (i32.const 3) (i32.const 2048))
    (call $status (i32.const 16) (i32.const 3) (i32.const 2048))
    (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (i32.const 1024))
"#;

const RUN: [&str; 6] = ["run", "stranger/restless", "--incident", "service_crashed", "--target", "service.web"];

/// A house with a service that runs, and a playbook that restarts it without end.
fn house() -> House {
    let house = House::new();
    let built = std::fs::read(playbooks().join("hostile-1.wasm")).expect("a built playbook");
    let hostile = read_manifest(&built).expect("its manifest");
    let manifest = Manifest {
        name: "restless".parse().expect("a name"),
        capabilities: hostile.capabilities.iter().filter(|one| one.as_str() == "service").cloned().collect(),
        ..hostile
    };
    let file = text(&house.root().join("restless-1.wasm"));
    let component = crate::guests::component(RESTLESS);
    std::fs::write(&file, embed_manifest(&component, &manifest).expect("a component")).expect("written");
    let key = text(&house.root().join("stranger.key"));
    house.ok(&["key", "new", &key]);
    house.ok(&["trust", "add", &format!("{key}.pub"), "--publisher", "stranger"]);
    house.ok(&["playbook", "sign", &file, "--key", &key]);
    house.ok(&["playbook", "add", &file]);
    let permit = "@id(\"restless\") permit (principal == Guardian::Playbook::\"stranger/restless\", action in Guardian::Action::\"service\", resource == Guardian::Service::\"web\");";
    std::fs::write(house.permits().join("restless.cedar"), permit).expect("a permit");
    assert_eq!(house.heal(&[]).code, 0);
    house
}

/// Starts the restless one, and waits until it is at it.
fn under_way(house: &House) -> Child {
    let before = house.records("intent").len();
    let run = house.command(&RUN).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("guardian starts");
    wait_until("it is under way", || house.records("intent").len() > before + 1);
    run
}

fn now() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a time").as_millis()).expect("milliseconds")
}

/// No intent of the restless one lies after `moment`.
fn nothing_after(house: &House, moment: u64) {
    let intents = house.records("intent");
    let late: Vec<_> = intents
        .iter()
        .filter(|record| record["t"].as_u64().expect("a time") > moment)
        .filter(|record| record["playbook"] == "stranger/restless")
        .collect();
    assert!(late.is_empty(), "{late:?}");
}

fn ended(run: Child) -> Said {
    run.wait_with_output().expect("an end").into()
}

#[test]
fn an_order_stops_a_run_that_is_under_way() {
    for (order, lift, word) in [
        (
            &["pause", "service.web", "--for", "5m", "--reason", "a \u{1b}[2Jdeployment"][..],
            &["unpause", "service.web", "--reason", "done"][..],
            "paused",
        ),
        (
            &["freeze", "--for", "5m", "--reason", "nobody touches anything"],
            &["unfreeze", "--reason", "done"],
            "frozen",
        ),
        (&["trust", "remove", "stranger"], &[], "revoked"),
    ] {
        let house = house();
        let run = under_way(&house);
        let given = if word == "revoked" {
            // It waits for the trail; its order does not.
            let child = house.command(order).stdout(Stdio::null()).spawn().expect("guardian starts");
            wait_until("the order is given", || house.root().join("var/state/orders/withdraw.stranger.json").exists());
            Some(child)
        } else {
            let said = house.ok(order);
            said.nothing_raw();
            assert!(said.out.contains("a run holds the trail"), "{said:?}");
            None
        };
        let moment = now();
        let said = ended(run);
        assert!(said.out.contains("DENIED") && said.out.contains(word), "{said:?}");
        said.nothing_raw();
        if let Some(mut child) = given {
            assert!(child.wait().expect("an end").success());
        }
        nothing_after(&house, moment + 2);
        let orders = house.records("order");
        assert!(!orders.is_empty() && orders[0]["by"]["uid"].is_u64(), "{orders:?}");
        let Some(lift) = (!lift.is_empty()).then_some(lift) else {
            assert_eq!(house.guardian(&RUN).code, 3);
            continue;
        };
        // Looks went on, and the status says why nothing else did.
        let looks = house.records("read");
        assert!(looks.iter().any(|read| read["t"].as_u64() > Some(moment)), "{looks:?}");
        let status = house.ok(&["status"]);
        assert!(status.out.contains(word) && status.out.contains("uid "), "{status:?}");
        status.nothing_raw();
        assert_eq!(house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len), Some(1));
        house.ok(lift);
        assert_eq!(house.records("order").last().expect("an order")["reason"], "done");
        assert_eq!(house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len), Some(0));
        let usage = house.guardian(lift);
        assert!(usage.code == 2 && usage.line().contains("nothing to lift"), "{usage:?}");
        house.ok(&["audit", "verify"]);
    }
}

#[test]
fn a_persons_stop_is_the_last_word_while_a_run_is_under_way() {
    let house = house();
    let run = under_way(&house);
    // A short pause of somebody else does not stand in for the one that a stop needs.
    house.ok(&["pause", "service.web", "--for", "1s", "--reason", "a moment"]);
    house.ok(&["service", "stop", "web"]);
    let moment = now();
    let said = ended(run);
    assert!(said.out.contains("a person is stopping it"), "{said:?}");
    nothing_after(&house, moment);
    assert_eq!(house.web(), None);
    let status = house.ok(&["status"]);
    assert!(status.out.contains("stopped by a person"), "{status:?}");
    // The stop's own order has gone, and the earlier one ends when it said.
    wait_until("both are over", || {
        house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len) == Some(0)
    });
}

#[test]
fn an_order_that_cannot_be_read_is_shown_with_its_file_and_mended() {
    let house = house();
    let orders = house.root().join("var/state/orders");
    house.ok(&["freeze", "--for", "5m", "--reason", "x"]);
    std::fs::write(orders.join("freeze.json"), "{").expect("damaged");
    for said in [house.guardian(&RUN), house.ok(&["status"]), house.ok(&["status", "--json"])] {
        assert!(said.out.contains("freeze.json") && said.out.contains("remove it"), "{said:?}");
    }
    house.ok(&["unfreeze", "--reason", "mended"]);
    assert_eq!(house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_slip_in_taking_back_trust_stops_nobody() {
    let house = house();
    for arguments in [&["trust", "remove", "stranger", "--key", "no-such"][..], &["trust", "remove", "nobody"]] {
        let said = house.guardian(arguments);
        assert_eq!(said.code, 2, "{said:?}");
    }
    assert_eq!(house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len), Some(0));
}
