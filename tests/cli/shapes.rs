//! The shapes of `--json`, as goldens: which fields there are and what type each has. Values are shown for the two fields
//! that every document begins with; everything else is as different as machines and moments are.

use std::collections::BTreeSet;

use crate::journey::approval;
use guardian_tests::{House, Said, playbooks, text};
use serde_json::{Map, Value};

/// A document with each value replaced by the word for its type, and lists by the different shapes in them.
fn shape(value: &Value, key: &str) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), shape(value, key))).collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let shapes: BTreeSet<String> = items.iter().map(|item| shape(item, "").to_string()).collect();
            shapes.iter().map(|text| serde_json::from_str::<Value>(text).expect("a shape")).collect()
        }
        // Whether somebody logged in depends on where the test runs.
        _ if key == "login_uid" => "number or null".into(),
        _ if matches!(key, "guardian" | "kind" | "type" | "state" | "ok" | "verdict") => value.clone(),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Null => Value::Null,
    }
}

pub(crate) fn golden(said: &Said, name: &str) {
    let document = said.json();
    assert_eq!(document["guardian"], 1, "{name}");
    assert_eq!(document["kind"].as_str(), Some(name.split('_').next().unwrap_or(name)), "{name}");
    assert!(said.err.is_empty(), "{said:?}");
    said.nothing_raw();
    crate::golden::same(
        &format!("json_{name}.json"),
        &serde_json::to_string_pretty(&shape(&document, "")).expect("JSON"),
    );
}

/// Runs with `--json` and compares; every one of these ends with 0.
fn same(house: &House, name: &str, arguments: &[&str]) {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    golden(&house.ok(&arguments), name);
}

#[test]
fn every_command_of_the_operator_has_its_shape() {
    let house = House::empty();
    let path = |name: &str| text(&house.root().join(name));
    let (key, wasm) = (path("a.key"), path("a.wasm"));
    std::fs::copy(playbooks().join("service_crashed-1.wasm"), &wasm).expect("a built playbook");
    same(&house, "init", &["init"]);
    same(&house, "key", &["key", "new", &key]);
    same(&house, "trust", &["trust", "add", &format!("{key}.pub"), "--publisher", "guardian"]);
    same(&house, "trust-list", &["trust", "list"]);
    same(&house, "trust_clock", &["trust", "reset-clock", "--reason", "the clock was wrong"]);
    same(&house, "playbook-inspect_unsigned", &["playbook", "inspect", &wasm]);
    same(&house, "playbook-sign", &["playbook", "sign", &wasm, "--key", &key]);
    same(&house, "playbook-inspect", &["playbook", "inspect", &wasm]);
    same(&house, "playbook-verify", &["playbook", "verify", &wasm]);
    same(&house, "playbook-add", &["playbook", "add", &wasm]);
    same(&house, "playbook-list", &["playbook", "list"]);
    same(&house, "policy-check", &["policy", "check"]);
    same(&house, "audit-verify", &["audit", "verify"]);
    same(&house, "playbook-remove", &["playbook", "remove", "guardian/service_crashed"]);
    same(&house, "trust_remove", &["trust", "remove", "guardian"]);
    same(&house, "audit-successor", &["audit", "fork", "--reason", "this machine was cloned"]);
}

