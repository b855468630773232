//! Guardian is killed at moments spread over the whole life of a run. Whatever moment it is: the trail verifies, no new
//! process of the service is there without a durable intent, and the next run gives the killed one an end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use guardian_tests::House;

use super::heal::kill;

/// How often: every step of a run is hit some times.
const KILLS: u32 = 64;

const RUN: [&str; 6] = ["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];

/// Numbers of intents without an outcome, as `status` shows them.
fn in_doubt(house: &House) -> Vec<u64> {
    let status = house.ok(&["status", "--json"]).json();
    status["in_doubt"].as_array().expect("a list").iter().filter_map(serde_json::Value::as_u64).collect()
}

/// Intents to start the service: what a heal does besides must not make up for one that is missing.
fn starts(house: &House) -> usize {
    house.records("intent").iter().filter(|record| record["action"]["verb"] == "start").count()
}

/// The next run finds the one that nobody saw end, asks the hands what became of its effects, and gives it an end. What no
/// hand can tell stops it, until a person says what they found. Returns how many were in doubt.
fn settle(house: &House) -> usize {
    let doubted = in_doubt(house);
    let Some(first) = doubted.first() else { return 0 };
    let plan = house.guardian(&[&["plan"], &RUN[1..]].concat());
    assert!(plan.out.contains(&format!("in record {first} has no outcome")), "{plan:?}");
    let next = house.guardian(&RUN);
    match next.code {
        0 => {
            assert!(next.out.contains("found a run without an end"), "{next:?}");
            assert!(house.records("reconciled").iter().any(|record| record["of"] == *first), "{next:?}");
        }
        7 => {
            assert!(next.err.contains("not known") && next.err.contains("audit settle"), "{next:?}");
            for record in in_doubt(house) {
                house.ok(&["audit", "settle", &record.to_string(), "--reason", "looked at by the test"]);
            }
        }
        _ => panic!("{next:?}"),
    }
    assert!(in_doubt(house).is_empty());
    doubted.len()
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_no_effect_without_an_intent() {
    let house = House::new();
    let permits = house.permits().join("service_crashed.cedar");
    let text = std::fs::read_to_string(&permits).expect("the permits");
    std::fs::write(&permits, text.replace("context.used.h1 < 3", "context.used.h1 < 1000")).expect("more often");
    assert_eq!(house.heal(&[]).code, 0);
    kill(&house);
    let begun = Instant::now();
    assert_eq!(house.heal(&[]).code, 0);
    let life = begun.elapsed();
    let mut known = house.web();
    let (mut changes, mut said_so) = (starts(&house), 0);
    for round in 0..KILLS {
        said_so += settle(&house);
        if house.web().is_some() {
            kill(&house);
            known = None;
        }
        let mut run = house.command(&RUN).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("guardian starts");
        std::thread::sleep(life * round / KILLS);
        run.kill().expect("a kill");
        run.wait().expect("an end");
        house.ok(&["audit", "verify"]);
        // The hand may have been asked just before the kill, and the keeper finishes what it was asked.
        std::thread::sleep(Duration::from_millis(20));
        let now = house.web();
        if now.is_some() && now != known {
            changes += 1;
        }
        known = now;
        let intents = starts(&house);
        assert!(intents >= changes, "round {round}: {changes} processes and only {intents} intents to start one");
    }
    said_so += settle(&house);
    assert!(said_so > 0, "no kill hit an effect; the spread is wrong");
    let healed = house.heal(&[]);
    assert_eq!(healed.code, 0, "{healed:?}");
    house.ok(&["audit", "verify"]);
}
