//! `guardian pause`, `freeze` and their opposites: a person's word, which takes hold within one call.
//!
//! The order is a file that the gate of a running process sees before its next call; nobody has to wait for the trail. If no
//! run holds the trail it is recorded right here, else by the run that sees it.

use std::time::Duration;

use serde_json::json;

use crate::gate::Approvals;
use crate::inventory::parse_duration;
use crate::model::{Given, Order, ResourceName, escape, escape_to};
use crate::run::{Site, actor};

use super::Exit;
use super::arguments::PauseArguments;
use super::context::Context;
use super::failure::Failure;
use super::screen::Tone;

/// The longest that an order holds: a longer one is a change of policy, and belongs there.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn pause(context: &Context, given: &PauseArguments) -> Result<Exit, Failure> {
    let what = Order::Pause { resource: resource(context, &given.resource)? };
    let time = time(&given.time)?;
    order(context, what, time, &given.reason)
}

pub(super) fn unpause(context: &Context, resource_name: &str, reason: &str) -> Result<Exit, Failure> {
    let what = Order::Pause { resource: resource(context, resource_name)? };
    order(context, what, Duration::ZERO, reason)
}

pub(super) fn freeze(context: &Context, given: &str, reason: &str) -> Result<Exit, Failure> {
    order(context, Order::Freeze, time(given)?, reason)
}

pub(super) fn unfreeze(context: &Context, reason: &str) -> Result<Exit, Failure> {
    order(context, Order::Freeze, Duration::ZERO, reason)
}

fn resource(context: &Context, given: &str) -> Result<ResourceName, Failure> {
    let site = context.site()?;
    let inventory = &site.configuration.inventory;
    let resource: ResourceName = given.parse().map_err(|_| inventory.unknown(given))?;
    if inventory.has(&resource) { Ok(resource) } else { Err(inventory.unknown(given).into()) }
}

fn time(given: &str) -> Result<Duration, Failure> {
    let time = parse_duration(given).map_err(|problem| Failure::usage(format!("--for: {problem}")))?;
    if time.is_zero() || time > LONGEST {
        return Err(Failure::usage("--for must be more than 0 and at most 30 days".to_owned()));
    }
    Ok(time)
}

/// Gives an order; one that holds for no time lifts an earlier one.
fn order(context: &Context, what: Order, time: Duration, reason: &str) -> Result<Exit, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::usage("say why: --reason must not be empty".to_owned()));
    }
    let site = context.site()?;
    let now = site.clock.now();
    let standing = site.orders.standing(now);
    if time.is_zero() && !standing.given().any(|given| given.what == what && given.holds(now)) {
        return Err(Failure::usage("there is nothing to lift; `guardian status` shows what people ordered".to_owned()));
    }
    let given = Given { what, at: now, until: now.plus(time), reason: escape_to(reason, 1_000), by: actor() };
    site.orders.give(&given)?;
    let recorded = record(context, &site)?;
    if let Some(doubt) = site.orders.standing(site.clock.now()).doubt() {
        return Err(Failure::usage(format!("the order is given, and everything stays frozen all the same: {doubt}")));
    }
    let screen = &context.screen;
    if screen.json() {
        screen.document("order", &json!({ "order": given, "recorded": recorded }))?;
        return Ok(Exit::Ok);
    }
    let words = words(&given);
    let tone = if given.lifts() { Tone::Good } else { Tone::Warn };
    screen.say(&screen.paint(tone, &words));
    if !recorded {
        screen.say("a run holds the trail: it sees this before its next call, and puts it on record");
    }
    Ok(Exit::Ok)
}

/// Gives an order for as long as `act` takes, so that a run that holds the trail is stopped before its next call while the
/// person waits for it. `most` is how long it holds if this process goes away in between.
pub(super) fn while_ordered<T>(
    site: &Site,
    (what, reason): (Order, &str),
    most: Duration,
    act: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let now = site.clock.now();
    let earlier = site.orders.standing(now).written().find(|given| given.what == what && given.holds(now)).cloned();
    // A longer order of somebody else stays as it is.
    if earlier.as_ref().is_some_and(|earlier| earlier.until >= now.plus(most)) {
        return act();
    }
    let given = Given { what, at: now, until: now.plus(most), reason: reason.to_owned(), by: actor() };
    site.orders.give(&given)?;
    let done = act();
    // What did not work leaves the order standing: nobody acts against a person who is trying. What made no sense does not:
    // a slip of the pen must not keep anything from being healed.
    if done.as_ref().is_err_and(|failure| failure.exit != Exit::Usage) {
        return done;
    }
    let now = site.clock.now();
    let after = earlier.filter(|earlier| earlier.holds(now));
    site.orders.give(&after.unwrap_or(Given { at: now, until: now, reason: "done".to_owned(), ..given }))?;
    done
}

/// An order in words, for a person.
pub(super) fn words(given: &Given) -> String {
    let what = match &given.what {
        Order::Pause { resource } => format!("{resource} is paused"),
        Order::Freeze => "everything is frozen".to_owned(),
        Order::Withdraw { publisher } => format!("the publisher {publisher} is withdrawn"),
    };
    let reason = escape(&given.reason);
    if given.lifts() {
        return format!("{} no longer: {reason}", what);
    }
    format!("{what} until {} (uid {}): {reason}", given.until, given.by.uid)
}

/// Puts new orders on the trail, if nobody holds it. Says whether it did.
pub(super) fn record(context: &Context, site: &Site) -> Result<bool, Failure> {
    let Ok((_, lock)) = context.site_to_write(Some(Duration::ZERO)) else { return Ok(false) };
    let trail = std::sync::Arc::new(site.open_trail(lock)?);
    let hands = std::sync::Arc::new(crate::capability::Hands::real(site.hands()?));
    let parts = site.parts(std::sync::Arc::clone(&trail), hands, site.kept()?, Approvals::Required);
    parts.take_down()?;
    drop(parts);
    if let Some(closed) = std::sync::Arc::into_inner(trail).map(crate::audit::Trail::close) {
        closed?;
    }
    Ok(true)
}
