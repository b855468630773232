//! What the trail says about now, when the clock was wrong or a process went away in the middle.

use super::*;
use crate::model::{Clock as _, Digest, ManualClock, RunState};

const NOON: u64 = 1_800_014_400_000;
const HOUR: Duration = Duration::from_secs(3600);

fn playbook() -> crate::model::PlaybookId {
    restart("web").playbook
}

/// A trail of one MiB per day whose clock stands at noon.
fn at_noon(home: &Path) -> (Trail, Arc<ManualClock>) {
    create(home).close().unwrap();
    let mut few = options(home);
    few.trail_mib_per_day = 1;
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOON)));
    // The one before was made today by the real clock, maybe later than noon: only what a playbook does is looked at here.
    (Trail::open(&few, actor(), clock.clone()).unwrap(), clock)
}

fn reset_clock(trail: &Trail) {
    let digest = Digest::of(b"trust");
    trail
        .append_durable(None, Body::Trust { change: TrustChange::ClockReset, publisher: None, key: None, digest })
        .unwrap();
}

#[test]
fn a_budget_spent_in_the_future_is_spent_when_the_clock_is_right_again() {
    let home = fast_dir();
    let (trail, clock) = at_noon(home.path());
    let mut large = restart("web");
    large.policies = vec!["p".repeat(60_000)];
    clock.advance(24 * 10 * HOUR);
    let spent = (0..40).find_map(|step| trail.begin(&run(), step, large.clone()).err()).unwrap();
    assert!(matches!(spent, AuditError::BudgetSpent(_)), "{spent}");
    clock.set(Timestamp::from_millis(NOON));
    let again = trail.begin(&run(), 50, restart("web")).err();
    assert!(matches!(again, Some(AuditError::BudgetSpent(_))), "a clock set right gave the budget back: {again:?}");
    // Declared right, it holds for today and no longer; undeclared it would hold for ten days.
    clock.advance(24 * HOUR);
    assert!(trail.begin(&run(), 51, restart("web")).is_err());
    reset_clock(&trail);
    assert!(trail.begin(&run(), 52, restart("web")).is_err());
    clock.advance(24 * HOUR);
    let _ = trail.begin(&run(), 53, restart("web")).unwrap();
}

#[test]
fn uses_in_the_future_age_once_the_clock_is_declared_right() {
    let home = fast_dir();
    let (trail, clock) = at_noon(home.path());
    let used = || trail.state(|state| state.used(&playbook(), "service.restart", "service.web", clock.now()));
    clock.advance(24 * 365 * HOUR);
    for step in 0..3 {
        let _ = trail.begin(&run(), step, restart("web")).unwrap();
        clock.advance(Duration::from_secs(2));
    }
    clock.set(Timestamp::from_millis(NOON));
    let _ = trail.begin(&run(), 4, restart("web")).unwrap();
    clock.advance(2 * HOUR);
    assert_eq!((used().m5, used().d1), (4, 4), "setting the clock back makes no room by itself");
    reset_clock(&trail);
    assert_eq!((used().m5, used().d1), (4, 4), "nor does the declaration: they count as of now");
    clock.advance(2 * HOUR);
    assert_eq!((used().m5, used().h1, used().d1), (0, 0, 4));
    let _ = trail.begin(&run(), 5, restart("web")).unwrap();
    assert_eq!((used().m5, used().h1, used().d1), (1, 1, 5));
}

fn run_start() -> Body {
    let incident = serde_json::json!({
        "id": "i-1", "kind": "service_crashed", "target": "service.web", "severity": 7, "source": "operator",
        "opened_at": 1, "labels": {}, "bindings": {}
    });
    let digest = Digest::of(b"x");
    Body::RunStart {
        playbook: playbook(),
        release: 1,
        component: digest,
        policy: digest,
        trust: digest,
        incident: serde_json::from_value(incident).unwrap(),
        engine: "e".to_owned(),
    }
}

#[test]
fn a_run_whose_process_went_away_is_not_shown_as_running_for_ever() {
    let home = fast_dir();
    let trail = create(home.path());
    let ids = [1, 2, 3].map(|number| RunId::new(Timestamp::from_millis(1), number));
    let states = |trail: &Trail| trail.state(|state| state.runs().iter().map(|run| run.state).collect::<Vec<_>>());
    for id in &ids[..2] {
        trail.append_durable(Some(id), run_start()).unwrap();
    }
    let (state, reason) = (RunState::Healed, "x".to_owned());
    trail.append_durable(Some(&ids[0]), Body::RunEnd { state, reason, report: None, limit: None, millis: 5 }).unwrap();
    assert_eq!(states(&trail), [RunState::Healed, RunState::Executing]);
    trail.close().unwrap();
    let trail = open(home.path()).unwrap();
    trail.append_durable(Some(&ids[2]), run_start()).unwrap();
    assert_eq!(states(&trail), [RunState::Healed, RunState::Indeterminate, RunState::Executing]);
}
