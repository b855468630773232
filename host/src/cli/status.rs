//! `guardian status`: what is there, what it is doing, and whether anything needs a person.

use std::time::Duration;

use serde_json::json;

use crate::audit::{Reader, RunSummary, State};
use crate::capability::{Deadline, HandError, Hands, RealHands};
use crate::model::{
    Glass, GuestError, Name, Reading, ResourceKind, ResourceName, RunId, RunState, ServiceStatus, Verdict, escape_to,
};
use crate::run::{Answers, Approvals, Asked, Site};

use super::Exit;
use super::context::Context;
use super::failure::Failure;
use super::screen::{Screen, Tone};

/// How long one service may take to answer: a status is looked at, not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of what was seen a line holds.
const SHOWN: usize = 200;
/// How many runs are shown.
const RUNS: usize = 10;

/// A service, looked at.
struct Seen {
    resource: ResourceName,
    status: Result<ServiceStatus, GuestError>,
    check: Reading,
}

/// Anything else that is named: storage and configurations by their checks, a command by its program. Nothing is run.
struct Beside {
    resource: ResourceName,
    /// How it is, in words; or what is wrong with it.
    seen: Result<String, String>,
    check: Option<Reading>,
}

pub(super) fn status(context: &Context) -> Result<Exit, Failure> {
    let site = context.site()?;
    let reader = Reader::open(context.home.var())?;
    let state = reader.state()?;
    let hands = site.hands()?;
    let (services, beside) = (services(&site, &hands), beside(&site, &hands));
    let policies = site.policy.len();
    let records = reader.checkpoint()?.size();
    if context.screen.json() {
        context.screen.document("status", &document((&services, &beside), &state, &site, policies, records))?;
    } else {
        show(context, &services, &beside, &state);
        orders(&context.screen, &site);
        glass(&context.screen, &site, &state);
        waits(context, &state, &site);
        context.screen.say(&format!("{policies} policies · {records} signed records"));
        doubts(context, &state);
    }
    Ok(Exit::Ok)
}

fn services(site: &Site, real: &RealHands) -> Vec<Seen> {
    let hands = Hands::real(real.clone());
    let look = |name: &Name| {
        let resource = ResourceName::service(name);
        let check = hands.check(&resource, Deadline::after(PATIENCE));
        let status = real.services().status(name, Deadline::after(PATIENCE)).map_err(HandError::into_guest_error);
        Seen { resource, status, check }
    };
    site.configuration.inventory.services.keys().map(look).collect()
}

fn beside(site: &Site, real: &RealHands) -> Vec<Beside> {
    let hands = Hands::real(real.clone());
    let look = |resource: ResourceName| match resource.kind() {
        ResourceKind::Storage | ResourceKind::Config => {
            let check = hands.check(&resource, Deadline::after(PATIENCE));
            let seen = escape_to(&check.seen, SHOWN);
            let known = check.verdict != Verdict::Unknown;
            Some(Beside { resource, seen: if known { Ok(seen) } else { Err(seen) }, check: Some(check) })
        }
        ResourceKind::Command => {
            let seen = real.touch(&resource, Deadline::after(PATIENCE));
            let seen = seen.map_err(|error| escape_to(&error.to_string(), SHOWN));
            Some(Beside { resource, seen, check: None })
        }
        ResourceKind::Service | ResourceKind::Probe | ResourceKind::Run => None,
    };
    site.configuration.inventory.names().into_iter().filter_map(look).collect()
}

fn document(
    (services, beside): (&[Seen], &[Beside]),
    state: &State,
    site: &Site,
    policies: usize,
    records: u64,
) -> serde_json::Value {
    let services: Vec<_> = services
        .iter()
        .map(|seen| match &seen.status {
            Ok(status) => json!({ "resource": seen.resource, "status": status, "check": seen.check }),
            Err(error) => json!({ "resource": seen.resource, "error": error, "check": seen.check }),
        })
        .collect();
    let beside: Vec<_> = beside
        .iter()
        .map(|one| match &one.seen {
            Ok(seen) => json!({ "resource": one.resource, "seen": seen, "check": one.check }),
            Err(error) => json!({ "resource": one.resource, "error": error, "check": one.check }),
        })
        .collect();
    let runs: Vec<_> = last_runs(state)
        .into_iter()
        .map(|run| {
            json!({
                "run": run.id, "playbook": run.playbook, "incident": run.incident, "target": run.target,
                "state": run.state, "started": run.started.to_string(), "millis": run.millis,
            })
        })
        .collect();
    let in_doubt: Vec<u64> = state.open_intents().keys().copied().collect();
    let now = site.clock.now();
    let standing = site.orders.standing(now);
    let orders: Vec<_> = standing.given().filter(|given| given.holds(now)).collect();
    let waiting: Vec<_> = state
        .waiting()
        .iter()
        .map(|(run, waiting)| {
            let (asked, answers) = plan(site, state, run).unzip();
            let missing = asked.as_ref().zip(answers.as_ref()).map(|(asked, answers)| answers.missing(asked));
            json!({
                "run": run, "plan": waiting.plan, "until": waiting.until.to_string(),
                "playbook": asked.as_ref().map(|asked| &asked.playbook),
                "target": asked.as_ref().map(|asked| &asked.incident.target),
                "exact": answers.as_ref().map(Answers::exact),
                "approved_by": answers.map(|answers| answers.people()), "missing": missing,
            })
        })
        .collect();
    let glass = broken(site, state).into_iter().max_by_key(|glass| glass.until);
    let glass = glass.map(|glass| json!({ "person": glass.person, "until": glass.until.to_string() }));
    json!({
        "services": services, "resources": beside, "runs": runs, "in_doubt": in_doubt, "orders": orders, "waiting": waiting, "glass": glass,
        "policies": policies, "records": records,
    })
}

