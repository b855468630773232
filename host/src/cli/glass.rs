//! `guardian break-glass`: a person lets a run do what no hard rule forbids, for a while; or ends that.
//!
//! Breaking it needs a person's key and stands on the trail before it counts. Ending it only takes away, so it is an order
//! like a freeze: it needs no key, waits for no run, and takes hold before the next call of one that is under way.

use serde_json::json;

use crate::audit::Reader;
use crate::model::{Given, Order, escape_to};
use crate::run::{Approvals, LONGEST_GLASS, actor};
use crate::trust::Word;

use super::Exit;
use super::approve::{load, time};
use super::arguments::GlassArguments;
use super::context::Context;
use super::failure::Failure;
use super::order::record;
use super::screen::Tone;

pub(super) fn break_glass(context: &Context, given: &GlassArguments) -> Result<Exit, Failure> {
    if given.reason.trim().is_empty() {
        return Err(Failure::usage("say why: --reason must not be empty".to_owned()));
    }
    let Some(key) = given.key.as_ref().filter(|_| !given.end) else { return end(context, &given.reason) };
    let time = time(&given.time)?;
    if time > LONGEST_GLASS {
        return Err(Failure::usage("--for: glass stays broken for an hour at most".to_owned()));
    }
    let key = load(key)?;
    let (site, lock) = context.site_to_write(None)?;
    let trail = site.open_trail(lock)?;
    let now = site.clock.now();
    let (reason, until) = (escape_to(&given.reason, 1_000), now.plus(time));
    let word = Word::BreakGlass { trail: site.trail_key()?, reason, at: now, until };
    let (person, until) = Approvals::open(&site)?.break_glass(&site, &trail, &word.sign(&key))?;
    trail.close()?;
    let screen = &context.screen;
    if screen.json() {
        screen.document("break-glass", &json!({ "person": person, "until": until.to_string() }))?;
    } else {
        let loud = screen.paint(Tone::Bad, "GLASS BROKEN");
        screen.say(&format!("{loud} by {person} until {until}; it is on record"));
        let flag = context.home.flag();
        screen
            .say(&format!("use it with `guardian{flag} run PUBLISHER/NAME ... --break-glass`; hard rules still hold"));
        screen.say(&format!("end it early with `guardian{flag} break-glass --end --reason WHY`"));
    }
    Ok(Exit::Ok)
}

/// Ends all glass that is broken. Ending what is over already changes nothing.
fn end(context: &Context, reason: &str) -> Result<Exit, Failure> {
    let site = context.site()?;
    let state = Reader::open(site.home.var())?.state()?;
    let broken = match Approvals::there(&site)? {
        Some(approvals) => approvals.broken_glass(&site, &state)?,
        None => Vec::new(),
    };
    let people: Vec<_> = broken.iter().map(|glass| &glass.person).collect();
    let mut recorded = true;
    if !broken.is_empty() {
        let at = site.clock.now();
        let until = at.plus(LONGEST_GLASS);
        let given = Given { what: Order::EndGlass, at, until, reason: escape_to(reason, 1_000), by: actor() };
        site.orders.change()?.give(&given)?;
        recorded = record(context, &site)?;
    }
    let screen = &context.screen;
    if screen.json() {
        screen.document("break-glass", &json!({ "ended": people, "recorded": recorded }))?;
        return Ok(Exit::Ok);
    }
    let all: Vec<String> = people.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => screen.say("no glass is broken: there is nothing to end"),
        all => screen.say(&screen.paint(Tone::Good, &format!("the glass that {} broke is over", all.join(", ")))),
    }
    if !recorded {
        screen.say("a run holds the trail: it sees this before its next call, and puts it on record");
    }
    Ok(Exit::Ok)
}
