//! `guardian service`: a person's own hand on a service.
//!
//! A person's hand wins (INVARIANT 11): what is stopped here is remembered as a person's, and no playbook starts it until
//! it is started here again, or through its own supervisor. It needs no permit, because the operator is not judged by
//! their own policy; it stands on the trail with who it was.

use std::time::Duration;

use serde_json::json;

use crate::audit::Body;
use crate::capability::Deadline;
use crate::model::{ErrorCode, Name, Order, ResourceName, ServiceVerb, Verb, escape};

use super::Exit;
use super::arguments::ServiceCommand;
use super::context::Context;
use super::failure::Failure;
use super::order;
use super::screen::Tone;

/// How long a person's stop keeps playbooks away if it does not come to its end.
const PAUSE: Duration = Duration::from_secs(600);
/// How long it waits for a run that holds the trail: guest code and the check of one that does what it may.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn execute(context: &Context, command: ServiceCommand) -> Result<Exit, Failure> {
    let (verb, given) = match command {
        ServiceCommand::Start { name } => (ServiceVerb::Start, name),
        ServiceCommand::Stop { name } => (ServiceVerb::Stop, name),
    };
    let before = context.site()?;
    let inventory = &before.configuration.inventory;
    // `service.web` and `web` are both what a person means here.
    let plain = given.strip_prefix("service.").unwrap_or(&given);
    let name: Name = plain.parse().map_err(|_| inventory.unknown(&format!("service.{plain}")))?;
    let resource = ResourceName::service(&name);
    inventory.service(&resource)?;
    if verb == ServiceVerb::Start {
        return by_hand(context, verb, &name, &resource);
    }
    // INVARIANT 11: a run that holds the trail does nothing more to it while the person waits for their turn.
    let pause = (Order::Pause { resource: resource.clone() }, "a person is stopping it");
    order::while_ordered(&before, pause, PAUSE, || by_hand(context, verb, &name, &resource))
}

fn by_hand(context: &Context, verb: ServiceVerb, name: &Name, resource: &ResourceName) -> Result<Exit, Failure> {
    let (site, lock) = context.site_to_write(Some(PATIENCE))?;
    let hands = site.hands()?;
    let trail = site.open_trail(lock)?;
    let action = Verb::Service(verb).id().to_owned();
    let record = |result: String| {
        let body = Body::Person { action: action.clone(), resource: resource.clone(), result };
        trail.append_durable(None, body)
    };
    // INVARIANT 1 holds for people too: first who asked for what, then the act.
    record("asked".to_owned())?;
    let acted = hands.services().by_person(verb, name, Deadline::after(site.configuration.limits.call_time()));
    let noted = record(acted.as_ref().map_or_else(|error| escape(&error.to_string()), |_| "done".to_owned()));
    let status = acted.map_err(|error| Failure {
        exit: if error.code() == ErrorCode::Indeterminate { Exit::Indeterminate } else { Exit::Other },
        message: error.to_string(),
    })?;
    noted?;
    trail.close()?;
    if context.screen.json() {
        context.screen.document("service", &json!({ "resource": resource, "status": status }))?;
    } else {
        let word = context.screen.paint(Tone::Good, status.state.word());
        let held = if status.stopped_by_person { "; no playbook starts it until you do" } else { "" };
        context.screen.say(&format!("{resource} is {word}{held}"));
    }
    Ok(Exit::Ok)
}
