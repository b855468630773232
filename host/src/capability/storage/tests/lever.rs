//! Whoever owns the folder pulls the levers that a hand has: its bounds, and its good manners about one bad file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

const TRASH: &str = "{ trash = '.', match = '*.log', older_than = '1d' }";

#[test]
fn a_flood_of_tiny_old_files_does_not_hide_the_large_ones() {
    let Some(bench) = Bench::new("size=128m,nr_inodes=40000", TRASH) else { return };
    // More than a plan takes, and all of them older.
    for count in 0..12_000 {
        let path = bench.data().join(format!("{count}.log"));
        std::fs::write(&path, "x").unwrap();
        age(&path, 100);
    }
    for count in 0..3 {
        bench.file(&format!("z/large{count}.log"), &noise(4_000_000), 2);
    }
    bench.fill(24_000_000);
    let prepared = bench.prepare(StorageVerb::Reclaim);
    let planned = &prepared.steps[0].files;
    assert!(planned.len() <= 10_000, "the plan stays bounded: {}", planned.len());
    let done = done(bench.hand().perform(prepared, soon()));
    assert!(done.usage.enough && done.files == 3, "{done:?}");
    assert!(bench.data().join("0.log").exists() && !bench.data().join("z/large0.log").exists());
}

#[test]
fn among_files_that_matter_the_oldest_go_first() {
    let Some(bench) = Bench::new("size=16m", TRASH) else { return };
    for (name, days) in [("new", 2), ("old", 9), ("middle", 5)] {
        bench.file(&format!("{name}.log"), &noise(1_000_000), days);
    }
    bench.fill(3_200_000);
    let done = done(bench.act(StorageVerb::Reclaim).1);
    assert!(done.usage.enough && done.files == 1, "{done:?}");
    assert!(!bench.data().join("old.log").exists() && bench.data().join("new.log").exists());
}

#[test]
fn a_crowd_of_folders_does_not_keep_its_neighbours_waiting() {
    let Some(bench) = Bench::new("size=64m,nr_inodes=100000", TRASH) else { return };
    // Deep and wide, and before the neighbour in every order.
    for one in 0..60 {
        for two in 0..60 {
            std::fs::create_dir_all(bench.data().join(format!("a/{one}/{two}/{}", "d".repeat(200)))).unwrap();
        }
    }
    bench.file("z/found.log", &noise(12_000_000), 2);
    bench.fill(6_000_000);
    let done = done(bench.act(StorageVerb::Reclaim).1);
    assert!(done.usage.enough && done.files == 1, "{done:?}");
}

/// What is no file to take, in every shape, each with an old name of its own.
fn obstacles(bench: &Bench) {
    let at = |name: &str| bench.data().join(name);
    symlink("/etc/passwd", at("a-link.log")).unwrap();
    symlink("nowhere", at("b-dangling.log")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("c-pipe.log"), rustix::fs::Mode::RUSR).unwrap();
    drop(UnixListener::bind(at("d-socket.log")).unwrap());
    let name = bench.data().join(OsStr::from_bytes(b"e-\xff\xfe.log"));
    std::fs::write(&name, noise(100_000)).unwrap();
    age(&name, 9);
    // What the step would not take by its name is not named either.
    symlink("/etc/passwd", at("other")).unwrap();
}

#[test]
fn what_is_no_file_is_named_and_the_others_are_taken() {
    for step in ["compress", "trash", "purge"] {
        let steps = format!("{{ {step} = '.', match = '*.log', older_than = '1d' }}");
        let Some(bench) = Bench::new("size=4m", &steps) else { return };
        obstacles(&bench);
        // After them in every order.
        bench.file("z/last.log", &log(700_000), 2);
        bench.fill(800_000);
        let verb = if step == "purge" { StorageVerb::Purge } else { StorageVerb::Reclaim };
        let done = done(bench.act(verb).1);
        assert!(done.files == 1 && done.usage.enough, "{step}: {done:?}");
        for (name, why) in [
            ("a-link.log", "is a link"),
            ("b-dangling.log", "is a link"),
            ("c-pipe.log", "is a pipe"),
            ("d-socket.log", "is a socket"),
            (".log", "not UTF-8"),
        ] {
            let named = done.left.iter().any(|left| left.contains(name) && left.contains(why));
            assert!(named, "{step}: {name}: {:?}", done.left);
        }
        assert_eq!(done.left.len(), 5, "{:?}", done.left);
        assert!(bench.data().join("c-pipe.log").exists() && bench.data().join("a-link.log").is_symlink());
    }
}

#[test]
fn what_turns_into_an_obstacle_is_named_and_the_others_are_taken() {
    for step in ["compress", "trash", "purge"] {
        let steps = format!("{{ {step} = '.', match = '*.log', older_than = '1d' }}");
        let Some(bench) = Bench::new("size=8m", &steps) else { return };
        let at = |name: &str| bench.data().join(name);
        for name in ["link", "pipe", "gone", "folder", "mounted", "in/folder"] {
            bench.file(&format!("{name}.log"), &log(20_000), 9);
        }
        bench.file("z/last.log", &log(900_000), 2);
        bench.file("over", b"something else", 0);
        bench.fill(1_300_000);
        let prepared = bench.prepare(if step == "purge" { StorageVerb::Purge } else { StorageVerb::Reclaim });
        for name in ["link", "pipe", "gone", "folder"] {
            std::fs::remove_file(at(&format!("{name}.log"))).unwrap();
        }
        symlink("/etc/passwd", at("link.log")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.log"), rustix::fs::Mode::RUSR).unwrap();
        std::fs::create_dir(at("folder.log")).unwrap();
        std::fs::rename(at("in"), at("moved")).unwrap();
        symlink("moved", at("in")).unwrap();
        let over = Mounted::over(&at("mounted.log"), &at("over"));
        let done = done(bench.hand().perform(prepared, soon()));
        drop(over);
        assert!(done.files == 1 && done.usage.enough, "{step}: {done:?}");
        assert_eq!(done.left.len(), 6, "{step}: five are named, and one counted: {:?}", done.left);
        assert!(done.left.iter().any(|left| left.contains("link.log`: was changed")), "{step}: {:?}", done.left);
        assert!(at("moved/folder.log").exists() && at("mounted.log").exists() && at("pipe.log").exists(), "{step}");
        let shown = tree(bench.home.path());
        assert!(!shown.keys().any(|path| path.to_string_lossy().contains(crate::capability::folder::OURS)), "{step}");
    }
}

/// A file that something is mounted over.
struct Mounted(PathBuf);

impl Mounted {
    fn over(file: &Path, with: &Path) -> Self {
        let status = Command::new("mount").arg("--bind").args([with, file]).status().unwrap();
        assert!(status.success(), "who can mount a file system can mount a file");
        Self(file.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
