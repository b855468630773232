//! A Guardian that is killed in the middle of a restore: the file is the old one or the new one, and comes back.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const HOME: &str = "GUARDIAN_TEST_RESTORE_IN";
/// How many moments of a restore are tried.
const MOMENTS: u32 = 30;

#[test]
fn a_restore_that_is_killed_can_be_put_back() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o751);
    let begun = Instant::now();
    assert!(done(&bench.restore().1));
    let whole = begun.elapsed();
    let (mut happened, mut left) = (0, 0);
    for moment in 0..MOMENTS {
        write(bench.file(), WRONG, 0o751);
        kill_after(bench.home.path(), whole * moment * moment / MOMENTS / MOMENTS);
        let undo: ConfigUndo = serde_json::from_slice(&std::fs::read(bench.home.path().join("undo")).unwrap()).unwrap();
        left += usize::from(bench.names().len() > 1);
        match bench.reconcile(Some(&undo)) {
            Reconciled::Done => {
                happened += 1;
                assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }), "{moment}");
                assert_eq!(bench.names(), ["a.conf"]);
            }
            Reconciled::NotDone => {}
            Reconciled::Unknown => panic!("{moment}: {:?}", bench.status()),
        }
        assert_eq!(read(bench.file()), WRONG, "{moment}");
        assert_eq!(std::fs::metadata(bench.file()).unwrap().mode() & 0o7777, 0o751);
    }
    // What the killed ones left is gone with the next act.
    assert!(done(&bench.restore().1));
    assert_eq!(bench.names(), ["a.conf"]);
    eprintln!("{happened} of {MOMENTS} had happened; {left} left a file behind; a restore takes {whole:?}");
}

/// Lets another process restore, and kills it that long after it was ready.
fn kill_after(home: &Path, time: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["capability::config::tests::kills::restores_until_it_is_killed", "--exact", "--nocapture"])
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
fn restores_until_it_is_killed() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let home = PathBuf::from(home);
    let hand = hand(&config(&home));
    let prepared = hand.prepare(ConfigVerb::Restore, &site(), soon()).unwrap();
    std::fs::write(home.join("undo"), serde_json::to_vec(prepared.undo().unwrap()).unwrap()).unwrap();
    println!("ready");
    let _ = hand.perform(prepared, soon());
    std::thread::sleep(Duration::from_secs(10));
}
