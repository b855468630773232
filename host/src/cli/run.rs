//! `guardian run`: heal one thing now.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::audit::TrailLock;
use crate::capability::Hands;
use crate::inventory::parse_duration;
use crate::run::{Request, RunReport, Site, execute};

use super::Exit;
use super::arguments::{IncidentArguments, RunArguments};
use super::context::Context;
use super::failure::Failure;
use super::screen::Screen;
use super::story;

pub(super) fn run(context: &Context, given: &RunArguments) -> Result<Exit, Failure> {
    let wait = given.wait.as_deref().map(parse_duration).transpose();
    let wait = wait.map_err(|problem| Failure::usage(format!("--wait: {problem}")))?;
    let (site, lock) = context.site_to_write(wait)?;
    // The process ends with the run: taking the policy apart piece by piece would be half a millisecond for nobody.
    let site = ManuallyDrop::new(site);
    let request = request(&site, &given.incident)?;
    let report = one(&site, lock, &request, &context.screen)?;
    if context.screen.json() {
        context.screen.document("run", &report.to_json())?;
    } else {
        story::end(&context.screen, &report);
    }
    Ok(story::exit(report.state))
}

pub(super) fn request(site: &Site, given: &IncidentArguments) -> Result<Request, Failure> {
    let inventory = &site.configuration.inventory;
    Ok(Request::new(inventory, &given.playbook, &given.incident, &given.target, given.severity, &given.labels)?)
}

/// Runs one request on an opened home, and shows each call as it ends.
pub(super) fn one(site: &Site, lock: TrailLock, request: &Request, screen: &Screen) -> Result<RunReport, Failure> {
    let trail = Arc::new(site.open_trail(lock)?);
    let shown = Screen::new(screen.json(), site.home.flag());
    let watcher = Box::new(move |call: &crate::gate::Call| shown.say(&story::call(&shown, call, false)));
    let hands = Arc::new(Hands::real(site.hands()?));
    screen.say(&format!("run {} for {} on {}", request.playbook, request.kind, request.target));
    let report = execute(site, Arc::clone(&trail), hands, request, watcher);
    // The end of the run is durable by now, or the report says that it is not; what closing still publishes is retried.
    if let Some(Err(error)) = Arc::into_inner(trail).map(crate::audit::Trail::close) {
        tracing::warn!("{error}");
    }
    Ok(report?)
}