fn last_runs(state: &State) -> Vec<&RunSummary> {
    let mut runs: Vec<_> = state.runs().iter().rev().take(RUNS).collect();
    runs.reverse();
    runs
}

fn show(context: &Context, services: &[Seen], beside: &[Beside], state: &State) {
    let screen = &context.screen;
    let service = |seen: &Seen| {
        let what = match &seen.status {
            Ok(status) if status.stopped_by_person => "stopped by a person".to_owned(),
            Ok(status) => status.state.word().to_owned(),
            Err(error) => escape_to(&error.message, SHOWN),
        };
        let tone = if seen.check.verdict == Verdict::Healthy { Tone::Good } else { Tone::Bad };
        let check = format!("{} {}", screen.paint(tone, seen.check.verdict.word()), escape_to(&seen.check.seen, SHOWN));
        vec![seen.resource.to_string(), what, check]
    };
    let other = |one: &Beside| {
        let tone = match (&one.seen, &one.check) {
            (Ok(_), Some(check)) if check.verdict == Verdict::Healthy => Tone::Good,
            (Ok(_), None) => Tone::Faint,
            _ => Tone::Bad,
        };
        let word = one.check.as_ref().map_or("named", |check| check.verdict.word());
        let word = if one.seen.is_err() && one.check.is_none() { "FAULT" } else { word };
        let seen = one.seen.as_ref().unwrap_or_else(|error| error);
        vec![one.resource.to_string(), "-".to_owned(), format!("{} {seen}", screen.paint(tone, word))]
    };
    let rows: Vec<_> = services.iter().map(service).chain(beside.iter().map(other)).collect();
    if rows.is_empty() {
        screen.say(&format!(
            "nothing is named; name a service in {}",
            context.home.etc().join("guardian.toml").display()
        ));
    } else {
        screen.table(&["RESOURCE", "STATE", "CHECK"], &rows);
    }
    screen.say("");
    let row = |run: &RunSummary| {
        let tone = if run.state == RunState::Healed { Tone::Good } else { Tone::Bad };
        let (started, end) = (run.started.to_string(), screen.paint(tone, run.state.word()));
        vec![run.id.to_string(), started, run.playbook.to_string(), run.target.to_string(), end]
    };
    let runs: Vec<_> = last_runs(state).into_iter().map(row).collect();
    if !runs.is_empty() {
        screen.table(&["RUN", "STARTED", "PLAYBOOK", "TARGET", "END"], &runs);
        screen.say("");
    }
}

/// What people ordered that holds now: the reason for not acting is as visible as an act (INVARIANT 11).
fn orders(screen: &Screen, site: &Site) {
    let now = site.clock.now();
    for given in site.orders.standing(now).given().filter(|given| given.holds(now)) {
        screen.say(&screen.paint(Tone::Warn, &given.to_string()));
    }
}

/// Broken glass is loud for as long as it lasts.
fn glass(screen: &Screen, site: &Site, state: &State) {
    for Glass { person, reason, until, .. } in broken(site, state) {
        let word = screen.paint(Tone::Bad, "GLASS BROKEN");
        let end = format!("end it with `guardian{} break-glass --end --reason WHY`", site.home.flag());
        screen.say(&format!("{word} by {person} until {until}: {}; {end}", escape_to(&reason, 200)));
    }
}

fn broken(site: &Site, state: &State) -> Vec<Glass> {
    let there = Approvals::there(site).ok().flatten();
    there.and_then(|approvals| approvals.broken_glass(site, state).ok()).unwrap_or_default()
}

/// The plans that wait, and what people have said to them.
fn waits(context: &Context, state: &State, site: &Site) {
    let (screen, flag) = (&context.screen, context.home.flag());
    for (run, waiting) in state.waiting() {
        let (about, stands) = match plan(site, state, run) {
            Some((asked, answers)) => {
                let about = format!("{} on {}, ", asked.playbook, asked.incident.target);
                let missing = answers.missing(&asked);
                let nobody = answers.people().is_empty();
                let by = if nobody { String::new() } else { format!("; approved by {}", answers.so_far()) };
                let next = match (&answers.no, missing.is_empty()) {
                    _ if waiting.until <= site.clock.now() => "its time is over: run it again".to_owned(),
                    (Some((person, _)), _) => format!("rejected by {person}; the next run ends it"),
                    (None, true) => format!("go on with `guardian{flag} run --resume {run}`"),
                    (None, false) => missing.join("; "),
                };
                (about, format!("{by}; {next}"))
            }
            None => (String::new(), "; its plan cannot be read: run it again".to_owned()),
        };
        let word = screen.paint(Tone::Warn, "waits for approval:");
        screen.say(&format!("{word} {run}, {about}until {}{stands} (plan {})", waiting.until, waiting.plan));
    }
}

fn plan(site: &Site, state: &State, run: &RunId) -> Option<(Asked, Answers)> {
    let approvals = Approvals::there(site).ok()??;
    let asked = approvals.asked(site, state, run).ok()?;
    let answers = approvals.answers(site, &asked).ok()?;
    Some((asked, answers))
}

fn doubts(context: &Context, state: &State) {
    let (screen, flag) = (&context.screen, context.home.flag());
    for (record, open) in state.open_intents() {
        let word = screen.paint(Tone::Warn, "needs a look:");
        let resource = escape_to(&open.resource, 120);
        screen.say(&format!(
            "{word} {} {resource} (record {record}) has no outcome: a run is under way, or guardian ended before it was known; then look, and say what you found with `guardian{flag} audit settle {record} --reason WHAT-YOU-FOUND`",
            open.verb
        ));
    }
}
