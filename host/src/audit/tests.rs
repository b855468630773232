//! The room as a whole, in one process and on real files. What needs other processes is in the workspace's tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod projected;
mod successors;

use super::options::Places;
use super::*;
use crate::model::{Action, Actor, EffectClass, Outcome, Reply, RunId, ServiceVerb, SystemClock, Timestamp};

fn options(var: &Path) -> AuditOptions {
    let mut options = AuditOptions::at(var);
    options.segment_bytes = 256 * 1024;
    options.reserve_bytes = 64 * 1024;
    options.lock_wait = Duration::from_millis(50);
    options
}

fn actor() -> Actor {
    Actor { uid: 0, login_uid: None }
}

fn create(var: &Path) -> Trail {
    Trail::create(&options(var), actor(), Arc::new(SystemClock::default())).unwrap()
}

fn open(var: &Path) -> Result<Trail, AuditError> {
    Trail::open(&options(var), actor(), Arc::new(SystemClock::default()))
}

fn run() -> RunId {
    RunId::new(Timestamp::from_millis(1), 1)
}

fn restart(service: &str) -> IntentDraft {
    IntentDraft {
        action: Action::Service { verb: ServiceVerb::Restart, name: service.to_owned() },
        playbook: "guardian/service_crashed".parse().unwrap(),
        class: EffectClass::Transient,
        policies: vec!["web-restart".to_owned()],
        key: "k".to_owned(),
        undo: None,
        undoes: None,
    }
}

fn done() -> Outcome {
    Outcome::Done { reply: Reply::Done }
}

#[test]
fn what_was_begun_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let trail = create(home.path());
    let intent = trail.begin(&run(), 1, restart("web")).unwrap();
    trail.finish(intent.seq(), done(), 5).unwrap();
    let doubtful = trail.begin(&run(), 2, restart("db")).unwrap().seq();
    trail.close().unwrap();
    let trail = open(home.path()).unwrap();
    let in_doubt: Vec<u64> = trail.in_doubt().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(in_doubt, [doubtful]);
    let playbook = "guardian/service_crashed".parse().unwrap();
    let now = crate::model::Clock::now(&SystemClock::default());
    assert_eq!(trail.state(|state| state.used(&playbook, "service.restart", "service.web", now)).h1, 1);
    trail.close().unwrap();
    let verified = Reader::open(home.path()).unwrap().verify().unwrap();
    assert_eq!((verified.records, verified.signed, verified.unfinished_bytes), (6, 6, 0));
}

/// How many bytes are left in the segment that is written to.
fn left_in_segment(trail: &Trail) -> u64 {
    // A whole segment more is left when the next one is prepared.
    trail.status().left_bytes % (256 * 1024 - super::frame::HEADER_BYTES)
}

#[test]
fn a_segment_whose_rest_is_too_small_for_a_frame_ends_cleanly() {
    for rest in [0, 1, 9, 15, 16, 17] {
        let home = tempfile::tempdir().unwrap();
        let trail = create(home.path());
        let begin = |key: u64| {
            let key = "k".repeat(usize::try_from(key).unwrap());
            trail.begin(&run(), 1, IntentDraft { key, ..restart("web") }).unwrap().seq()
        };
        // Two digits from here on, so that every record is as long as its key makes it.
        while begin(1) < 10 {}
        let before = left_in_segment(&trail);
        begin(4_000);
        let cost = before - left_in_segment(&trail);
        while left_in_segment(&trail) > 2 * cost + rest {
            begin(4_000);
        }
        begin(4_000 + left_in_segment(&trail) - cost - rest);
        assert_eq!(left_in_segment(&trail), rest);
        assert_eq!(scan::segments(&Places::open(home.path()).unwrap().segments).unwrap().len(), 1);
        let last = begin(1);
        trail.close().unwrap();
        // Every byte is read, as after a crash.
        let _ = std::fs::remove_file(home.path().join("state/projection.json"));
        let trail = open(home.path()).unwrap_or_else(|error| panic!("{rest} bytes left: {error}"));
        assert!(trail.state(|state| state.open_intents().contains_key(&last)), "{rest} bytes left");
        trail.close().unwrap();
        let verified = Reader::open(home.path()).unwrap().verify().unwrap();
        assert_eq!((verified.segments, verified.unfinished_bytes), (2, 0), "{rest} bytes left");
    }
}

