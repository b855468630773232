//! The trail against the world: killed processes, a second writer, a disk that is really full.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use guardian::audit::{AuditError, AuditOptions, Body, Filter, IntentDraft, Reader, Trail};
use guardian::model::{
    Action, Actor, EffectClass, Outcome, Reply, RunId, RunState, ServiceVerb, SystemClock, Timestamp,
};

fn options(var: &Path) -> AuditOptions {
    let mut options = AuditOptions::at(var);
    options.segment_bytes = 256 * 1024;
    options.reserve_bytes = 64 * 1024;
    // Long enough for a loaded machine to let go of what a killed process held, short enough to wait for in a test.
    options.lock_wait = Duration::from_millis(500);
    options
}

fn open(var: &Path) -> Result<Trail, AuditError> {
    Trail::open(&options(var), Actor { uid: 0, login_uid: None }, Arc::new(SystemClock::default()))
}

fn create(var: &Path) -> Trail {
    Trail::create(&options(var), Actor { uid: 0, login_uid: None }, Arc::new(SystemClock::default())).unwrap()
}

fn run() -> RunId {
    RunId::new(Timestamp::from_millis(1), 1)
}

fn effect(key: &str) -> IntentDraft {
    IntentDraft {
        action: Action::Service { verb: ServiceVerb::Restart, name: "web".to_owned() },
        playbook: "guardian/service_crashed".parse().unwrap(),
        class: EffectClass::Transient,
        policies: vec!["web-restart".to_owned()],
        key: key.to_owned(),
        undo: None,
        undoes: None,
    }
}

const DONE: Outcome = Outcome::Done { reply: Reply::Done };

/// This test binary again, as another process that does what [`as_child`] reads from the environment.
fn child(var: &Path, part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["audit::as_child", "--exact", "--nocapture", "--test-threads=1"])
        .env("AUDIT_CHILD", part)
        .env("AUDIT_CHILD_VAR", var)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn wait_for(child: &mut Child, line: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|read| read.unwrap().ends_with(line)), "the child never said `{line}`");
}

