//! A correctly signed playbook that means harm.

use guardian_tests::House;

const RUN: [&str; 6] = ["run", "stranger/hostile", "--incident", "service_crashed", "--target", "service.web"];

fn house() -> House {
    let house = House::new();
    let toml = std::fs::read_to_string(house.root().join("etc/guardian.toml")).expect("toml");
    house.configure(&format!(
        "{}\n[service.vault]\ncommand = [\"/bin/sleep\", \"1000\"]\nstop_time = \"300ms\"\n",
        toml.replace("run_seconds = 15", "run_seconds = 1").replace("call_seconds = 5", "call_seconds = 1")
    ));
    house.publish("stranger", "hostile-1.wasm");
    house
}

#[test]
fn what_it_reaches_for_is_denied_and_its_words_are_escaped() {
    let house = house();
    let said = house.guardian(&RUN);
    said.nothing_raw();
    // It did nothing, and the service it was sent to heal is as dead as before.
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(said.out.matches("DENIED").count(), 3, "{said:?}");
    for words in ["service.stop", "service.restart", "service.vault", "no-permit", "\\u{1b}[2J"] {
        assert!(said.out.contains(words), "no `{words}`: {said:?}");
    }
    assert_eq!(house.records("denied").len(), 3);
    assert!(house.records("intent").is_empty(), "it had an effect");
    assert_eq!(house.web(), None);
    let json = house.guardian(&[&RUN[..], &["--json"]].concat());
    json.nothing_raw();
    assert_eq!((json.code, json.json()["kind"].as_str()), (4, Some("run")));
    house.ok(&["audit", "list", "--last", "1000"]).nothing_raw();
    house.ok(&["audit", "list", "--last", "1000", "--json"]).nothing_raw();
    for denied in house.records("denied").iter().chain(&house.records("read")) {
        house.ok(&["audit", "show", &denied["seq"].to_string()]).nothing_raw();
    }
    house.ok(&["status"]).nothing_raw();
}

#[test]
fn an_endless_loop_hits_the_limit_and_says_how_to_raise_it() {
    let house = house();
    let said = house.guardian(&[&RUN[..], &["--label", "attack=loop"]].concat());
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("time limit of 1 s") && said.out.contains("`run_seconds` under [limits]"), "{said:?}");
    assert_eq!(house.records("run-end")[0]["state"], "not-healed");
    // The host lives, and the next run works.
    let healed = house.heal(&[]);
    assert_eq!(healed.code, 0, "{healed:?}");
    house.ok(&["audit", "verify"]);
}

#[test]
fn trust_that_is_taken_away_stops_the_next_run() {
    let house = house();
    house.ok(&["trust", "remove", "stranger"]);
    house.refused(&RUN, 3, &["by a trusted key", "guardian trust add"]);
    house.ok(&["trust", "remove", "guardian"]);
    let said = house.heal(&[]);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(house.web(), None);
    house.ok(&["trust", "add", &format!("{}/guardian.key.pub", house.root().display()), "--publisher", "guardian"]);
    assert_eq!(house.heal(&[]).code, 0);
}
