//! A real small file system runs full under the home.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use guardian::audit::{AuditOptions, Body, RefusingRoom, Trail};
use guardian::model::{Actor, SystemClock};
use guardian_tests::{House, text};

use super::heal::kill;

/// A file system of a few MiB in memory; it goes away with this value.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", &text(at)]).output();
        mounted.ok().filter(|output| output.status.success()).map(|_| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the keeper may still hold its folder open for a moment.
        let _ = Command::new("umount").args(["-l", &text(&self.0)]).output();
    }
}

/// Writes records until no new run is admitted, as many runs would.
fn use_up(var: &Path) {
    let options = AuditOptions { segment_bytes: 4 << 20, reserve_bytes: 1 << 20, ..AuditOptions::at(var) };
    let actor = Actor { uid: 0, login_uid: None };
    let trail = Trail::open(&options, actor, Arc::new(SystemClock::default())).expect("the trail");
    for _ in 0..1_000 {
        if trail.admits_new_runs().is_err() {
            break;
        }
        let body = Body::Refused { playbook: None, room: RefusingRoom::Trust, reason: "x".repeat(60_000), count: 1 };
        if trail.append_durable(None, body).is_err() {
            break;
        }
    }
    assert!(trail.admits_new_runs().is_err(), "the trail never ran full");
}

#[test]
fn a_full_file_system_stops_new_runs_and_space_brings_them_back() {
    let house = House::new();
    let var = house.root().join("var");
    let aside = house.root().join("aside");
    std::fs::rename(var.join("audit"), &aside).expect("the large default trail is put away");
    let kept = house.root().join("kept");
    std::fs::rename(&var, &kept).expect("moved");
    std::fs::create_dir(&var).expect("a mount point");
    let Some(small) = Small::mount(&var) else {
        return guardian_tests::left_out("mounting a small file system (CAP_SYS_ADMIN)");
    };
    let copied = Command::new("cp").args(["-a", &format!("{}/.", text(&kept)), &text(&var)]).status().expect("cp");
    assert!(copied.success());
    // A trail of the configured, small size, begun as after a restored backup.
    house.ok(&["audit", "recover", "--reason", "a small file system"]);
    house.ok(&["playbook", "add", &text(&house.root().join("service_crashed-1.wasm"))]);
    assert_eq!(house.heal(&[]).code, 0);
    let pid = kill(&house);
    let filler = var.join("filler");
    let mut size = 0_usize;
    let mut file = std::fs::File::create(&filler).expect("a filler");
    while std::io::Write::write_all(&mut file, &[7; 4_096]).is_ok() {
        size += 4_096;
    }
    assert!(size > 0);
    // The trail has room of its own: records go on until that is used up, and then runs stop with one clear line.
    use_up(&var);
    let last = house.heal(&["--wait", "1s"]);
    assert_eq!(last.code, 5, "{last:?}");
    assert!(
        last.err.lines().last().is_some_and(|line| line.starts_with("guardian: ") && line.contains("space")),
        "{last:?}"
    );
    house.ok(&["audit", "verify"]);
    drop(file);
    std::fs::remove_file(&filler).expect("space");
    let healed = house.heal(&[]);
    assert_eq!(healed.code, 0, "{healed:?}");
    assert_ne!(house.web(), Some(pid));
    house.ok(&["audit", "verify"]);
    if let Some(pid) = house.web().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    drop(small);
}
