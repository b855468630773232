//! `guardian run`: heal one thing now, or go on with what people approved.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Trail, TrailLock};
use crate::capability::Hands;
use crate::inventory::parse_duration;
use crate::model::Glass;
use crate::run::{Approvals, Request, RunError, RunReport, Site, Watcher, execute, resume};

use super::Exit;
use super::arguments::{IncidentArguments, RunArguments};
use super::context::Context;
use super::failure::Failure;
use super::screen::{Screen, Tone};
use super::story;

pub(super) fn run(context: &Context, given: &RunArguments) -> Result<Exit, Failure> {
    let (site, lock) = context.site_to_write(wait(given.wait.as_deref())?)?;
    // The process ends with the run: taking the policy apart piece by piece would be half a millisecond for nobody.
    let site = ManuallyDrop::new(site);
    let screen = &context.screen;
    let report = match (&given.resume, &given.incident) {
        (Some(run), _) => again(&site, lock, run, screen)?,
        (None, Some(incident)) => {
            let request = request(&site, incident)?;
            one(&site, lock, &request, given.break_glass, screen)?
        }
        (None, None) => return Err(Failure::usage("name a playbook, or a run with --resume".to_owned())),
    };
    if screen.json() {
        screen.document("run", &report.to_json())?;
    } else {
        story::end(screen, &report);
        story::what_to_do(screen, &report, &context.home);
    }
    Ok(story::exit(report.state))
}

/// `--wait`.
pub(super) fn wait(given: Option<&str>) -> Result<Option<Duration>, Failure> {
    let wait = given.map(parse_duration).transpose();
    wait.map_err(|problem| Failure::usage(format!("--wait: {problem}")))
}

pub(super) fn request(site: &Site, given: &IncidentArguments) -> Result<Request, Failure> {
    let inventory = &site.configuration.inventory;
    Ok(Request::new(inventory, &given.playbook, &given.incident, &given.target, given.severity, &given.labels)?)
}

/// Runs one request on an opened home, and shows each call as it ends. With `glass` under the glass that somebody broke.
pub(super) fn one(
    site: &Site,
    lock: TrailLock,
    request: &Request,
    glass: bool,
    screen: &Screen,
) -> Result<RunReport, Failure> {
    screen.say(&format!("run {} for {} on {}", request.playbook, request.kind, request.target));
    carried(site, lock, screen, |trail, hands, watcher| {
        let broken = || -> Result<Glass, RunError> {
            let glass = Approvals::open(site)?.glass_for(site, &trail, &request.playbook)?;
            let loud = screen.paint(Tone::Bad, "GLASS BROKEN");
            screen.say(&format!(
                "{loud} by {} until {}: permitted is what no hard rule forbids",
                glass.person, glass.until
            ));
            Ok(glass)
        };
        let glass = glass.then(broken).transpose()?;
        execute(site, trail, hands, request, glass, watcher)
    })
}

/// Goes on with a run that people approved.
fn again(site: &Site, lock: TrailLock, run: &str, screen: &Screen) -> Result<RunReport, Failure> {
    let run = run.parse().map_err(|error| Failure::usage(format!("--resume: {error}")))?;
    screen.say(&format!("going on with {run}"));
    carried(site, lock, screen, |trail, hands, watcher| resume(site, trail, hands, &run, watcher))
}

/// Opens trail and hands, runs, and closes. A signal that asks the process to end lets no further call begin.
fn carried(
    site: &Site,
    lock: TrailLock,
    screen: &Screen,
    run: impl FnOnce(Arc<Trail>, Arc<Hands>, Watcher) -> Result<RunReport, RunError>,
) -> Result<RunReport, Failure> {
    heed_signals(site)?;
    let trail = Arc::new(site.open_trail(lock)?);
    let shown = Screen::new(screen.json(), site.home.flag());
    let watcher = Box::new(move |call: &crate::gate::Call| shown.say(&story::call(&shown, call, false)));
    let hands = Arc::new(Hands::real(site.hands()?));
    let report = run(Arc::clone(&trail), hands, watcher);
    // The end of the run is durable by now, or the report says that it is not; what closing still publishes is retried.
    if let Some(Err(error)) = Arc::into_inner(trail).map(crate::audit::Trail::close) {
        tracing::warn!("{error}");
    }
    Ok(report?)
}

/// SIGINT and SIGTERM end a run between two calls, so that nothing is left half done; a second one ends the process at once,
/// as it would have without this.
fn heed_signals(site: &Site) -> Result<(), Failure> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let flag = &site.interrupted;
        signal_hook::flag::register_conditional_default(signal, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .map_err(|error| Failure::other(format!("signals cannot be heeded: {error}")))?;
    }
    Ok(())
}
