//! Files and folders that are not what they were, and somebody who exchanges them while they are used.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::capability::folder::waiting_name;
use crate::capability::left_out::left_out;

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let run = Command::new(program).args(arguments).arg(path).output();
    run.is_ok_and(|output| output.status.success())
}

#[test]
fn a_link_is_replaced_and_never_followed() {
    let bench = Bench::new();
    write(&bench.outside(), WRONG, 0o600);
    symlink("../outside/a.conf", bench.file()).unwrap();
    assert_eq!(bench.status().state, ConfigState::Replaced);
    let (undo, outcome) = bench.restore();
    assert!(done(&outcome), "{outcome:?}");
    assert!(std::fs::symlink_metadata(bench.file()).unwrap().is_file());
    assert!(matches!(bench.put_back(&undo.unwrap()), Outcome::Done { .. }));
    assert_eq!(std::fs::read_link(bench.file()).unwrap(), Path::new("../outside/a.conf"));
    assert_eq!((read(&bench.outside()).as_str(), names(bench.outside().parent().unwrap()).len()), (WRONG, 1));
    assert_eq!(std::fs::metadata(bench.outside()).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_folder_that_is_a_link_leads_nowhere() {
    let mut bench = Bench::new();
    let (etc, outside) = (bench.home.path().join("etc"), bench.home.path().join("outside"));
    write(&bench.outside(), WRONG, 0o644);
    std::fs::remove_dir(&etc).unwrap();
    symlink(&outside, &etc).unwrap();
    let error = bench.prepare().unwrap_err();
    assert!(error.message.contains("links are not followed"), "{error}");
    assert!(error.message.contains(&*outside.to_string_lossy()), "it says where that leads: {error}");
    assert!(bench.hand().touch(&site()).is_err());
    // Further up, too.
    bench.config.path = etc.join("conf.d/a.conf");
    std::fs::create_dir(outside.join("conf.d")).unwrap();
    assert!(bench.prepare().unwrap_err().message.contains("links are not followed"));
    bench.config.path = bench.home.path().join("none/a.conf");
    assert!(bench.prepare().unwrap_err().message.contains("is not there"));
    assert_eq!(read(&bench.outside()), WRONG);
}

#[test]
fn what_could_not_be_put_back_is_refused() {
    let bench = Bench::new();
    let refused = |words: &str, state| {
        let error = bench.prepare().map(|_| ()).unwrap_err();
        assert!(error.code == ErrorCode::Failed && error.message.contains(words), "{error}");
        assert_eq!(bench.status().state, state);
    };
    std::fs::create_dir(bench.file()).unwrap();
    refused("a folder", ConfigState::Replaced);
    std::fs::remove_dir(bench.file()).unwrap();
    // Opening it for reading would wait for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.file(), rustix::fs::Mode::RUSR).unwrap();
    refused("a pipe", ConfigState::Replaced);
    std::fs::remove_file(bench.file()).unwrap();
    write(bench.file(), &"x".repeat(usize::try_from(LARGEST).unwrap() + 1), 0o644);
    refused("larger than", ConfigState::Differs);
    write(bench.file(), &"x".repeat(usize::try_from(LARGEST).unwrap()), 0o644);
    assert!(done(&bench.restore().1));
}

#[test]
fn a_mount_over_the_file_is_not_entered() {
    let bench = Bench::new();
    write(&bench.outside(), WRONG, 0o644);
    write(bench.file(), WRONG, 0o644);
    let over = format!("mount --bind {} {}", bench.outside().display(), bench.file().display());
    if !run("/bin/sh", &["-c", &over], Path::new("")) {
        return left_out("mounting a file over another one (CAP_SYS_ADMIN)");
    }
    let (status, prepared) = (bench.hand().status(&site(), soon()), bench.prepare().map(|_| ()));
    assert!(run("umount", &[], bench.file()));
    assert_eq!(status.unwrap().state, ConfigState::Replaced);
    assert!(prepared.unwrap_err().message.contains("a mount point"));
    assert_eq!(read(&bench.outside()), WRONG);
    assert!(done(&bench.restore().1));
}

#[test]
fn an_immutable_file_stays_as_it_was() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o600);
    if !run("chattr", &["+i"], bench.file()) {
        return left_out("making a file immutable (CAP_LINUX_IMMUTABLE, and a file system that can)");
    }
    let (_, outcome) = bench.restore();
    assert!(run("chattr", &["-i"], bench.file()));
    let (code, message) = code(outcome);
    assert!(code == ErrorCode::Failed && message.contains("chattr -i") && message.contains("as it was"), "{message}");
    assert_eq!((read(bench.file()).as_str(), bench.names()), (WRONG, vec!["a.conf".to_owned()]));
    assert_eq!(std::fs::metadata(bench.file()).unwrap().mode() & 0o777, 0o600);
    // The folder, too; and its twin works.
    assert!(run("chattr", &["+i"], bench.file().parent().unwrap()));
    let (_, outcome) = bench.restore();
    assert!(run("chattr", &["-i"], bench.file().parent().unwrap()));
    assert!(!done(&outcome) && read(bench.file()) == WRONG);
    assert!(done(&bench.restore().1));
}

