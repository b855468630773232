//! What a trail hands to the one after it, and that no crash on the way loses it.

use super::*;
use crate::model::Clock as _;

#[test]
fn a_trail_has_lawful_successors() {
    let home = fast_dir();
    let trail = create(home.path());
    let (old_key, old) = (Reader::open(home.path()).unwrap().key().clone(), "acme/x".parse().unwrap());
    let store = Body::Store {
        change: StoreChange::Added,
        playbook: "acme/x".parse().unwrap(),
        release: 7,
        component: crate::model::Digest::of(b"7"),
        signers: vec!["k".to_owned()],
        trust: crate::model::Digest::of(b"t"),
    };
    trail.append_durable(None, store).unwrap();
    let doubtful = trail.begin(&run(), 1, restart("web")).unwrap().seq();
    trail.close().unwrap();
    let clock = || Arc::new(SystemClock::default());
    assert!(Trail::recover(&options(home.path()), " ", actor(), clock()).is_err(), "a reason is needed");
    let (trail, _) = Trail::fork(&options(home.path()), "cloned for staging", actor(), clock()).unwrap();
    trail.close().unwrap();
    assert_ne!(*Reader::open(home.path()).unwrap().key(), old_key);
    // Damage: now a fork is refused and a recovery is the way on.
    let mut bytes = std::fs::read(segment(home.path(), 0)).unwrap();
    let offset = Reader::open(home.path()).unwrap().show(2).unwrap().offset;
    bytes[usize::try_from(offset).unwrap() + 20] ^= 1;
    std::fs::write(segment(home.path(), 0), bytes).unwrap();
    assert!(Trail::fork(&options(home.path()), "x", actor(), clock()).is_err());
    assert!(matches!(open(home.path()), Err(AuditError::Damaged { .. })));
    let (trail, succession) = Trail::recover(&options(home.path()), "disk fault", actor(), clock()).unwrap();
    assert!(succession.lost > 0, "{succession:?}");
    assert!(succession.kept.join("seg").exists());
    trail.close().unwrap();
    let trail = open(home.path()).unwrap();
    trail.close().unwrap();
    let first = Reader::open(home.path()).unwrap().show(0).unwrap().record.body;
    let Body::Successor { kind, reason, old_checkpoint, .. } = first else { panic!("{first:?}") };
    assert_eq!((kind, reason.as_str()), (SuccessorKind::Recover, "disk fault"));
    assert!(old_checkpoint.starts_with("guardian/audit/"), "{old_checkpoint}");
    let verified = Reader::open(home.path()).unwrap().verify().unwrap();
    assert_eq!(verified.records, verified.signed);
    let _ = (doubtful, old_key, &old as &crate::model::PlaybookId);
}

#[test]
fn a_fork_takes_over_marks_and_doubts() {
    let home = fast_dir();
    let trail = create(home.path());
    let playbook: crate::model::PlaybookId = "acme/x".parse().unwrap();
    for release in [6, 7] {
        let component = crate::model::Digest::of(&[release]);
        let (signers, trust) = (Vec::new(), component);
        let (change, playbook, release) = (StoreChange::Added, playbook.clone(), u64::from(release));
        trail.append_durable(None, Body::Store { change, playbook, release, component, signers, trust }).unwrap();
    }
    let doubtful = trail.begin(&run(), 1, restart("web")).unwrap().seq();
    trail.close().unwrap();
    let clock = Arc::new(SystemClock::default());
    let (trail, succession) = Trail::fork(&options(home.path()), "cloned", actor(), clock).unwrap();
    assert_eq!((succession.lost, succession.marks), (0, 1));
    let mark = trail.state(|state| state.high_water(&playbook).cloned()).unwrap();
    assert_eq!((mark.release, mark.accepted.len()), (7, 2));
    trail.close().unwrap();
    let first = Reader::open(home.path()).unwrap().show(0).unwrap().record.body;
    assert!(matches!(first, Body::Successor { in_doubt, .. } if in_doubt == [doubtful]));
    // INVARIANT 9: nobody has said what became of it, so it stops the next run here as it did there.
    let trail = open(home.path()).unwrap();
    let doubts = trail.in_doubt();
    let [(record, open_intent)] = doubts.as_slice() else { panic!("{doubts:?}") };
    assert_eq!((open_intent.verb.as_str(), open_intent.resource.as_str()), ("service.restart", "service.web"));
    assert_eq!((open_intent.run.as_ref(), open_intent.step), (Some(&run()), Some(1)));
    trail.settle(*record, "looked").unwrap();
    assert!(trail.in_doubt().is_empty());
    trail.close().unwrap();
}