fn kinds(var: &Path) -> Vec<String> {
    let records = Reader::open(var).unwrap().list(&Filter::default()).unwrap();
    records.into_iter().map(|record| record.body.kind().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn segment(var: &Path, first: u64) -> std::path::PathBuf {
    var.join(format!("audit/seg/{first:020}.seg"))
}

/// A home after a crash whose last batch is the returned range of the only segment: that batch is durable, and neither
/// checkpoint nor snapshot knows of it.
fn crashed(home: &Path) -> std::ops::Range<usize> {
    create(home).close().unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(home, before.path());
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let from = end(&std::fs::read(segment(home, 0)).unwrap());
    let trail = open(home).unwrap();
    let _ = trail.begin(&run(), 1, restart("web")).unwrap();
    let bytes = std::fs::read(segment(home, 0)).unwrap();
    drop(trail);
    std::fs::remove_dir_all(home.join("audit")).unwrap();
    copy(&before.path().join("audit"), &home.join("audit"));
    std::fs::write(segment(home, 0), &bytes).unwrap();
    from..end(&bytes)
}

/// Many opens in a row: in memory, so that the time goes into the code under test.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn recovers(home: &Path, torn: &[u8], is_torn: bool, what: &str) {
    std::fs::write(segment(home, 0), torn).unwrap();
    let trail = open(home).unwrap_or_else(|error| panic!("{what}: {error}"));
    let intent = trail.begin(&run(), 1, restart("web")).unwrap();
    let seq = intent.seq();
    trail.finish(seq, done(), 1).unwrap();
    trail.close().unwrap();
    let reader = Reader::open(home).unwrap();
    let verified = reader.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(verified.unfinished_bytes, 0, "{what}");
    let recovered = kinds(home).iter().any(|kind| kind == "recovery");
    assert_eq!(recovered, is_torn, "{what}");
    assert_eq!(reader.show(seq).unwrap().record.body.kind(), "intent", "{what}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_recorded() {
    let home = fast_dir();
    let batch = crashed(home.path());
    let image = tempfile::tempdir_in(home.path().parent().unwrap()).unwrap();
    copy(home.path(), image.path());
    let whole = std::fs::read(segment(home.path(), 0)).unwrap();
    let reset = || {
        for name in ["audit/log/checkpoint", "state/projection.json"] {
            let _ = std::fs::remove_file(home.path().join(name));
            if image.path().join(name).exists() {
                std::fs::copy(image.path().join(name), home.path().join(name)).unwrap();
            }
        }
    };
    for cut in batch.clone() {
        // Only what precedes the cut reached the disk.
        let mut torn = whole.clone();
        torn[cut..batch.end].fill(0);
        let is_torn = torn[batch.clone()].iter().any(|byte| *byte != 0);
        reset();
        recovers(home.path(), &torn, is_torn, &format!("cut at {cut}"));
        // Only what follows the cut reached the disk: pages are written in any order.
        if cut > batch.start && cut % 16 == 0 {
            let mut torn = whole.clone();
            torn[batch.start..cut].fill(0);
            reset();
            recovers(home.path(), &torn, true, &format!("lost before {cut}"));
        }
    }
    reset();
    std::fs::write(segment(home.path(), 0), &whole).unwrap();
    let trail = open(home.path()).unwrap();
    assert_eq!(trail.in_doubt().len(), 1, "the whole batch is there: its intent is in doubt, not gone");
}

#[test]
fn a_flipped_byte_is_found_by_read_and_by_verify_and_refuses_the_start() {
    let home = fast_dir();
    let trail = create(home.path());
    let first = trail.begin(&run(), 1, restart("web")).unwrap().seq();
    let last = trail.begin(&run(), 2, restart("db")).unwrap().seq();
    trail.close().unwrap();
    let reader = Reader::open(home.path()).unwrap();
    let path = segment(home.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    for seq in [0, first, last] {
        std::fs::write(&path, &whole).unwrap();
        let shown = reader.show(seq).unwrap();
        let at = usize::try_from(shown.offset).unwrap();
        for place in [at, at + 5, at + 12, at + 16, at + 16 + shown.bytes.len() / 2, at + 15 + shown.bytes.len()] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            for found in [reader.show(seq).unwrap_err(), reader.verify().unwrap_err(), open(home.path()).err().unwrap()]
            {
                let text = found.to_string();
                assert!(text.contains("seg/00000000000000000000.seg"), "record {seq}, byte {place}: {text}");
                assert!(text.contains(&format!("at byte {at}")), "record {seq}, byte {place}: {text}");
            }
        }
    }
    std::fs::write(&path, &whole).unwrap();
    reader.verify().unwrap();
    open(home.path()).unwrap();
}

#[test]
fn a_batch_that_was_changed_with_its_checksums_does_not_add_up() {
    let home = fast_dir();
    let trail = create(home.path());
    let seq = trail.begin(&run(), 1, restart("web")).unwrap().seq();
    trail.close().unwrap();
    let shown = Reader::open(home.path()).unwrap().show(seq).unwrap();
    let at = usize::try_from(shown.offset).unwrap();
    let mut bytes = std::fs::read(segment(home.path(), 0)).unwrap();
    let forged = String::from_utf8(shown.bytes).unwrap().replace("\"web\"", "\"WEB\"");
    let mut framed = Vec::new();
    frame::push_record(&mut framed, seq, forged.as_bytes());
    bytes[at..at + framed.len()].copy_from_slice(&framed);
    std::fs::write(segment(home.path(), 0), &bytes).unwrap();
    let error = Reader::open(home.path()).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("root"), "{error}");
    assert!(open(home.path()).is_err());
}

#[test]
fn what_happens_to_the_files_while_open_stops_effects_and_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 7] = [
        ("segment deleted", |segment, _| std::fs::remove_file(segment).unwrap()),
        ("segment renamed", |segment, _| std::fs::rename(segment, segment.with_extension("old")).unwrap()),
        ("segment replaced", |segment, _| {
            let bytes = std::fs::read(segment).unwrap();
            std::fs::remove_file(segment).unwrap();
            std::fs::write(segment, bytes).unwrap();
        }),
        ("segment linked", |segment, _| std::fs::hard_link(segment, segment.with_extension("two")).unwrap()),
        ("segment chmod", |segment, _| {
            std::fs::set_permissions(segment, std::fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("folder renamed", |_, folder| std::fs::rename(folder, folder.with_extension("old")).unwrap()),
        ("folder chmod", |_, folder| {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let home = fast_dir();
        let trail = create(home.path());
        let _ = trail.begin(&run(), 1, restart("web")).unwrap();
        let (path, folder) = (segment(home.path(), 0), home.path().join("audit/seg"));
        // The file itself, wherever its name goes.
        let file = std::fs::File::open(&path).unwrap();
        let content = || {
            use std::os::unix::fs::FileExt as _;
            let mut bytes = vec![0; 256 * 1024];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        harm(&path, &folder);
        let before = content();
        let error = trail.begin(&run(), 2, restart("web")).unwrap_err();
        assert!(matches!(error, AuditError::Poisoned { .. }), "{what}: {error}");
        assert!(error.to_string().contains("audit/seg"), "{what}: {error}");
        assert!(content() == before, "{what}: something was written");
        // Put back or not: not again in this process.
        assert!(trail.begin(&run(), 3, restart("web")).is_err(), "{what}");
        assert!(trail.admits_new_runs().is_err(), "{what}");
        assert!(trail.close().is_err(), "{what}: buffered records were not written, and that is said");
    }
}

#[test]
fn a_trail_put_back_to_an_earlier_state_is_refused() {
    let home = fast_dir();
    create(home.path()).close().unwrap();
    let earlier = fast_dir();
    copy(home.path(), earlier.path());
    let trail = open(home.path()).unwrap();
    for step in 0..100 {
        let seq = trail.begin(&run(), step, restart("web")).unwrap().seq();
        trail.finish(seq, done(), 1).unwrap();
    }
    trail.close().unwrap();
    let now = fast_dir();
    copy(home.path(), now.path());
    for restored in [&["audit/seg"][..], &["audit/seg", "audit/log"]] {
        for part in restored {
            std::fs::remove_dir_all(home.path().join(part)).unwrap();
            copy(&earlier.path().join(part), &home.path().join(part));
        }
        let error = open(home.path()).err().unwrap();
        assert!(matches!(error, AuditError::Behind { .. }), "{restored:?}: {error}");
        assert!(error.to_string().contains("audit recover --reason"), "{error}");
        for part in restored {
            std::fs::remove_dir_all(home.path().join(part)).unwrap();
            copy(&now.path().join(part), &home.path().join(part));
        }
    }
    // The checkpoint alone put back: the trail passes through both, so nothing is lost.
    std::fs::copy(earlier.path().join("audit/log/checkpoint"), home.path().join("audit/log/checkpoint")).unwrap();
    open(home.path()).unwrap().close().unwrap();
    // Another log's checkpoint, or none.
    std::fs::write(home.path().join("audit/log/checkpoint"), "guardian/audit/0\n1\nAAAA\n").unwrap();
    assert!(matches!(open(home.path()), Err(AuditError::Checkpoint { .. })));
    std::fs::remove_file(home.path().join("audit/log/checkpoint")).unwrap();
    assert!(matches!(open(home.path()), Err(AuditError::Checkpoint { .. })));
}

#[test]
fn a_snapshot_is_only_a_shortcut() {
    let home = fast_dir();
    let trail = create(home.path());
    for step in 0..100 {
        let seq = trail.begin(&run(), step, restart("web")).unwrap().seq();
        trail.finish(seq, done(), 1).unwrap();
    }
    trail.close().unwrap();
    let snapshot = home.path().join("state/projection.json");
    let stored = std::fs::read_to_string(&snapshot).unwrap();
    let used = |state: &State| {
        let now = crate::model::Clock::now(&SystemClock::default());
        state.used(&"guardian/service_crashed".parse().unwrap(), "service.restart", "service.web", now).d1
    };
    // A reader that may read the log's key uses it as well: what stands before it is not read again.
    let intact = std::fs::read(segment(home.path(), 0)).unwrap();
    let mut flipped = intact.clone();
    flipped[5_000] ^= 1;
    std::fs::write(segment(home.path(), 0), &flipped).unwrap();
    let reader = Reader::open(home.path()).unwrap();
    assert_eq!(used(&reader.state().unwrap()), 100);
    assert!(matches!(reader.list(&Filter::default()), Err(AuditError::Damaged { .. })), "the premise");
    std::fs::write(segment(home.path(), 0), &intact).unwrap();
    let says = || {
        let read = Reader::open(home.path()).unwrap().state().unwrap();
        let opened = open(home.path()).unwrap().state(used);
        assert_eq!(used(&read), opened, "a reader and a writer say the same");
        opened
    };
    assert_eq!(says(), 100);
    // Whoever writes the file cannot make the count smaller.
    for forged in
        [stored.replace(",100]", ",1]"), stored.replace("\"used\"", "\"Used\""), String::new(), "{}\n{}".into()]
    {
        std::fs::write(&snapshot, forged).unwrap();
        assert_eq!(says(), 100);
    }
    std::fs::remove_file(&snapshot).unwrap();
    assert_eq!(says(), 100);
}

#[test]
fn many_callers_share_batches_and_segments_follow_each_other() {
    let home = tempfile::tempdir().unwrap();
    let trail = create(home.path());
    std::thread::scope(|scope| {
        for thread in 0..64_u32 {
            let trail = &trail;
            scope.spawn(move || {
                for step in 0..20 {
                    let intent = trail.begin(&run(), thread * 100 + step, restart("web")).unwrap();
                    trail.finish(intent.seq(), done(), 1).unwrap();
                }
            });
        }
    });
    trail.close().unwrap();
    let verified = Reader::open(home.path()).unwrap().verify().unwrap();
    assert_eq!((verified.records, verified.signed), (2561, 2561));
    assert!(verified.segments > 2, "{verified:?}");
    assert!(verified.batches < 1280, "nothing was shared: {verified:?}");
    let trail = open(home.path()).unwrap();
    assert!(trail.in_doubt().is_empty());
    trail.close().unwrap();
    // A segment that is gone is missed.
    let names: Vec<u64> =
        scan::segments(&crate::durable::Folder::open(&home.path().join("audit/seg")).unwrap()).unwrap();
    std::fs::remove_file(segment(home.path(), names[1])).unwrap();
    assert!(Reader::open(home.path()).unwrap().verify().is_err());
}

#[test]
fn identical_refusals_become_one_record_with_a_count() {
    let (log, clock) = (MemoryLog::default(), Arc::new(crate::model::ManualClock::at(Timestamp::from_millis(1_000))));
    let trail = Trail::in_memory(log.clone(), State::default(), actor(), clock.clone());
    let denied = |resource: &str| Body::Denied {
        action: "service.stop".to_owned(),
        resource: resource.to_owned(),
        arguments: Default::default(),
        playbook: "acme/x".parse().unwrap(),
        code: crate::model::DenialCode::NoPermit,
        policies: Vec::new(),
        count: 1,
        until: Timestamp::from_millis(1_000),
    };
    let first = trail.append(Some(&run()), Some(1), denied("service.web")).unwrap();
    for step in 0..10_000 {
        assert_eq!(trail.append(Some(&run()), Some(step), denied("service.web")).unwrap(), first);
    }
    assert_ne!(trail.append(Some(&run()), Some(1), denied("service.db")).unwrap(), first);
    clock.advance(Duration::from_secs(61));
    assert_ne!(trail.append(Some(&run()), Some(1), denied("service.web")).unwrap(), first);
    // Another ten thousand that all differ: the map is bounded, the trail is not silent.
    for number in 0..10_000 {
        trail.append(Some(&run()), Some(1), denied(&format!("service.x{number}"))).unwrap();
    }
    let end = Body::RunEnd {
        state: crate::model::RunState::NotHealed,
        reason: "x".to_owned(),
        report: None,
        limit: None,
        millis: 1,
    };
    trail.append_durable(Some(&run()), end).unwrap();
    let counted = |resource: &str| -> u64 {
        let of = |record: Record| match record.body {
            Body::Denied { resource: other, count, .. } if other == resource => Some(count),
            _ => None,
        };
        log.records().into_iter().filter_map(of).sum()
    };
    assert_eq!((counted("service.web"), counted("service.db")), (10_002, 1));
    assert!(log.records().len() < 10_010);
}

#[test]
fn a_playbook_that_spent_its_daily_share_is_told_and_others_are_not() {
    let home = fast_dir();
    create(home.path()).close().unwrap();
    let mut few = options(home.path());
    few.trail_mib_per_day = 1;
    let clock = Arc::new(crate::model::ManualClock::at(Timestamp::from_millis(1_800_000_000_000)));
    let trail = Trail::open(&few, actor(), clock.clone()).unwrap();
    let mut large = restart("web");
    large.policies = vec!["p".repeat(60_000)];
    let spent = (0..40).find_map(|step| trail.begin(&run(), step, large.clone()).err()).unwrap();
    assert!(matches!(spent, AuditError::BudgetSpent(_)), "{spent}");
    assert!(spent.to_string().contains("trail_mib_per_day"), "{spent}");
    let mut other = restart("web");
    other.playbook = "acme/x".parse().unwrap();
    let _ = trail.begin(&run(), 50, other).unwrap();
    clock.advance(Duration::from_secs(24 * 3600));
    let _ = trail.begin(&run(), 51, restart("web")).unwrap();
    large.policies = vec!["p".repeat(70_000)];
    assert!(matches!(trail.begin(&run(), 52, large), Err(AuditError::TooLarge { .. })));
}

#[test]
fn a_record_of_a_later_version_is_shown_as_it_stands() {
    let bytes = br#"{"v":2,"seq":3,"t":5,"boot":"b","actor":{"uid":0},"type":"approval","by":"ann","new":[1]}"#;
    let record = Record::decode(bytes).unwrap();
    assert_eq!(record.body.kind(), "approval");
    assert!(matches!(&record.body, Body::Other { fields, .. } if fields["by"] == "ann"));
    assert!(Record::decode(br#"{"v":2}"#).is_err());
    assert!(Record::decode(b"garbage").is_err());
}
