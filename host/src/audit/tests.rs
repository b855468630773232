//! The room as a whole, in one process and on real files. What needs other processes is in the workspace's tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
