//! `guardian pause`, `freeze` and their opposites: a person's word, which takes hold within one call.
//!
//! The order is a file that the gate of a running process sees before its next call; nobody has to wait for the trail. If no
//! run holds the trail it is recorded right here, else by the run that sees it. What stands is changed under a lock, in sight of
//! it: what two people order at once, both have ordered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{Trail, TrailLock};
use crate::capability::Hands;
use crate::gate::Approvals;
use crate::inventory::parse_duration;
use crate::model::{Given, Order, ResourceName, escape_to};
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
    let given = give(&site, what, time, reason)?;
    let recorded = record(context, &site)?;
    if let Some(doubt) = site.orders.standing(site.clock.now()).doubt() {
        return Err(Failure::usage(format!("the order is given, and everything stays frozen all the same: {doubt}")));
    }
    let screen = &context.screen;
    if screen.json() {
        screen.document("order", &json!({ "order": given, "recorded": recorded }))?;
        return Ok(Exit::Ok);
    }
    let tone = if given.lifts() { Tone::Good } else { Tone::Warn };
    screen.say(&screen.paint(tone, &given.to_string()));
    if !recorded {
        screen.say("a run holds the trail: it sees this before its next call, and puts it on record");
    }
    Ok(Exit::Ok)
}

/// Gives an order in sight of the one that stands: nobody's longer word is cut short, and nobody's newer word is lifted.
fn give(site: &Site, what: Order, time: Duration, reason: &str) -> Result<Given, Failure> {
    let seen = site.orders.standing(site.clock.now());
    let change = site.orders.change()?;
    let now = site.clock.now();
    let found = change.standing(&what);
    let damaged = found.is_err();
    let stands = found.ok().flatten().filter(|given| given.holds(now));
    let mut given = Given { what, at: now, until: now.plus(time), reason: escape_to(reason, 1_000), by: actor() };
    if !given.lifts() {
        if let Some(longer) = stands.filter(|stands| stands.until > given.until) {
            let before = format!("{reason}; longer (uid {}): {}", longer.by.uid, escape_to(&longer.reason, 200));
            given.reason = escape_to(&before, 1_000);
            given.until = longer.until;
        }
    } else if let Some(stands) = stands {
        if !seen.written().any(|seen| *seen == stands) {
            return Err(Failure::usage(format!(
                "nothing was lifted, because somebody has ordered it anew in this moment: {stands}; lift that if you mean it"
            )));
        }
    } else if !damaged && (given.what != Order::Freeze || seen.doubt().is_none()) {
        // A freeze is what an order counts as which cannot be read; the file itself is mended by ordering the same thing anew.
        return Err(Failure::usage("there is nothing to lift; `guardian status` shows what people ordered".to_owned()));
    }
    change.give(&given)?;
    Ok(given)
}

/// Gives an order for as long as `act` takes, so that a run that holds the trail is stopped before its next call while the
/// person waits for it. `most` is how long it holds if this process goes away in between.
pub(super) fn while_ordered<T>(
    site: &Site,
    (what, reason): (Order, &str),
    most: Duration,
    act: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let change = site.orders.change()?;
    let now = site.clock.now();
    let earlier = change.standing(&what).map(|earlier| earlier.filter(|given| given.holds(now)));
    let given = Given { what, at: now, until: now.plus(most), reason: reason.to_owned(), by: actor() };
    // A longer order of somebody else stays as it is; so does one that cannot be read, which stops everything.
    let longer = |earlier: &Option<Given>| earlier.as_ref().is_some_and(|earlier| earlier.until >= given.until);
    let stays = earlier.as_ref().map_or(true, longer);
    if !stays {
        change.give(&given)?;
    }
    drop(change);
    let done = act();
    // What did not work leaves the order standing: nobody acts against a person who is trying. What made no sense does not:
    // a slip of the pen must not keep anything from being healed.
    if stays || done.as_ref().is_err_and(|failure| failure.exit != Exit::Usage) {
        return done;
    }
    let change = site.orders.change()?;
    // Only this order is taken back. If another one stands by now, that is somebody's word, and it says how long.
    if change.standing(&given.what).is_ok_and(|stands| stands.as_ref() == Some(&given)) {
        let now = site.clock.now();
        let after = earlier.ok().flatten().filter(|earlier| earlier.holds(now));
        change.give(&after.unwrap_or(Given { at: now, until: now, reason: "done".to_owned(), ..given }))?;
    }
    done
}

/// Puts new orders on the trail, if no run holds it. Says whether it did.
pub(super) fn record(context: &Context, site: &Site) -> Result<bool, Failure> {
    let Some((_, lock)) = context.site_to_write_if_free().map_err(not_recorded)? else { return Ok(false) };
    take_down(site, lock).map_err(not_recorded)?;
    Ok(true)
}

fn take_down(site: &Site, lock: TrailLock) -> Result<(), Failure> {
    let trail = Arc::new(site.open_trail(lock)?);
    let hands = Arc::new(Hands::real(site.hands()?));
    let parts = site.parts(Arc::clone(&trail), hands, site.kept()?, Approvals::Required);
    parts.take_down()?;
    drop(parts);
    Arc::into_inner(trail).map_or(Ok(()), Trail::close).map_err(Failure::from)
}

/// An order takes hold without the trail.
fn not_recorded(failure: Failure) -> Failure {
    let message = format!("the order is given and holds, and it is not on record: {}", failure.message);
    Failure { message, ..failure }
}
