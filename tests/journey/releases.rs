//! Releases go up; going back is an act of the operator.

use std::path::PathBuf;

use guardian::trust::{embed_manifest, read_manifest};
use guardian_tests::{House, playbooks, text};

/// The built healing playbook as another release, signed by the house's key.
pub(crate) fn release(house: &House, number: u64, description: &str) -> PathBuf {
    let built = std::fs::read(playbooks().join("service_crashed-1.wasm")).expect("a built playbook");
    let mut manifest = read_manifest(&built).expect("its manifest");
    manifest.release = number;
    manifest.description = description.to_owned();
    let section = wasmparser::Parser::new(0).parse_all(&built).find_map(|part| match part.expect("a component") {
        wasmparser::Payload::CustomSection(section) if section.name() == "guardian:manifest" => Some(section.range()),
        _ => None,
    });
    let section = section.expect("its section");
    // The header of a section is its id and its length: one byte, and as many as the length needs.
    let length = section.len();
    let header = 1 + (length.max(1).ilog2() / 7 + 1) as usize;
    let bare = &built[..section.start - header];
    assert_eq!(section.end, built.len(), "the manifest is the last section");
    let file = house.root().join(format!("r{number}.wasm"));
    std::fs::write(&file, embed_manifest(bare, &manifest).expect("a component")).expect("written");
    house.ok(&["playbook", "sign", &text(&file), "--key", &text(&house.root().join("guardian.key"))]);
    file
}

#[test]
fn releases_go_up_and_back_only_on_purpose() {
    let house = House::new();
    let (second, third) = (release(&house, 2, "second"), release(&house, 3, "third"));
    let first = text(&house.root().join("service_crashed-1.wasm"));
    house.ok(&["playbook", "add", &text(&second)]);
    house.refused(&["playbook", "add", &first], 3, &["release"]);
    house.ok(&["playbook", "rollback", "guardian/service_crashed", "--to", "1"]);
    assert_eq!(house.heal(&[]).code, 0);
    assert_eq!(house.records("run-start")[0]["release"], 1);
    house.ok(&["playbook", "add", &text(&third)]);
    assert_eq!(house.heal(&[]).code, 0);
    assert_eq!(house.records("run-start")[1]["release"], 3);
    // What was never accepted is no earlier release to go back to.
    let never = release(&house, 1, "never accepted");
    house.refused(&["playbook", "add", &text(&never)], 3, &["release"]);
    house.refused(&["playbook", "rollback", "guardian/service_crashed", "--to", "9"], 2, &["release"]);
    house.ok(&["playbook", "remove", "guardian/service_crashed"]);
    house.refused(&["playbook", "add", &text(&second)], 3, &["release"]);
    house.ok(&["playbook", "add", &text(&third)]);
    house.ok(&["audit", "verify"]);
}

#[test]
fn a_revoked_release_does_not_run() {
    let house = House::new();
    let digest = house
        .ok(&["playbook", "inspect", &text(&house.root().join("service_crashed-1.wasm")), "--json"])
        .json()["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let trust = house.root().join("etc/trust/publishers.toml");
    let good = std::fs::read_to_string(&trust).expect("the trust file");
    assert!(good.contains("revoked = []"), "{good}");
    house.refused(&["trust", "revoke", &digest, "--reason", " "], 2, &["--reason"]);
    house.refused(&["trust", "revoke", "sha256:12", "--reason", "x"], 2, &["sha256"]);
    house.ok(&["trust", "revoke", &digest, "--reason", "it deletes\u{1b}[2J logs"]);
    house.refused(&["trust", "revoke", &digest, "--reason", "again"], 2, &["revoked already"]);
    let records = house.records("trust");
    let record = records.last().expect("a record");
    assert_eq!(record["change"], "revoked");
    assert!(
        record["key"].as_str().is_some_and(|key| key.starts_with(&digest) && key.contains("it deletes")),
        "{record}"
    );
    let said = house.heal(&[]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.line().contains("revoked"), "{said:?}");
    assert_eq!(house.web(), None);
    std::fs::write(&trust, good).expect("mended");
    assert_eq!(house.heal(&[]).code, 0);
}

#[test]
fn a_floor_holds_against_a_rollback() {
    let house = House::new();
    let second = release(&house, 2, "second");
    house.ok(&["playbook", "add", &text(&second)]);
    house.ok(&["playbook", "rollback", "guardian/service_crashed", "--to", "1"]);
    house.ok(&["trust", "floor", "guardian/service_crashed", "2"]);
    let records = house.records("trust");
    let record = records.last().expect("a record");
    assert_eq!((&record["change"], &record["key"]), (&"floor".into(), &"guardian/service_crashed 2".into()));
    house.refused(&["playbook", "rollback", "guardian/service_crashed", "--to", "1"], 3, &["2"]);
    let said = house.heal(&[]);
    assert_eq!((said.code, house.web()), (3, None), "{said:?}");
    house.ok(&["playbook", "rollback", "guardian/service_crashed", "--to", "2"]);
    assert_eq!(house.heal(&[]).code, 0);
}
