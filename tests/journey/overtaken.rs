//! Undoing an old run takes nothing away that was done since; and what can be undone outlives the trail that spoke of it.

use std::io::Write as _;

use super::undo::Drifted;

/// A run that changed the file and did not heal; gives its id. What it did is left, to be undone.
fn left(drifted: &Drifted) -> String {
    drifted.drift();
    let said = drifted.run();
    assert_eq!(said.code, 4, "{said:?}");
    drifted.last()
}

/// It is refused with these words.
fn refused(drifted: &Drifted, run: &str, words: &[&str]) -> String {
    let said = drifted.house.guardian(&["undo", run]);
    assert_eq!(said.code, 2, "{said:?}");
    said.nothing_raw();
    assert!(words.iter().all(|word| said.line().contains(word)), "{said:?}");
    said.err
}

fn ready() -> Drifted {
    let drifted = Drifted::new("unhealed = 'leave'");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    drifted
}

#[test]
fn of_two_runs_the_newer_one_is_undone_first() {
    let drifted = ready();
    drifted.without_restart();
    let first = left(&drifted);
    // Somebody brings the file back to what it was before, and it is restored again: it looks as the first run left it.
    let second = left(&drifted);
    let content = drifted.content();
    let records = drifted.house.records("intent").len();
    refused(&drifted, &first, &[&second, "first"]);
    assert_eq!(drifted.content(), content);
    assert_eq!(drifted.house.records("intent").len(), records, "nothing was begun");
    drifted.house.ok(&["undo", &second]);
    assert!(drifted.is_back());
    // Its twin: nothing stands on it any more. The file is as it was before the first run too.
    let undone = drifted.house.guardian(&["undo", &first]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert!(drifted.is_back() && drifted.kept().is_empty(), "{:?}", drifted.kept());
    drifted.house.ok(&["audit", "verify"]);
}

#[test]
fn what_healed_since_is_not_undone_with_an_older_run() {
    let drifted = ready();
    let permits = drifted.house.permits().join("config_drifted.cedar");
    let whole = std::fs::read_to_string(&permits).expect("the permits");
    drifted.without_restart();
    let first = left(&drifted);
    std::fs::write(&permits, whole).expect("all of them");
    drifted.drift();
    let healed = drifted.run();
    assert_eq!(healed.code, 0, "{healed:?}");
    let healed = drifted.last();
    let said = refused(&drifted, &first, &[&healed, "that stands", "audit settle"]);
    let record =
        said.split("audit settle ").nth(1).expect("a record").split(' ').next().expect("its number").to_owned();
    // A person may say that it shall stay so, and then there is nothing left to undo.
    drifted.house.ok(&["audit", "settle", &record, "--reason", "it is well as it is"]);
    refused(&drifted, &first, &["nothing of it is left"]);
    drifted.house.ok(&["audit", "verify"]);
}

#[test]
fn a_run_can_be_undone_after_the_trail_was_forked() {
    let drifted = ready();
    drifted.without_restart();
    let run = left(&drifted);
    drifted.house.ok(&["audit", "fork", "--reason", "a new machine"]);
    // A start in between sweeps nothing that is needed.
    assert_eq!(drifted.house.heal(&[]).code, 0);
    assert_eq!(drifted.kept(), std::slice::from_ref(&run));
    let undone = drifted.house.guardian(&["undo", &run]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert!(drifted.is_back() && drifted.kept().is_empty());
    drifted.house.ok(&["audit", "verify"]);
}

#[test]
fn what_a_lost_record_may_have_spoken_of_is_kept_for_a_person() {
    let drifted = ready();
    drifted.without_restart();
    let run = left(&drifted);
    // Everything that the trail said is lost.
    for entry in std::fs::read_dir(drifted.house.root().join("var/audit/seg")).expect("segments") {
        let path = entry.expect("an entry").path();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a segment");
        file.write_all(&[0xff; 65_536]).expect("damage");
    }
    let _ = std::fs::remove_file(drifted.house.root().join("var/audit/log/projection.json"));
    assert_eq!(drifted.run().code, 5);
    let recovered = drifted.house.ok(&["audit", "recover", "--reason", "a disk that lies"]);
    assert!(recovered.out.contains("state/undo"), "{recovered:?}");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    assert_eq!(drifted.kept(), std::slice::from_ref(&run), "nobody knows whose it is");
    refused(&drifted, &run, &["remembers no run"]);
    // Its twin: what belongs to nobody and is newer than that is swept.
    let orphan = drifted.house.root().join("var/state/undo/r-f000000000000001");
    std::fs::create_dir_all(&orphan).expect("an orphan");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    assert!(!orphan.exists());
    drifted.house.ok(&["audit", "verify"]);
}
