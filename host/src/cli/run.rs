//! `guardian run`: heal one thing now.

use std::sync::Arc;

use crate::capability::Hands;
use crate::inventory::parse_duration;
use crate::run::{Request, RunReport, Site, execute};

use super::Exit;
use super::arguments::{IncidentArguments, RunArguments};
use super::context::Context;
use super::failure::Failure;
use super::screen::{Screen, Tone};
use super::story;

pub(super) fn run(context: &Context, given: &RunArguments) -> Result<Exit, Failure> {
    let mut site = context.site()?;
    if let Some(wait) = &given.wait {
        site.configuration.audit.wait =
            parse_duration(wait).map_err(|problem| Failure::usage(format!("--wait: {problem}")))?;
    }
    let request = request(&site, &given.incident)?;
    let report = one(&site, &request, &context.screen)?;
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
pub(super) fn one(site: &Site, request: &Request, screen: &Screen) -> Result<RunReport, Failure> {
    let trail = Arc::new(site.open_trail()?);
    let in_doubt = trail.in_doubt();
    if !in_doubt.is_empty() {
        let numbers: Vec<String> = in_doubt.iter().map(|(seq, _)| seq.to_string()).collect();
        screen.say(&format!(
            "{} what became of the intents in record {} is not known: guardian ended before their outcome; look at them with `guardian audit show`",
            screen.paint(Tone::Warn, "note:"),
            numbers.join(", ")
        ));
    }
    let shown = Screen::new(screen.json());
    let watcher = Box::new(move |call: &crate::gate::Call| shown.say(&story::call(&shown, call, false)));
    let hands = Arc::new(Hands::real(site.hands()?));
    screen.say(&format!("run {} for {} on {}", request.playbook, request.kind, request.target));
    let report = execute(site, Arc::clone(&trail), hands, request, watcher);
    if let Some(trail) = Arc::into_inner(trail) {
        trail.close()?;
    }
    Ok(report?)
}