#[test]
fn a_successor_that_was_interrupted_anywhere_lets_nothing_in_until_it_is_finished() {
    let moves = [("audit/seg", "seg"), ("audit/log", "log"), ("keys/audit.key", "audit.key")];
    let playbook: crate::model::PlaybookId = "acme/x".parse().unwrap();
    let component = crate::model::Digest::of(b"7");
    // How many moves were done before the crash; the last round has a new trail already, without the marks.
    for done in 0..=moves.len() + 1 {
        let home = fast_dir();
        let trail = create(home.path());
        let (change, signers, trust) = (StoreChange::Added, Vec::new(), component);
        let store = Body::Store { change, playbook: playbook.clone(), release: 7, component, signers, trust };
        trail.append_durable(None, store).unwrap();
        trail.close().unwrap();
        let kept = home.path().join("audit/old/001800000000000");
        std::fs::create_dir_all(&kept).unwrap();
        for (from, to) in moves.iter().take(done) {
            std::fs::rename(home.path().join(from), kept.join(to)).unwrap();
        }
        if done > moves.len() {
            create(home.path()).close().unwrap();
            let trail = open(home.path()).unwrap();
            assert!(trail.state(|state| state.high_water(&playbook).is_none()), "else this shows nothing");
        }
        let pending = home.path().join("audit/old/pending");
        std::fs::write(&pending, "001800000000000").unwrap();
        let clock = || Arc::new(SystemClock::default());
        for error in [open(home.path()).err(), Trail::create(&options(home.path()), actor(), clock()).err()] {
            let error = error.unwrap_or_else(|| panic!("after {done} moves a trail without marks was taken"));
            assert!(matches!(error, AuditError::Unfinished { .. }), "after {done} moves: {error}");
            assert!(error.to_string().contains("audit recover"), "{error}");
        }
        let successor = if done % 2 == 0 { Trail::recover } else { Trail::fork };
        let (trail, succession) = successor(&options(home.path()), "again", actor(), clock()).unwrap();
        assert_eq!((succession.marks, succession.lost), (1, 0), "after {done} moves");
        trail.close().unwrap();
        assert!(!pending.exists());
        let trail = open(home.path()).unwrap();
        assert_eq!(trail.state(|state| state.high_water(&playbook).map(|mark| mark.release)), Some(7));
    }
}

#[test]
fn what_was_used_stays_used_after_a_successor() {
    let playbook: crate::model::PlaybookId = "guardian/service_crashed".parse().unwrap();
    let clock = || Arc::new(SystemClock::default());
    let used = |trail: &Trail| {
        let used = trail.state(|state| state.used(&playbook, "service.restart", "service.web", clock().now()));
        (used.m5, used.h1, used.d1)
    };
    // Whole, damaged, and with the segments gone so that only the snapshot knows.
    for how in ["whole", "damaged", "gone"] {
        let home = fast_dir();
        let trail = create(home.path());
        for release in 0..200_u64 {
            let component = crate::model::Digest::of(&release.to_be_bytes());
            let (change, signers, trust) = (StoreChange::Added, Vec::new(), component);
            let store = Body::Store { change, playbook: playbook.clone(), release, component, signers, trust };
            trail.append(None, None, store).unwrap();
        }
        for step in 0..3 {
            let intent = trail.begin(&run(), step, restart("web")).unwrap();
            if step > 0 {
                trail.finish(intent.seq(), done(), 1).unwrap();
            }
        }
        trail.close().unwrap();
        let reader = Reader::open(home.path()).unwrap();
        let size = reader.verify().unwrap().records;
        match how {
            "damaged" => {
                let offset = usize::try_from(reader.show(3).unwrap().offset).unwrap();
                let mut bytes = std::fs::read(segment(home.path(), 0)).unwrap();
                bytes[offset + 20] ^= 1;
                std::fs::write(segment(home.path(), 0), bytes).unwrap();
            }
            "gone" => std::fs::remove_dir_all(home.path().join("audit")).unwrap(),
            _ => {}
        }
        let successor = if how == "whole" { Trail::fork } else { Trail::recover };
        let (trail, succession) = successor(&options(home.path()), "why", actor(), clock()).unwrap();
        assert_eq!(succession.known, Some(size), "{how}");
        assert_eq!(succession.readable + succession.lost, size, "{how}");
        assert_eq!(used(&trail), (3, 3, 3), "{how}");
        assert_eq!(
            trail.state(|state| state.high_water(&playbook).map(|mark| mark.accepted.len())),
            Some(200),
            "{how}"
        );
        trail.close().unwrap();
        let trail = open(home.path()).unwrap();
        assert_eq!(used(&trail), (3, 3, 3), "{how}, after a restart");
        assert_eq!(trail.in_doubt().len(), 1, "{how}");
        trail.close().unwrap();
    }
}

#[test]
fn a_trail_that_holds_is_not_recovered() {
    let home = fast_dir();
    create(home.path()).close().unwrap();
    let clock = || Arc::new(SystemClock::default());
    let key = Reader::open(home.path()).unwrap().key().clone();
    let error = Trail::recover(&options(home.path()), "why", actor(), clock()).err().unwrap();
    assert!(matches!(error, AuditError::Option(_)), "{error}");
    assert!(error.to_string().contains("holds") && error.to_string().contains("audit fork"), "{error}");
    assert_eq!(*Reader::open(home.path()).unwrap().key(), key);
    open(home.path()).unwrap().close().unwrap();
    // Nothing is left that could say how many records there were: then none is claimed to be lost, or not lost.
    std::fs::remove_dir_all(home.path().join("audit")).unwrap();
    std::fs::remove_dir_all(home.path().join("state")).unwrap();
    let (trail, succession) = Trail::recover(&options(home.path()), "why", actor(), clock()).unwrap();
    assert_eq!((succession.readable, succession.lost, succession.known), (0, 0, None));
    trail.close().unwrap();
}
