//! `guardian status`: what is there, what it is doing, and whether anything needs a person.

use std::time::Duration;

use serde_json::json;

use crate::audit::Reader;
use crate::capability::{Deadline, HandError, Hands};
use crate::model::{ResourceName, RunState, Verdict, escape_to};

use super::Exit;
use super::context::Context;
use super::failure::Failure;
use super::screen::Tone;

/// How long one service may take to answer: a status is looked at, not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many runs are shown.
const RUNS: usize = 10;

pub(super) fn status(context: &Context) -> Result<Exit, Failure> {
    let site = context.site()?;
    let reader = Reader::open(context.home.var())?;
    let state = reader.state()?;
    let real = site.hands()?;
    let hands = Hands::real(real.clone());
    let services: Vec<_> = site
        .configuration
        .inventory
        .services
        .keys()
        .map(|name| {
            let resource = ResourceName::service(name);
            let reading = hands.check(&resource, Deadline::after(PATIENCE));
            (
                resource,
                real.services().status(name, Deadline::after(PATIENCE)).map_err(HandError::into_guest_error),
                reading,
            )
        })
        .collect();
    let in_doubt: Vec<u64> = state.open_intents().keys().copied().collect();
    let mut runs: Vec<_> = state.runs().iter().rev().take(RUNS).collect();
    runs.reverse();
    let screen = &context.screen;
    if screen.json() {
        let services: Vec<_> = services
            .iter()
            .map(|(name, status, reading)| match status {
                Ok(status) => json!({ "resource": name, "status": status, "check": reading }),
                Err(error) => json!({ "resource": name, "error": error, "check": reading }),
            })
            .collect();
        let runs: Vec<_> = runs
            .iter()
            .map(|run| {
                json!({ "run": run.id, "playbook": run.playbook, "incident": run.incident, "target": run.target, "state": run.state,
                        "started": run.started.to_string(), "millis": run.millis })
            })
            .collect();
        screen.document("status", &json!({
            "services": services, "runs": runs, "in_doubt": in_doubt, "policies": site.policy.len(), "records": reader.checkpoint()?.size(),
        }))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = services
        .into_iter()
        .map(|(name, status, reading)| {
            let what = match status {
                Ok(status) if status.stopped_by_person => "stopped by a person".to_owned(),
                Ok(status) => status.state.word().to_owned(),
                Err(error) => escape_to(&error.message, 80),
            };
            let tone = if reading.verdict == Verdict::Healthy { Tone::Good } else { Tone::Bad };
            let check = format!("{} {}", screen.paint(tone, reading.verdict.word()), escape_to(&reading.seen, 60));
            vec![name.to_string(), what, check]
        })
        .collect();
    if rows.is_empty() {
        screen.say(&format!("no services; name one in {}", context.home.etc().join("guardian.toml").display()));
    } else {
        screen.table(&["RESOURCE", "STATE", "CHECK"], &rows);
    }
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let tone = if run.state == RunState::Healed { Tone::Good } else { Tone::Bad };
            vec![
                run.id.to_string(),
                run.started.to_string(),
                run.playbook.to_string(),
                run.target.to_string(),
                screen.paint(tone, run.state.word()),
            ]
        })
        .collect();
    if !rows.is_empty() {
        screen.say("");
        screen.table(&["RUN", "STARTED", "PLAYBOOK", "TARGET", "END"], &rows);
    }
    screen.say("");
    screen.say(&format!("{} policies · {} signed records", site.policy.len(), reader.checkpoint()?.size()));
    if !in_doubt.is_empty() {
        let numbers: Vec<String> = in_doubt.iter().map(ToString::to_string).collect();
        screen.say(&format!(
            "{} the intents in record {} have no outcome: a run is under way, or guardian ended before it was known",
            screen.paint(Tone::Warn, "needs a look:"),
            numbers.join(", ")
        ));
    }
    Ok(Exit::Ok)
}
