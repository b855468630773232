//! A person orders, and a run that is under way obeys: within one call, on record, and until they say otherwise.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use guardian::durable::Folder;
use guardian::model::{Given, Manifest, Order};
use guardian::orders::Orders;
use guardian::trust::{embed_manifest, read_manifest};
use guardian_tests::{House, Said, playbooks, text, wait_until};
use rustix::fs::{FlockOperation, flock, inotify};

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

/// What is listed as the plan is what its digest covers: an effect that could not be made ready would not be done.
#[test]
fn a_plan_lists_no_effect_that_would_not_be_done() {
    let house = house();
    let plan = [&["plan"], &RUN[1..]].concat();
    let said = house.ok(&plan);
    assert!(said.out.contains("the plan: 100 effects"), "{said:?}");
    house.ok(&["service", "stop", "web"]);
    let said = house.guardian(&plan);
    assert!(said.out.contains("failed    service.restart"), "{said:?}");
    assert!(said.out.contains("the plan: 0 effects"), "{said:?}");
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
    // A command that orders something for its own time mends nothing on its way: what was in the file nobody knows.
    let pause = orders.join("pause.service.web.json");
    std::fs::write(&pause, "{").expect("damaged");
    house.ok(&["service", "stop", "web"]);
    assert_eq!(std::fs::read_to_string(&pause).expect("the file"), "{");
    assert_eq!(house.ok(&["status", "--json"]).json()["orders"].as_array().map(Vec::len), Some(1));
    house.ok(&["unpause", "service.web", "--reason", "mended"]);
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

/// Keeps every other process from writing the trail, as a run does that is under way.
fn a_writer(house: &House) -> File {
    let folder = File::open(house.root().join("var/audit")).expect("the trail's folder");
    flock(&folder, FlockOperation::LockExclusive).expect("the lock");
    folder
}

fn orders(house: &House) -> Vec<serde_json::Value> {
    house.ok(&["status", "--json"]).json()["orders"].as_array().cloned().expect("orders")
}

/// The end of the only order there is, and its reason.
fn only(house: &House) -> (u64, String) {
    let orders = orders(house);
    assert_eq!(orders.len(), 1, "{orders:?}");
    (orders[0]["until"].as_u64().expect("an end"), orders[0]["reason"].as_str().expect("a reason").to_owned())
}

#[test]
fn a_command_that_ends_takes_back_its_own_order_and_nobody_elses() {
    let house = House::new();
    assert_eq!(house.heal(&[]).code, 0);
    let stop = |house: &House| {
        let child = house.command(&["service", "stop", "web"]).stdout(Stdio::null()).spawn().expect("guardian starts");
        wait_until("its order stands", || {
            orders(house).iter().any(|order| order["reason"] == "a person is stopping it")
        });
        child
    };
    // Its own order goes with it.
    let trail = a_writer(&house);
    let mut stopping = stop(&house);
    drop(trail);
    assert!(stopping.wait().expect("an end").success());
    assert!(orders(&house).is_empty());
    // Somebody pauses it for an hour while the stop waits for its turn: that is still so afterwards.
    house.ok(&["service", "start", "web"]);
    let trail = a_writer(&house);
    let mut stopping = stop(&house);
    house.ok(&["pause", "service.web", "--for", "1h", "--reason", "mine"]);
    drop(trail);
    assert!(stopping.wait().expect("an end").success());
    let (until, reason) = only(&house);
    assert!(reason == "mine" && until > now() + 3_500_000, "{reason} until {until}");
    // Somebody lifts it while the stop waits: it is not put back.
    let trail = a_writer(&house);
    house.ok(&["unpause", "service.web", "--reason", "done"]);
    house.ok(&["pause", "service.web", "--for", "1s", "--reason", "short"]);
    let mut stopping = stop(&house);
    house.ok(&["unpause", "service.web", "--reason", "done"]);
    drop(trail);
    assert!(stopping.wait().expect("an end").success());
    assert!(orders(&house).is_empty());
}

#[test]
fn a_shorter_order_does_not_cut_a_longer_one_short() {
    let house = House::new();
    house.ok(&["pause", "service.web", "--for", "2h", "--reason", "ann's migration"]);
    let longer = only(&house).0;
    let said = house.ok(&["pause", "service.web", "--for", "5m", "--reason", "bob's look"]);
    let (until, reason) = only(&house);
    assert_eq!(until, longer, "{said:?}");
    assert!(reason.contains("bob's look") && reason.contains("ann's migration"), "{reason}");
    assert!(said.out.contains("ann's migration"), "{said:?}");
    // A longer one replaces it, and lifting lifts.
    house.ok(&["pause", "service.web", "--for", "3h", "--reason", "longer"]);
    let (until, reason) = only(&house);
    assert!(until > longer && reason == "longer", "{reason} until {until}");
    house.ok(&["unpause", "service.web", "--reason", "done"]);
    assert!(orders(&house).is_empty());
}

/// `unpause` has seen one pause, and when its turn comes there is another.
#[test]
fn what_somebody_ordered_anew_in_the_same_moment_is_not_lifted() {
    let house = House::new();
    house.ok(&["pause", "service.web", "--for", "5m", "--reason", "the one that is over"]);
    let folder = house.root().join("var/state");
    let orders = Orders::below(Folder::open(&folder).expect("a folder"));
    let change = orders.change().expect("the lock");
    // Whoever waits for the lock has read what stands before.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    let file = folder.join("orders/pause.service.web.json");
    inotify::add_watch(&watch, &file, inotify::WatchFlags::CLOSE_NOWRITE).expect("a watch");
    let lifting = house
        .command(&["unpause", "service.web", "--reason", "done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("guardian starts");
    let mut room = [std::mem::MaybeUninit::uninit(); 1_024];
    inotify::Reader::new(&watch, &mut room).next().expect("it has read the order");
    let what = Order::Pause { resource: "service.web".parse().expect("a resource") };
    let old = change.standing(&what).expect("it can be read").expect("the pause");
    let reason = "the one that was given since".to_owned();
    change.give(&Given { until: old.until.plus(Duration::from_secs(600)), reason, ..old }).expect("given");
    drop(change);
    let said = ended(lifting);
    assert_eq!(said.code, 2, "{said:?}");
    for word in ["nothing was lifted", "service.web is paused until", "given since"] {
        assert!(said.line().contains(word), "no `{word}`: {said:?}");
    }
    assert_eq!(only(&house).1, "the one that was given since");
    house.ok(&["unpause", "service.web", "--reason", "this one"]);
}

#[test]
fn an_order_takes_hold_while_the_trail_is_held_or_broken_and_says_which() {
    let house = House::new();
    let trail = a_writer(&house);
    for order in [
        &["pause", "service.web", "--for", "5m", "--reason", "x"][..],
        &["unpause", "service.web", "--reason", "x"],
        &["freeze", "--for", "5m", "--reason", "x"],
        &["unfreeze", "--reason", "x"],
    ] {
        let said = house.ok(order);
        assert!(said.out.contains("a run holds the trail"), "{said:?}");
        let lifts = order[0].starts_with("un");
        assert_eq!(orders(&house).len(), usize::from(!lifts), "{order:?}");
    }
    let said = house.ok(&["freeze", "--for", "5m", "--reason", "y", "--json"]);
    assert_eq!(said.json()["recorded"], false);
    assert!(house.records("order").is_empty());
    drop(trail);
    assert_eq!(house.ok(&["freeze", "--for", "6m", "--reason", "z", "--json"]).json()["recorded"], true);
    assert!(!house.records("order").is_empty());
    // A trail that is damaged is no trail that somebody holds.
    let segments = house.root().join("var/audit/seg");
    let first = std::fs::read_dir(&segments).expect("segments").flatten().map(|entry| entry.path()).min();
    std::fs::write(first.expect("a segment"), b"nothing of it is left").expect("damaged");
    for order in [&["pause", "service.web", "--for", "5m", "--reason", "x"][..], &["unfreeze", "--reason", "x"]] {
        let said = house.guardian(order);
        assert_eq!(said.code, 5, "{said:?}");
        assert!(said.line().contains("the order is given and holds"), "{said:?}");
        assert!(said.line().contains("damaged"), "{said:?}");
        assert!(!said.out.contains("holds the trail"), "{said:?}");
    }
    let file = |name: &str| {
        let bytes = std::fs::read(house.root().join("var/state/orders").join(name)).expect("an order");
        serde_json::from_slice::<Given>(&bytes).expect("an order")
    };
    assert!(!file("pause.service.web.json").lifts());
    assert!(file("freeze.json").lifts());
}
