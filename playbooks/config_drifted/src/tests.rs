//! What it does with each answer, against the scripted host.

use super::*;
use guardian_sdk::scripted::{Host, denied, incident, status};

fn drifted() -> Incident {
    let mut incident = incident("config_drifted", "config", "site");
    incident.bindings.push(("service".to_owned(), "web".to_owned()));
    incident
}

fn file(state: File) -> config::Status {
    config::Status { state, differs: vec!["content".to_owned()], extra: Vec::new() }
}

#[test]
fn a_file_that_matches_is_left_alone() {
    let played = Host::new().config("check", "site", Ok(file(File::Matches))).play::<ConfigDrifted>(&drifted());
    assert!(played.answer.unwrap().summary.contains("nothing to do"));
    assert_eq!(played.calls, ["config.check site"]);
}

#[test]
fn a_file_that_differs_is_restored_and_read_again() {
    let played = Host::new()
        .config("check", "site", Ok(file(File::Differs)))
        .config("restore", "site", Ok(file(File::Matches)))
        .service("status", "web", Ok(status(State::Running)))
        .service("reload", "web", Ok(status(State::Running)))
        .play::<ConfigDrifted>(&drifted());
    assert!(played.answer.unwrap().summary.contains("reloaded web"));
}

#[test]
fn a_service_that_cannot_reload_is_restarted() {
    let unavailable = Error { code: "unavailable".to_owned(), ..Error::failed("no way to reload") };
    let played = Host::new()
        .config("check", "site", Ok(file(File::Missing)))
        .config("restore", "site", Ok(file(File::Matches)))
        .service("status", "web", Ok(status(State::Running)))
        .service("reload", "web", Err(unavailable))
        .service("restart", "web", Ok(status(State::Running)))
        .play::<ConfigDrifted>(&drifted());
    assert!(played.answer.unwrap().summary.contains("restarted web"));
}

#[test]
fn a_service_that_does_not_run_is_left_alone() {
    let played = Host::new()
        .config("check", "site", Ok(file(File::Replaced)))
        .config("restore", "site", Ok(file(File::Matches)))
        .service("status", "web", Ok(status(State::Stopped)))
        .play::<ConfigDrifted>(&drifted());
    assert!(played.answer.unwrap().summary.contains("left alone"));
}

#[test]
fn a_denial_is_passed_on_and_nothing_is_tried_instead() {
    let played = Host::new()
        .config("check", "site", Ok(file(File::Differs)))
        .config("restore", "site", Err(denied("config.restore", "config.site")))
        .play::<ConfigDrifted>(&drifted());
    assert_eq!(played.answer.unwrap_err().code, "denied");
    assert_eq!(played.calls.len(), 2);
}

#[test]
fn something_else_than_a_configuration_is_refused() {
    let played = Host::new().play::<ConfigDrifted>(&incident("config_drifted", "service", "web"));
    assert_eq!(played.answer.unwrap_err().code, "invalid");
}