#[test]
fn what_runs_has_its_shape() {
    let house = House::new();
    let about = ["guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];
    let with = |verb: &'static str| [&[verb], &about[..]].concat();
    same(&house, "plan", &with("plan"));
    same(&house, "run", &with("run"));
    same(&house, "status", &["status"]);
    same(&house, "audit-list", &["audit", "list"]);
    let intent = house.records("intent")[0]["seq"].to_string();
    same(&house, "audit-record", &["audit", "show", &intent]);
    let explain = |action| ["policy", "explain", "guardian/service_crashed", action, "service.web"];
    same(&house, "policy-explain_permitted", &explain("service.start"));
    let denied = house.guardian(&[&explain("service.stop")[..], &["--json"]].concat());
    assert_eq!(denied.code, 3);
    golden(&denied, "policy-explain_denied");
}

#[test]
fn status_shows_everything_that_is_named() {
    let house = House::new();
    let root = house.root().canonicalize().expect("a path");
    let at = |name: &str| text(&root.join(name));
    for (name, content) in [("site.conf", "drifted\n"), ("baseline.conf", "good\n")] {
        std::fs::write(at(name), content).expect("written");
    }
    let ran = at("ran");
    approval::more(
        &house,
        &format!(
            "[storage.data]\npath = '{0}'\nfree = '1MiB'\ninodes = '1'\n\
             [config.site]\npath = '{1}'\nbaseline = '{2}'\n\
             [command.touch]\nrun = ['/usr/bin/touch', '{ran}']\ntimeout = '1s'\n\
             [command.gone]\nrun = ['/nowhere/program']\ntimeout = '1s'\n",
            text(&root),
            at("site.conf"),
            at("baseline.conf"),
        ),
    );
    let said = house.ok(&["status"]);
    said.nothing_raw();
    for (resource, words) in [
        ("storage.data", "HEALTHY"),
        ("config.site", "FAILED differs"),
        ("command.touch", "named `/usr/bin/touch`"),
        ("command.gone", "FAULT"),
    ] {
        let line = said.out.lines().find(|line| line.starts_with(resource)).unwrap_or_default();
        assert!(line.contains(words), "{resource}: `{line}` lacks `{words}`: {said:?}");
    }
    same(&house, "status_resources", &["status"]);
    assert!(!root.join("ran").exists(), "a status ran a command");
}

#[test]
fn what_people_say_has_its_shape() {
    let house = House::new();
    approval::gate(&house, "ask-first", "oncall", 1);
    let ann = approval::person(&house, "ann", "oncall");
    let eve = approval::key(&house, "eve");
    approval::more(&house, &format!("[person.eve]\nkeys = ['{}']\nbreak_glass = true\n", approval::public(&eve)));
    house.ok(&["policy", "check"]);
    let waits = |name: Option<&str>| {
        let waiting = house.heal(&["--json"]);
        assert_eq!(waiting.code, 6, "{waiting:?}");
        if let Some(name) = name {
            golden(&waiting, name);
        }
        waiting.json()["run"].as_str().expect("a run").to_owned()
    };
    let run = waits(Some("run_waiting"));
    same(&house, "status_waiting", &["status"]);
    same(&house, "reject", &["reject", &run, "--key", &ann, "--reason", "not today"]);
    let run = waits(None);
    same(&house, "approve", &["approve", &run, "--key", &ann]);
    same(&house, "break-glass", &["break-glass", "--reason", "a test", "--for", "1m", "--key", &eve]);
    same(&house, "order_pause", &["pause", "service.web", "--for", "1m", "--reason", "a test"]);
    same(&house, "order_freeze", &["freeze", "--for", "1m", "--reason", "a test"]);
    same(&house, "inventory-check", &["inventory", "check"]);
}

#[test]
fn nothing_is_coloured_where_no_terminal_is() {
    let house = House::new();
    for arguments in [
        &["status"][..],
        &["policy", "check"],
        &["trust", "list"],
        &["playbook", "list"],
        &["audit", "list"],
        &["--help"],
    ] {
        house.ok(arguments).nothing_raw();
        for (key, value) in [("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"), ("TERM", "xterm-256color")] {
            let said: Said = house.command(arguments).env(key, value).output().expect("guardian starts").into();
            said.nothing_raw();
        }
    }
    house.heal(&[]).nothing_raw();
    house.ok(&["status"]).nothing_raw();
    for seq in 0..house.ok(&["audit", "verify", "--json"]).json()["records"].as_u64().expect("a number").min(12) {
        house.ok(&["audit", "show", &seq.to_string()]).nothing_raw();
    }
}

#[test]
fn an_answer_that_is_cut_off_is_no_answer() {
    let house = House::new();
    for arguments in [&["audit", "list"][..], &["status", "--json"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let output = house.command(arguments).stdout(full).output().expect("guardian starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("standard output cannot be written"), "{said}");
    }
}

#[test]
fn a_list_begins_where_it_was_told_to() {
    let house = House::new();
    let numbers = |arguments: &[&str]| -> Vec<u64> {
        let list = house.ok(&[&["audit", "list", "--json"], arguments].concat()).json();
        let records = list["records"].as_array().expect("records").iter();
        records.filter_map(|record| record["seq"].as_u64()).collect()
    };
    let all = numbers(&[]);
    assert!(all.len() > 3 && all[0] == 0, "{all:?}");
    assert_eq!(numbers(&["--from", "2"]), all[2..]);
    assert_eq!(numbers(&["--last", "2"]), all[all.len() - 2..]);
    assert_eq!(numbers(&["--from", "1", "--last", "1"]), all[all.len() - 1..]);
    house.refused(&["audit", "show", "9999"], 2, &[&format!("the trail has {} records", all.len())]);
}
