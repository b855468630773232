//! Whoever owns the folder works against the hand: links, renames, mounts, changes at the last moment.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::capability::folder::OURS;

const TRASH: &str = "{ trash = 'archive', match = '*', older_than = '1d' }";
const PURGE: &str = "{ purge = 'archive', match = '*', older_than = '1d' }";

/// A folder that is nobody's business, with old files in it.
fn outside(bench: &Bench) -> (PathBuf, Tree) {
    let outside = bench.home.path().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    for name in ["1.bin", "2.bin", "a.log.1"] {
        std::fs::write(outside.join(name), log(50_000)).unwrap();
        age(&outside.join(name), 9);
    }
    let before = tree(&outside);
    (outside, before)
}

#[test]
fn links_lead_nowhere() {
    let steps = format!("{BOTH}, {PURGE}, {{ purge = 'gone', match = '*', older_than = '1d' }}");
    let Some(bench) = Bench::new("size=4m", &steps) else { return };
    let (outside, before) = outside(&bench);
    std::fs::create_dir_all(bench.data().join("app/sub")).unwrap();
    symlink(&outside, bench.data().join("archive")).unwrap();
    symlink(&outside, bench.data().join("app/sub/linked")).unwrap();
    symlink(outside.join("a.log.1"), bench.data().join("app/a.log.1")).unwrap();
    bench.file("app/b.log.1", &log(200_000), 9);
    bench.fill(400_000);
    let reclaimed = done(bench.act(StorageVerb::Reclaim).1);
    assert_eq!((reclaimed.files, reclaimed.steps), (1, vec!["compress app/*.log.*".to_owned()]));
    assert_eq!(done(bench.act(StorageVerb::Purge).1).files, 0);
    assert!(tree(&outside) == before);
    assert!(bench.data().join("app/a.log.1").is_symlink());
    let error = bench.hand().touch(&logs()).unwrap_err().to_string();
    assert!(error.contains("links are not followed"), "{error}");
}

#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let Some(bench) = Bench::new("size=8m", &format!("{TRASH}, {PURGE}")) else { return };
    let (outside, before) = outside(&bench);
    let archive = bench.data().join("archive");
    let aside = bench.data().join("aside");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let _ = std::fs::rename(&archive, &aside);
                let _ = symlink(&outside, &archive);
                let _ = std::fs::remove_file(&archive);
                let _ = std::fs::rename(&aside, &archive);
            }
        });
        let mut taken = 0;
        for round in 0..200 {
            let hand = bench.hand();
            for name in ["1.bin", "2.bin"] {
                let place = if archive.is_symlink() { &aside } else { &archive };
                let _ = std::fs::create_dir_all(aside.parent().unwrap());
                let _ = std::fs::write(bench.data().join("new"), log(50_000));
                age(&bench.data().join("new"), 9);
                let _ = std::fs::create_dir(bench.data().join("aside"));
                // The name of a folder that is a link at this instant must not be written through.
                let _ = rename_into(&bench, place, name);
            }
            if round == 0 {
                bench.fill(400_000);
            }
            let verb = if round % 2 == 0 { StorageVerb::Reclaim } else { StorageVerb::Purge };
            let Ok(prepared) = hand.prepare(verb, &logs(), soon()) else { continue };
            if let Outcome::Done { reply: Reply::Reclaimed(done) } = hand.perform(prepared, soon()) {
                taken += done.files;
            }
        }
        stop.store(true, Ordering::SeqCst);
        eprintln!("{taken} files were taken meanwhile");
    });
    assert!(tree(&outside) == before, "something outside was touched");
}

/// Moves `data/new` into a folder of the data, never through a link.
fn rename_into(bench: &Bench, folder: &Path, name: &str) -> rustix::io::Result<()> {
    let root = Folder::open(&bench.data()).unwrap();
    let folder = root.below(Path::new(folder.file_name().unwrap()))?;
    rustix::fs::renameat(&root, "new", &folder, name)
}

#[test]
fn a_mount_inside_is_not_entered() {
    let Some(bench) = Bench::new("size=4m", &format!("{TRASH}, {PURGE}")) else { return };
    let Some(inside) = Disk::mount(bench.data().join("archive/inside"), "size=2m") else { return };
    for place in [&inside.0, &bench.data().join("archive")] {
        std::fs::write(place.join("a"), noise(100_000)).unwrap();
        age(&place.join("a"), 9);
    }
    bench.fill(100_000);
    assert_eq!(done(bench.act(StorageVerb::Reclaim).1).files, 1);
    assert_eq!(done(bench.act(StorageVerb::Purge).1).files, 0);
    assert!(inside.0.join("a").exists());
}

