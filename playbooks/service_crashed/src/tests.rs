//! Every way through, against a scripted host.

use guardian_sdk::probe::Verdict;
use guardian_sdk::scripted::{Host, Played, denied, incident, reading, status};
use guardian_sdk::service::{State, Status};

use super::ServiceCrashed;

fn play(host: Host) -> Played {
    host.play::<ServiceCrashed>(&incident("service_crashed", "service", "web"))
}

fn now(state: State) -> Result<Status, guardian_sdk::Error> {
    Ok(status(state))
}

fn check(verdict: Verdict) -> Result<guardian_sdk::probe::Reading, guardian_sdk::Error> {
    Ok(reading(verdict))
}

#[test]
fn a_failed_service_is_cleared_and_started() {
    let played = play(
        Host::new()
            .service("status", "web", now(State::Failed))
            .service("reset-failed", "web", now(State::Stopped))
            .service("start", "web", now(State::Running))
            .probe("service.web", check(Verdict::Failed))
            .probe("service.web", check(Verdict::Healthy)),
    );
    assert!(played.answer.unwrap().summary.starts_with("started web; it answers"));
    assert_eq!(played.waited_ms, 500);
}

#[test]
fn what_a_person_stopped_stays_stopped() {
    let stopped = Status { stopped_by_person: true, ..status(State::Stopped) };
    let played = play(Host::new().service("status", "web", Ok(stopped)));
    assert!(played.answer.unwrap().summary.contains("stopped by a person"));
}

#[test]
fn a_stopped_service_is_started_without_clearing() {
    let played = play(
        Host::new()
            .service("status", "web", now(State::Stopped))
            .service("start", "web", now(State::Running))
            .probe("service.web", check(Verdict::Healthy)),
    );
    assert!(played.answer.is_ok());
}

#[test]
fn a_supervisor_at_work_is_waited_for() {
    let played = play(
        Host::new()
            .service("status", "web", now(State::Restarting))
            .service("status", "web", now(State::Starting))
            .service("status", "web", now(State::Running))
            .probe("service.web", check(Verdict::Healthy)),
    );
    assert_eq!(played.answer.unwrap().summary, "web runs and answers; nothing to do");
    assert_eq!(played.waited_ms, 2_000);
}

#[test]
fn a_supervisor_that_never_ends_is_a_persons_matter() {
    let mut host = Host::new();
    for _ in 0..11 {
        host = host.service("status", "web", now(State::Restarting));
    }
    let played = play(host);
    assert!(played.answer.unwrap_err().message.contains("still being restarted after 10 s"));
}

#[test]
fn one_that_runs_and_does_not_answer_is_restarted() {
    let played = play(
        Host::new()
            .service("status", "web", now(State::Running))
            .probe("service.web", check(Verdict::Failed))
            .service("restart", "web", now(State::Running))
            .probe("service.web", check(Verdict::Healthy)),
    );
    assert!(played.answer.unwrap().summary.starts_with("restarted web"));
}

#[test]
fn one_that_stays_silent_is_an_error() {
    let mut host =
        Host::new().service("status", "web", now(State::Stopped)).service("start", "web", now(State::Running));
    for _ in 0..6 {
        host = host.probe("service.web", check(Verdict::Failed));
    }
    let played = play(host);
    assert_eq!(played.answer.unwrap_err().code, "failed");
    assert_eq!(played.waited_ms, 2_500);
}

#[test]
fn a_check_that_cannot_look_stops_nothing_that_runs() {
    let played =
        play(Host::new().service("status", "web", now(State::Running)).probe("service.web", check(Verdict::Unknown)));
    assert!(played.answer.is_err());
}

#[test]
fn a_denial_is_passed_on() {
    let played = play(Host::new().service("status", "web", now(State::Stopped)).service(
        "start",
        "web",
        Err(denied("service.start", "service.web")),
    ));
    assert!(played.answer.unwrap_err().is_denied());
}

#[test]
fn a_denied_look_afterwards_does_not_undo_the_help() {
    let played = play(
        Host::new()
            .service("status", "web", now(State::Stopped))
            .service("start", "web", now(State::Running))
            .probe("service.web", Err(denied("probe.run", "probe.service.web"))),
    );
    assert!(played.answer.unwrap().summary.contains("was not looked at"));
}

#[test]
fn something_else_than_a_service_is_refused() {
    let played = Host::new().play::<ServiceCrashed>(&incident("service_crashed", "probe", "login"));
    assert_eq!(played.answer.unwrap_err().code, "invalid");
}