/// The other process. As a test by itself it does nothing.
#[test]
fn as_child() {
    let Ok(part) = std::env::var("AUDIT_CHILD") else { return };
    let var = std::env::var("AUDIT_CHILD_VAR").unwrap();
    let var = Path::new(&var);
    match part.split_once(' ').unwrap_or((&part, "")) {
        ("hold", _) => {
            let _trail = open(var).unwrap();
            println!("held");
            // Until the parent lets go of its end.
            let _ = std::io::read_to_string(std::io::stdin());
        }
        ("work", step) => work(var, step.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    unreachable!()
}

/// Intents, effects (a marker file, durable) and outcomes, for ever; kills itself at `step` of the third round, or is
/// killed by its parent at any moment if `step` is 99.
fn work(var: &Path, step: u32) {
    let trail = open(var).unwrap();
    println!("working");
    std::io::stdout().flush().unwrap();
    let at = |round: u32, now: u32| {
        if round == 2 && now == step {
            die();
        }
    };
    for round in 0_u32.. {
        at(round, 0);
        let intent = trail.begin(&run(), round + 1, effect("k")).unwrap();
        at(round, 1);
        let marker = std::fs::File::create(var.join("markers").join(intent.seq().to_string())).unwrap();
        at(round, 2);
        marker.sync_all().unwrap();
        at(round, 3);
        trail.finish(intent.seq(), DONE, 1).unwrap();
        at(round, 4);
        if round % 2 == 0 {
            trail.flush().unwrap();
        }
        at(round, 5);
        trail.publish().unwrap();
        at(round, 6);
    }
}

#[test]
fn killed_at_any_step_there_is_never_an_effect_without_a_durable_intent() {
    let home = tempfile::tempdir().unwrap();
    let var = home.path();
    create(var).close().unwrap();
    std::fs::create_dir(var.join("markers")).unwrap();
    let mut kills = 0_u64;
    let mut random = 0x9e37_79b9_u64;
    for round in 0..210_u64 {
        // Two of three times at a chosen step, else at a moment that nobody chose.
        let directed = round % 3 != 2;
        let step = if directed { round % 7 } else { 99 };
        let mut child = child(var, &format!("work {step}"));
        wait_for(&mut child, "working");
        if !directed {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((random >> 40) % 8_000));
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "round {round}: {status:?}");
        kills += 1;
    }
    assert!(kills >= 200);
    // The last crash is mended like every one before it.
    open(var).unwrap().close().unwrap();
    let reader = Reader::open(var).unwrap();
    reader.verify().unwrap();
    let mut intents = BTreeSet::new();
    let (mut ended, mut doubted) = (BTreeSet::new(), BTreeSet::new());
    for record in reader.list(&Filter::default()).unwrap() {
        match record.body {
            Body::Intent { .. } => drop(intents.insert(record.seq)),
            Body::Outcome { of, .. } => drop(ended.insert(of)),
            Body::Recovery { in_doubt, .. } => doubted.extend(in_doubt),
            _ => {}
        }
    }
    let markers: BTreeSet<u64> = std::fs::read_dir(var.join("markers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    assert!(markers.len() > 200, "the children did nothing: {}", markers.len());
    let without: Vec<_> = markers.difference(&intents).collect();
    assert!(without.is_empty(), "effects without an intent: {without:?}");
    // And no intent is forgotten: it has an outcome or was found to be in doubt.
    let open: BTreeSet<u64> = intents.difference(&ended).copied().collect();
    assert_eq!(open, doubted);
    assert!(!doubted.is_empty());
}

#[test]
fn a_second_writer_waits_then_names_the_holder_and_readers_do_not_care() {
    let home = tempfile::tempdir().unwrap();
    create(home.path()).close().unwrap();
    let mut holder = child(home.path(), "hold");
    wait_for(&mut holder, "held");
    let begun = std::time::Instant::now();
    let error = open(home.path()).err().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100), "it did not wait");
    assert!(matches!(error, AuditError::Held { pid, .. } if pid == holder.id()), "{error}");
    assert!(error.to_string().contains(&holder.id().to_string()));
    let reader = Reader::open(home.path()).unwrap();
    reader.verify().unwrap();
    assert!(!reader.list(&Filter::default()).unwrap().is_empty());
    // One that waits long enough gets it.
    let waiting = std::thread::spawn({
        let mut patient = options(home.path());
        patient.lock_wait = Duration::from_secs(20);
        move || Trail::open(&patient, Actor { uid: 0, login_uid: None }, Arc::new(SystemClock::default())).map(drop)
    });
    drop(holder.stdin.take());
    waiting.join().unwrap().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_lock_file_that_somebody_removes_lets_no_second_writer_in() {
    let home = tempfile::tempdir().unwrap();
    let trail = create(home.path());
    std::fs::remove_file(home.path().join("audit/lock")).unwrap();
    let second =
        Trail::open(&options(home.path()), Actor { uid: 0, login_uid: None }, Arc::new(SystemClock::default()));
    assert!(matches!(second.err(), Some(AuditError::Held { .. })));
    trail.close().unwrap();
    Reader::open(home.path()).unwrap().verify().unwrap();
}

#[test]
fn readers_work_beside_a_writer() {
    let home = tempfile::tempdir().unwrap();
    let trail = create(home.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let reader = Reader::open(home.path()).unwrap();
            let (mut seen, mut filter) = (0, Filter::default());
            while !stop.load(std::sync::atomic::Ordering::SeqCst) || seen == 0 {
                reader.verify().unwrap();
                filter = reader
                    .follow(&filter, &mut |shown| {
                        assert_eq!(shown.record.seq, seen);
                        seen += 1;
                        Ok(())
                    })
                    .unwrap();
            }
            seen
        });
        for step in 0..1_500 {
            let intent = trail.begin(&run(), step, effect("k")).unwrap();
            trail.finish(intent.seq(), DONE, 1).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(reading.join().unwrap() > 0);
    });
    trail.close().unwrap();
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "guardian-test"])
            .arg(dir.path())
            .stderr(Stdio::inherit())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir))
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.path().join("filler")).unwrap();
        while filler.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_new_runs_then_effects_and_goes_on_by_itself() {
    let Some(disk) = SmallDisk::mount(900) else {
        return guardian_tests::left_out("mounting a small file system (CAP_SYS_ADMIN)");
    };
    let var = disk.0.path().join("var");
    let trail = create(&var);
    disk.fill();
    trail.admits_new_runs().unwrap();
    let mut step = 0;
    let mut intent = |trail: &Trail| {
        step += 1;
        trail.begin(&run(), step, effect(&"k".repeat(1000)))
    };
    // Runs that run go on, on the segments that are there, until new runs are refused.
    let last = loop {
        let begun = intent(&trail).unwrap();
        if trail.admits_new_runs().is_err() {
            break begun.seq();
        }
        trail.finish(begun.seq(), DONE, 1).unwrap();
    };
    let refused = trail.admits_new_runs().unwrap_err();
    assert!(matches!(refused, AuditError::NoSpace { .. }), "{refused}");
    assert!(refused.to_string().contains("new runs"), "{refused}");
    // Below it, effects still pass, until they are refused too.
    let mut more = 0;
    let error = loop {
        match intent(&trail) {
            Ok(begun) => drop(trail.finish(begun.seq(), DONE, 1).unwrap()),
            Err(error) => break error,
        }
        more += 1;
    };
    assert!(more > 10, "the reserve carried {more} effects");
    assert!(matches!(error, AuditError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("effects"), "{error}");
    // The run that is under way can still end, durably.
    trail.finish(last, DONE, 1).unwrap();
    let end =
        Body::RunEnd { state: RunState::NotHealed, reason: "no room".to_owned(), report: None, limit: None, millis: 1 };
    trail.append_durable(Some(&run()), end).unwrap();
    assert_eq!(trail.status().poisoned, None);
    // Space returns: no restart, and the trail says so.
    std::fs::remove_file(disk.0.path().join("filler")).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    trail.admits_new_runs().unwrap();
    let _ = intent(&trail).unwrap();
    trail.close().unwrap();
    let reader = Reader::open(&var).unwrap();
    reader.verify().unwrap();
    let resumed = Filter { kind: Some("resumed".to_owned()), ..Filter::default() };
    assert_eq!(reader.list(&resumed).unwrap().len(), 1);
}

#[test]
fn the_bytes_of_a_record_are_as_promised() {
    let text = include_str!("golden/audit_record.json");
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let record = guardian::audit::Record::decode(line.as_bytes()).unwrap();
        assert!(!matches!(record.body, Body::Other { .. }), "{line}");
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
        kinds.insert(record.body.kind().to_owned());
    }
    assert_eq!(kinds.len(), 18, "one line for every type: {kinds:?}");
    // What the trail writes has the same shape: fields in the same order, nothing between.
    let home = tempfile::tempdir().unwrap();
    let trail = create(home.path());
    let seq = trail.begin(&run(), 1, effect("k")).unwrap().seq();
    trail.close().unwrap();
    let shown = Reader::open(home.path()).unwrap().show(seq).unwrap();
    assert_eq!(serde_json::to_vec(&shown.record).unwrap(), shown.bytes);
}
