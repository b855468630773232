//! A keeper that cannot write, and one that dies in the middle of something.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

impl Bench {
    /// A hand whose keepers can write files of a few bytes only: like a disk that is as good as full. The record of a
    /// beginning still fits; one that names the service it runs does not.
    fn cramped(&self) -> ServiceHand {
        let beginning = Record::starting(Identity::of_self().unwrap(), SystemClock::default().now());
        // Pids and start times differ by a few digits; the identity that does not fit any more has at least 70 bytes.
        let room = serde_json::to_vec(&beginning).unwrap().len() + 30;
        let keeper = self.home.path().join("cramped");
        let program = program();
        // The signal that goes with the limit is ignored, so that a write fails as on a full disk.
        let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec prlimit --fsize={room} {} \"$@\"\n", program.display());
        std::fs::write(&keeper, script).unwrap();
        std::fs::set_permissions(&keeper, std::fs::Permissions::from_mode(0o700)).unwrap();
        self.hand_with(keeper)
    }
}

#[test]
fn a_service_that_cannot_be_written_down_does_not_stay() {
    let bench = Bench::new(sh("exec sleep 1000"));
    let error = act(&bench.cramped(), ServiceVerb::Start, soon()).unwrap_err();
    assert!(error.code == ErrorCode::Failed && error.message.contains("space"), "{error}");
    assert!(bench.record().child.is_none(), "the premise: its record could not be written");
    eventually("nothing of it is left", || !output::has_holder(&bench.folder()));
    assert_eq!(bench.status().state, ServiceState::Failed);
    assert_eq!(bench.act(ServiceVerb::Start).unwrap().state, ServiceState::Running, "with room it starts again");
}

#[test]
fn an_orphan_that_cannot_be_adopted_runs_on_and_is_not_called_stopped() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    let (keeper, child) = (bench.record().keeper, bench.child());
    signal(&keeper, Signal::KILL);
    eventually("the keeper is gone", || !keeper.alive());
    let cramped = bench.cramped();
    let by_playbook = act(&cramped, ServiceVerb::Stop, soon()).unwrap_err();
    let by_person = cramped.by_person(ServiceVerb::Stop, &web(), soon()).unwrap_err();
    assert_eq!((by_playbook.code, by_person.code()), (ErrorCode::Unavailable, ErrorCode::Unavailable));
    assert!(child.alive(), "a disk without space is no reason to end a service");
    assert_eq!(bench.record().child, Some(child.clone()), "and it is not forgotten");
    // Its twin: with room it is adopted, and stopped.
    assert_eq!(bench.act(ServiceVerb::Stop).unwrap().state, ServiceState::Stopped);
    assert!(!child.alive());
}

#[test]
fn a_stop_that_outlives_its_keeper_stays_the_persons_and_is_finished() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let bench = Bench::new(CommandLine { stop_time: Duration::from_millis(1_500), ..sh(script) });
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it is up", || bench.output().contains("up"));
    let (keeper, child) = (bench.record().keeper, bench.child());
    let late = bench.hand().by_person(ServiceVerb::Stop, &web(), Deadline::after(Duration::from_millis(100)));
    assert!(matches!(late, Err(HandError::Unsure { .. })), "{late:?}");
    eventually("the stop is written down", || bench.record().phase == Phase::Stopping);
    signal(&keeper, Signal::KILL);
    eventually("the keeper is gone", || !keeper.alive());
    assert!(child.alive(), "the premise: it ignores SIGTERM");
    assert_eq!(bench.status().state, ServiceState::Stopping);
    let adopted = bench.record();
    assert!(adopted.adopted && adopted.stop == Some(StopReason::Person), "{adopted:?}");
    eventually("the new keeper ends it", || bench.status().state == ServiceState::Stopped);
    assert!(bench.status().stopped_by_person && !child.alive());
    assert!(bench.act(ServiceVerb::Start).unwrap_err().message.contains("by a person"));
}
