//! A Guardian that is killed in the middle: what is on the disk says what happened, and all of it comes back.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use super::*;
use crate::capability::folder::OURS;

const HOME: &str = "GUARDIAN_TEST_RECLAIM_IN";
/// How many moments of a reclaim are tried.
const MOMENTS: u32 = 30;

#[test]
fn a_reclaim_that_is_killed_can_be_put_back() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    let before = full(&bench);
    let begun = Instant::now();
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let whole = begun.elapsed();
    assert!(done(outcome).usage.enough);
    assert!(matches!(bench.put_back(&undo.unwrap()), Outcome::Done { .. }));
    let (mut happened, mut left) = (0, 0);
    for moment in 0..MOMENTS {
        kill_after(bench.home.path(), whole * moment / MOMENTS);
        let undo = std::fs::read(bench.home.path().join("undo")).unwrap();
        let undo: StorageUndo = serde_json::from_slice(&undo).unwrap();
        let files = tree(bench.home.path());
        left += usize::from(files.keys().any(|path| path.to_string_lossy().contains(OURS)));
        match bench.reconcile(Some(&undo)) {
            Reconciled::Done => {
                happened += 1;
                for _ in 0..2 {
                    let back = bench.put_back(&undo);
                    assert!(matches!(back, Outcome::Done { .. }), "{moment}: {back:?}");
                }
            }
            Reconciled::NotDone => {}
            Reconciled::Unknown => panic!("{moment}"),
        }
        assert!(tree(&bench.data()) == before, "{moment}: not as it was");
        assert!(tree(&bench.trash()).is_empty(), "{moment}");
    }
    eprintln!("{happened} of {MOMENTS} had begun; {left} left a file behind; a reclaim takes {whole:?}");
}

/// Lets another process reclaim, and kills it that long after it was ready.
fn kill_after(home: &Path, time: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["capability::storage::tests::kills::reclaims_until_it_is_killed", "--exact", "--nocapture"])
        .env(HOME, home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "it never was ready");
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn reclaims_until_it_is_killed() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let home = PathBuf::from(home);
    let hand = hand(&home, BOTH);
    let prepared = hand.prepare(StorageVerb::Reclaim, &logs(), soon()).unwrap();
    std::fs::write(home.join("undo"), serde_json::to_vec(prepared.undo().unwrap()).unwrap()).unwrap();
    println!("ready");
    let _ = hand.perform(prepared, soon());
    std::thread::sleep(Duration::from_secs(10));
}
