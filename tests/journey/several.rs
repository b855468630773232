//! A run with several effects that can be put back: they are, the last one first, and whoever kills Guardian in the middle
//! finds that the next start does the rest.

use std::process::Stdio;
use std::time::Duration;

use guardian::model::Manifest;
use guardian::trust::embed_manifest;
use guardian_tests::{House, Said, text};

use super::undo::{segment, wait_for_batch};
use crate::guests::component;

const NAMES: [&str; 3] = ["one", "two", "three"];
const BASELINE: &str = "as it should be\n";
const DRIFTED: &str = "as it was\n";
/// At least as many batches as the run writes: one for each of three intents and outcomes, and as many to put them back.
const BATCHES: u32 = 16;
const ROUNDS: u32 = 4;

fn house() -> House {
    let house = House::new();
    let root = house.root().to_owned();
    let mut configs = String::new();
    for name in NAMES {
        std::fs::write(root.join(format!("{name}.baseline")), BASELINE).expect("a baseline");
        configs += &format!(
            "[config.{name}]\npath = '{0}/{name}.conf'\nbaseline = '{0}/{name}.baseline'\nof = 'service.web'\n",
            root.display()
        );
    }
    house.configure(&format!("{}\n{configs}", house.toml()));
    let manifest = Manifest::from_toml(
        "publisher = 'guardian'\nname = 'three_files'\nversion = '1.0.0'\nrelease = 1\ndescription = 'a test'\n\
         capabilities = ['config']\n[roles]\ntarget = 'config'\n",
    )
    .expect("a manifest");
    let wasm = root.join("three_files-1.wasm");
    let guest = component(include_str!("../guests/three_files.wat"));
    std::fs::write(&wasm, embed_manifest(&guest, &manifest).expect("a component")).expect("written");
    house.ok(&["playbook", "sign", &text(&wasm), "--key", &text(&root.join("guardian.key"))]);
    house.ok(&["playbook", "add", &text(&wasm)]);
    let permit = NAMES.map(|name| {
        format!(
            "@id(\"{name}\") permit (principal == Guardian::Playbook::\"guardian/three_files\", \
             action == Guardian::Action::\"config.restore\", resource == Guardian::Config::\"{name}\");\n"
        )
    });
    std::fs::write(house.permits().join("three_files.cedar"), permit.concat()).expect("permits");
    drift(&house);
    house
}

fn drift(house: &House) {
    for name in NAMES {
        std::fs::write(house.root().join(format!("{name}.conf")), DRIFTED).expect("a file");
    }
}

fn contents(house: &House) -> [String; 3] {
    NAMES.map(|name| std::fs::read_to_string(house.root().join(format!("{name}.conf"))).expect("a file"))
}

const RUN: [&str; 6] = ["run", "guardian/three_files", "--incident", "config_drifted", "--target", "config.one"];

/// What intents to restore are about, in their order: those of the playbook, and those that put back.
fn restores(house: &House) -> (Vec<String>, Vec<String>) {
    let intents = house.records("intent");
    let name = |record: &serde_json::Value| record["action"]["name"].as_str().expect("a name").to_owned();
    let (undoing, doing): (Vec<_>, Vec<_>) = intents
        .iter()
        .filter(|record| record["action"]["verb"] == "restore")
        .partition(|record| record.get("undoes").is_some());
    (doing.into_iter().map(name).collect(), undoing.into_iter().map(name).collect())
}

#[test]
fn what_several_effects_did_is_put_back_the_last_one_first() {
    let house = house();
    let said = house.guardian(&RUN);
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(contents(&house), [DRIFTED; 3], "{said:?}");
    let (done, undone) = restores(&house);
    assert_eq!(done, NAMES);
    assert_eq!(undone, ["three", "two", "one"]);
    // One that cannot be put back stops what comes after it, which was there first.
    let leave = house.toml().replace("[config.one]\n", "[config.one]\nunhealed = 'leave'\n");
    let leave = leave.replace("[config.two]\n", "[config.two]\nunhealed = 'leave'\n");
    house.configure(&leave.replace("[config.three]\n", "[config.three]\nunhealed = 'leave'\n"));
    let left = house.guardian(&RUN);
    assert_eq!(left.code, 4, "{left:?}");
    assert_eq!(contents(&house), [BASELINE; 3]);
    std::fs::write(house.root().join("two.conf"), "somebody's work\n").expect("an edit");
    let run =
        house.ok(&["status", "--json"]).json()["runs"].as_array().expect("runs").last().expect("one")["run"].clone();
    let undone = house.guardian(&["undo", run.as_str().expect("an id")]);
    assert_eq!(undone.code, 7, "{undone:?}");
    assert_eq!(contents(&house), [BASELINE, "somebody's work\n", DRIFTED], "{undone:?}");
    house.ok(&["audit", "verify"]);
}

/// After each batch that it writes, with four delays: the next start puts back what is left, in reverse order, or says what it
/// cannot know.
#[test]
fn whoever_kills_a_run_of_several_effects_finds_them_put_back() {
    let house = house();
    let (mut found, mut half) = (0, 0);
    for round in 0..ROUNDS * BATCHES {
        drift(&house);
        let before = restores(&house);
        let (file, written) = segment(&house);
        let mut run = house.command(&RUN).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        wait_for_batch(&file, written, round % BATCHES, &mut run);
        std::thread::sleep(Duration::from_micros(150) * (round / BATCHES));
        let _ = run.kill();
        run.wait().expect("an end");
        let now = contents(&house);
        assert!(now.iter().all(|text| text == DRIFTED || text == BASELINE), "round {round}: {now:?}");
        half += u32::from(now.iter().any(|text| text == BASELINE));
        // The next start, whatever it is for.
        let next: Said = house.guardian(&[
            "run",
            "guardian/service_crashed",
            "--incident",
            "service_crashed",
            "--target",
            "service.web",
        ]);
        found += u32::from(next.out.contains("found a run without an end"));
        assert!([0, 4].contains(&next.code), "round {round}: {next:?}");
        assert_eq!(contents(&house), [DRIFTED; 3], "round {round}: {next:?}");
        let (done, undone) = restores(&house);
        let (done, mut undone) = (&done[before.0.len()..], undone[before.1.len()..].to_vec());
        // What was interrupted is done again.
        undone.dedup();
        let expected: Vec<_> = done.iter().rev().cloned().collect();
        assert!(expected.ends_with(&undone), "round {round}: did {done:?}, put back {undone:?}");
    }
    assert!(found > 0 && half > 0, "no kill hit the run in the middle ({found}, {half})");
    house.ok(&["audit", "verify"]);
}
