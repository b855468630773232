//! What the kernel does to a disk that is in trouble: no byte left, no inode left, read-only in the middle, a real ext4.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::capability::folder::OURS;

#[test]
fn with_no_byte_left_the_trash_makes_the_room_that_compressing_needs() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    bench.file("app/a.log.1", &log(1_200_000), 9);
    bench.file("archive/1.bin", &noise(400_000), 9);
    let fill = || {
        bench.fill(0);
        // To the last page: what the estimate left over.
        let mut file = std::fs::File::options().append(true).open(bench.data().join("filler")).unwrap();
        while std::io::Write::write(&mut file, &[7; 4_096]).is_ok() {}
    };
    fill();
    assert_eq!(bench.usage().bytes_free, 0);
    let before = tree(&bench.data());
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let done = done(outcome);
    // 400 KB are not room for a file of 1.2 MB that might not get smaller, so it is left, and said.
    assert!(done.files == 1 && !done.usage.enough, "{done:?}");
    assert_eq!(done.steps, ["trash archive/*", "compress app/*.log.*: no room to write the new form of some files"]);
    assert!(bench.data().join("app/a.log.1").exists());
    assert!(matches!(bench.put_back(&undo.unwrap()), Outcome::Done { .. }));
    assert!(tree(&bench.data()) == before);
    assert_eq!(bench.usage().bytes_free, 0);
    // With a larger one in the archive there is room.
    std::fs::remove_file(bench.data().join("filler")).unwrap();
    bench.file("archive/2.bin", &noise(1_300_000), 8);
    std::fs::remove_file(bench.data().join("archive/1.bin")).unwrap();
    fill();
    let done = super::done(bench.act(StorageVerb::Reclaim).1);
    assert!(done.usage.enough, "{done:?}");
}

#[test]
fn with_no_inode_left_nothing_is_half_made_and_what_can_go_goes() {
    let steps = format!("{BOTH}, {{ purge = 'cache', match = '*', older_than = '1d' }}");
    let Some(bench) = Bench::new("size=4m,nr_inodes=200", &steps) else { return };
    bench.file("app/a.log.1", &log(300_000), 9);
    bench.file("archive/1.bin", &noise(600_000), 9);
    std::fs::create_dir(bench.data().join("cache")).unwrap();
    bench.fill(300_000);
    let mut made = 0;
    while std::fs::write(bench.data().join(format!("cache/{made}")), "").is_ok() {
        age(&bench.data().join(format!("cache/{made}")), 2);
        made += 1;
    }
    assert_eq!(bench.usage().inodes_free, 0);
    let mut before = tree(&bench.data());
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let reclaimed = done(outcome);
    // No inode for a new form; the trash frees one, and then there is.
    assert_eq!(reclaimed.files, 2, "{reclaimed:?}");
    assert!(bench.data().join("app/a.log.1.gz").exists() && !reclaimed.usage.enough);
    // The one inode is enough for the first; the second stays whole in its other form until there is another.
    let undo = undo.unwrap();
    let (_, message) = code(bench.put_back(&undo));
    assert!(message.contains("the disk is full") && message.contains("a.log.1.gz"), "{message}");
    assert!(bench.data().join("archive/1.bin").exists() && bench.data().join("app/a.log.1.gz").exists());
    std::fs::remove_file(bench.data().join("cache/0")).unwrap();
    before.remove(&bench.data().join("cache/0"));
    assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }));
    assert!(tree(&bench.data()) == before);
    let purged = done(bench.act(StorageVerb::Purge).1);
    assert!(purged.usage.inodes_free >= 50, "{purged:?}");
}

#[test]
fn a_file_system_that_turns_read_only_while_files_are_taken_loses_none() {
    let Some(bench) = Bench::new("size=24m", "{ compress = '.', match = '*.log', older_than = '1d' }") else { return };
    let read_only = |how: &str| Command::new("mount").args(["-o", how]).arg(bench.data()).output().unwrap();
    for count in 0..60 {
        bench.file(&format!("{count}.log"), &log(300_000), 9);
    }
    bench.fill(600_000);
    let before = tree(&bench.data());
    let (mut middle, mut whole) = (0, 0);
    for round in 0..12 {
        let prepared = bench.prepare(StorageVerb::Reclaim);
        let undo = prepared.undo().unwrap().clone();
        let (hand, ended) = (bench.hand(), AtomicBool::new(false));
        let outcome = std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let outcome = hand.perform(prepared, soon());
                ended.store(true, Ordering::SeqCst);
                outcome
            });
            std::thread::sleep(Duration::from_millis(round * 4));
            // Refused while a file is open for writing, as the kernel refuses it to anybody; a disk that fails asks nobody.
            while !ended.load(Ordering::SeqCst) && !read_only("remount,ro").status.success() {
                std::hint::spin_loop();
            }
            acting.join().unwrap()
        });
        let _ = read_only("remount,rw");
        let taken = bench.data().join("0.log.gz").exists() || tree(&bench.data()).len() != before.len();
        match outcome {
            Outcome::Failed { error } => {
                assert!(error.message.contains("reading only"), "{error}");
                middle += usize::from(error.message.contains("can be put back"));
            }
            Outcome::Done { .. } => whole += 1,
            other => panic!("{other:?}"),
        }
        let reconciled = bench.reconcile(Some(&undo));
        assert!(!taken || reconciled == Reconciled::Done, "{reconciled:?}");
        assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }), "round {round}");
        assert!(tree(&bench.data()) == before, "round {round}: not as it was");
    }
    assert!(middle > 0, "the disk never turned read-only in the middle; {whole} ended before");
}