#[test]
fn what_lies_in_the_way_is_removed_only_if_it_is_ours() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o644);
    let waiting = bench.file().with_file_name(waiting_name(bench.file().file_name().unwrap()));
    let (half, _) = RIGHT.split_at(5);
    for ours in [half, RIGHT, WRONG, ""] {
        write(bench.file(), WRONG, 0o644);
        write(&waiting, ours, 0o600);
        assert!(done(&bench.restore().1), "{ours:?}");
        assert_eq!(bench.names(), ["a.conf"]);
    }
    write(bench.file(), WRONG, 0o644);
    write(&waiting, "somebody's edit", 0o600);
    let (code, message) = code(bench.restore().1);
    assert!(code == ErrorCode::Failed && message.contains("nothing was changed"), "{message}");
    assert_eq!((read(&waiting).as_str(), read(bench.file()).as_str()), ("somebody's edit", WRONG));
    std::fs::remove_file(&waiting).unwrap();
    symlink(bench.outside(), &waiting).unwrap();
    assert!(!done(&bench.restore().1));
    assert!(!bench.outside().exists());
}

/// An edit that lands in the very moment of a restore stands afterwards, whatever the restore says.
#[test]
fn an_edit_in_the_same_moment_is_never_lost() {
    let bench = Bench::new();
    for round in 0_u32..200 {
        write(bench.file(), WRONG, 0o644);
        let prepared = bench.prepare().unwrap();
        let edit = bench.file().with_file_name("edit");
        write(&edit, &format!("edit {round}"), 0o644);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(u64::from(round) * 10));
                std::fs::rename(&edit, bench.file()).unwrap();
            });
            let _ = bench.hand().perform(prepared, soon());
        });
        assert_eq!(read(bench.file()), format!("edit {round}"));
        assert_eq!(bench.names(), ["a.conf"]);
    }
}

/// Somebody who may write the folder exchanges it, and the file in it, for links that lead outside.
#[test]
fn nothing_outside_is_ever_written() {
    let bench = Bench::new();
    let (etc, real, outside) =
        (bench.home.path().join("etc"), bench.home.path().join("real"), bench.home.path().join("outside"));
    write(&bench.outside(), WRONG, 0o600);
    let marks = || {
        let seen = std::fs::metadata(bench.outside()).unwrap();
        (
            names(&outside),
            read(&bench.outside()),
            seen.mode(),
            seen.uid(),
            seen.ino(),
            seen.mtime_nsec(),
            seen.ctime_nsec(),
        )
    };
    let before = marks();
    let over = AtomicBool::new(false);
    let mut restored = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = etc.join("a.conf");
            let (link, fresh) = (bench.home.path().join("link"), bench.home.path().join("fresh"));
            while !over.load(Ordering::Relaxed) {
                // Each of these can fail because a restore was faster; the next round comes.
                // Written elsewhere: this one must not follow its own links.
                write(&fresh, WRONG, 0o644);
                let _ = std::fs::rename(&fresh, &file);
                std::thread::sleep(Duration::from_micros(200));
                let _ = symlink(bench.outside(), &link).and_then(|()| std::fs::rename(&link, &file));
                std::thread::sleep(Duration::from_micros(200));
                let _ = std::fs::remove_file(&file);
                if std::fs::rename(&etc, &real).is_ok() {
                    symlink(&outside, &etc).unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                    std::fs::remove_file(&etc).unwrap();
                    std::fs::rename(&real, &etc).unwrap();
                }
            }
        });
        // On a busy machine the two may miss each other for long.
        let (mut rounds, begun) = (0, std::time::Instant::now());
        while rounds < 500 || (restored == 0 && begun.elapsed() < Duration::from_secs(30)) {
            rounds += 1;
            if let Ok(prepared) = bench.prepare() {
                let undo = prepared.undo().cloned();
                restored += u32::from(done(&bench.hand().perform(prepared, soon())));
                let _ = undo.map(|undo| bench.put_back(&undo));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(before, marks());
    assert!(restored > 0, "the race was never run");
}