#[test]
fn what_changed_after_it_was_planned_is_passed_over() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    full(&bench);
    let prepared = bench.prepare(StorageVerb::Reclaim);
    let written = bench.data().join("app/deep/a.log.1");
    std::io::Write::write_all(&mut std::fs::File::options().append(true).open(&written).unwrap(), b"more").unwrap();
    let replaced = bench.data().join("archive/1.bin");
    std::fs::remove_file(&replaced).unwrap();
    bench.file("archive/1.bin", &noise(500_000), 9);
    let linked = bench.data().join("archive/2.bin");
    std::fs::hard_link(&linked, bench.data().join("second-name")).unwrap();
    let done = done(bench.hand().perform(prepared, soon()));
    assert!(done.files > 0, "{done:?}");
    assert!(written.exists() && replaced.exists() && linked.exists());
    let shown = tree(bench.home.path());
    assert!(!shown.keys().any(|path| path.to_string_lossy().contains(OURS)));
}

#[test]
fn a_file_system_that_turns_read_only_loses_nothing() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    let before = full(&bench);
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(bench.data()).status().unwrap();
        assert!(status.success());
    };
    let prepared = bench.prepare(StorageVerb::Reclaim);
    let undo = prepared.undo().unwrap().clone();
    remount("remount,ro");
    let (code, message) = code(bench.hand().perform(prepared, soon()));
    assert_eq!(code, ErrorCode::Failed);
    assert!(message.contains("compress app/*.log.*") && message.contains("reading only"), "{message}");
    assert!(tree(&bench.data()) == before && tree(&bench.trash()).is_empty());
    assert_eq!(bench.reconcile(Some(&undo)), Reconciled::NotDone);
    remount("remount,rw");
    assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }));
    assert!(tree(&bench.data()) == before);
}

#[test]
fn what_is_new_by_now_stays_and_so_does_the_old_one() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    let before = full(&bench);
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let undo = undo.unwrap();
    assert!(done(outcome).usage.enough);
    let name = bench.data().join("archive/1.bin");
    std::fs::write(&name, "somebody's").unwrap();
    let gz = bench.data().join("app/deep/a.log.1.gz");
    std::fs::write(&gz, "somebody's").unwrap();
    let (code, message) = code(bench.put_back(&undo));
    assert_eq!(code, ErrorCode::Failed);
    assert!(message.contains("`archive/1.bin` is something new") && message.contains("a.log.1.gz"), "{message}");
    assert_eq!(std::fs::read(&name).unwrap(), b"somebody's");
    assert_eq!(std::fs::read(&gz).unwrap(), b"somebody's");
    assert_eq!(tree(&bench.trash()).len(), 1, "the old one is in the trash");
    // Everything else is back.
    let now = tree(&bench.data());
    let left: Vec<_> =
        before.iter().filter(|(path, facts)| now.get(*path) != Some(facts)).map(|(path, _)| path).collect();
    assert_eq!(left, [&bench.data().join("app/deep/a.log.1"), &name]);
}

#[test]
fn a_form_that_another_user_made_is_not_given_the_old_owner() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    full(&bench);
    let (undo, _) = bench.act(StorageVerb::Reclaim);
    let gz = bench.data().join("app/deep/a.log.1.gz");
    // As good as the real one, but not made by who could make that one.
    std::os::unix::fs::chown(&gz, Some(1), None).unwrap();
    let (_, message) = code(bench.put_back(&undo.unwrap()));
    assert!(message.contains("was changed since"), "{message}");
    assert!(!bench.data().join("app/deep/a.log.1").exists());
}

#[test]
fn a_trash_on_the_same_file_system_is_refused() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    full(&bench);
    std::fs::create_dir_all(bench.data().join("logs")).unwrap();
    std::fs::create_dir_all(bench.data().join("trash")).unwrap();
    let text = text(bench.home.path(), TRASH).replace("/data'", "/data/logs'").replace("/trash'", "/data/trash'");
    let hand = hand_of(bench.home.path(), &text);
    let error = hand.prepare(StorageVerb::Reclaim, &logs(), soon()).unwrap_err();
    assert!(error.message.contains("same file system"), "{error}");
    assert!(hand.touch(&logs()).unwrap_err().to_string().contains("same file system"));
}