/// An ext4 in a file, mounted where the data lies.
fn ext4(bench: &Bench) -> Option<Disk> {
    let image = bench.home.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-m", "5"]).arg(&image).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 makes a file system in a file; install e2fsprogs");
    let at = bench.data();
    let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &at]).status();
    if mounted.is_ok_and(|status| status.success()) {
        return Some(Disk(at));
    }
    left_out("mounting a file system that lies in a file (CAP_SYS_ADMIN and a free loop device)");
    None
}

#[test]
fn on_an_ext4_an_immutable_file_is_left_and_the_rest_is_taken_and_put_back() {
    let steps = "{ compress = 'app', match = '*.log.*', older_than = '1d' }, \
                 { trash = 'archive', match = '*', older_than = '2d' }, { purge = 'cache', match = '*', older_than = '1d' }";
    let Some(bench) = Bench::new("size=4m", steps) else { return };
    let Some(_disk) = ext4(&bench) else { return };
    for (count, days) in [(1, 30), (2, 5), (3, 3)] {
        bench.file(&format!("app/a.log.{count}"), &log(700_000), days);
        bench.file(&format!("archive/{count}.bin"), &noise(1_200_000), days);
        bench.file(&format!("cache/{count}"), &noise(400_000), days);
    }
    // To the end of what others than root may use; what is kept back for root counts as full.
    bench.fill(0);
    let chattr = |how: &str| {
        for file in ["app/a.log.1", "archive/1.bin", "cache/1"] {
            assert!(Command::new("chattr").arg(how).arg(bench.data().join(file)).status().unwrap().success());
        }
    };
    chattr("+i");
    let before = tree(&bench.data());
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let reclaimed = done(outcome);
    let immutable =
        |left: &[String], name: &str| left.iter().any(|left| left.contains(name) && left.contains("lsattr"));
    assert!(reclaimed.files >= 3, "{reclaimed:?}");
    assert!(immutable(&reclaimed.left, "archive/1.bin"), "{reclaimed:?}");
    assert!(immutable(&reclaimed.left, "app/a.log.1"), "{reclaimed:?}");
    assert!(bench.data().join("archive/1.bin").exists() && !bench.data().join("archive/2.bin").exists());
    let purged = done(bench.act(StorageVerb::Purge).1);
    assert!(purged.usage.enough || immutable(&purged.left, "cache/1"), "{purged:?}");
    let names = tree(bench.home.path());
    assert!(!names.keys().any(|path| path.to_string_lossy().contains(OURS)), "{:?}", names.keys());
    assert!(matches!(bench.put_back(&undo.unwrap()), Outcome::Done { .. }));
    let cached = |tree: Tree| -> Tree {
        tree.into_iter().filter(|(path, _)| !path.starts_with(bench.data().join("cache"))).collect()
    };
    assert!(cached(tree(&bench.data())) == cached(before), "not as it was");
    chattr("-i");
}

#[test]
fn a_folder_that_is_swapped_with_a_link_the_whole_time_leads_nowhere() {
    let steps = "{ compress = 'spool', match = '*.log', older_than = '1d' }, \
                 { trash = 'spool', match = '*', older_than = '1d' }, { purge = 'spool', match = '*', older_than = '1d' }";
    let Some(bench) = Bench::new("size=16m", steps) else { return };
    // On the same file system, so that only the way there keeps the hand out.
    let (spool, link, outside) =
        (bench.data().join("logs/spool"), bench.data().join("logs/link"), bench.data().join("outside"));
    for folder in [&spool, &outside] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let names = ["1.log", "2.log", "3.bin", "4.bin"];
    let then = SystemTime::now() - Duration::from_secs(9 * DAY);
    let write = |folder: &Path| {
        for name in names {
            std::fs::write(folder.join(name), log(20_000)).unwrap();
            std::fs::File::open(folder.join(name)).unwrap().set_modified(then).unwrap();
        }
    };
    write(&outside);
    let text = text(bench.home.path(), steps).replace("/data'", "/data/logs'");
    bench.fill(1_000_000);
    let before = tree(&outside);
    // The real folder, whatever name it has at the moment.
    let real = std::fs::File::open(&spool).unwrap();
    let inside = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&real)));
    let (stop, swaps, mut taken) = (AtomicBool::new(false), AtomicUsize::new(0), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, &spool, cwd, &link, flags).unwrap();
                swaps.fetch_add(1, Ordering::SeqCst);
            }
        });
        let hand = hand_of(bench.home.path(), &text);
        for round in 0..300 {
            write(&inside);
            let verb = if round % 2 == 0 { StorageVerb::Reclaim } else { StorageVerb::Purge };
            let prepared = hand.prepare(verb, &logs(), soon()).unwrap();
            match hand.perform(prepared, soon()) {
                Outcome::Done { reply: Reply::Reclaimed(done) } => taken += done.files,
                Outcome::Failed { .. } => {}
                other => panic!("{other:?}"),
            }
            for name in std::fs::read_dir(&inside).unwrap() {
                std::fs::remove_file(inside.join(name.unwrap().file_name())).unwrap();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(taken > 0 && swaps.into_inner() > 300, "{taken} files were taken meanwhile");
    assert!(tree(&outside) == before, "something outside was touched");
}
