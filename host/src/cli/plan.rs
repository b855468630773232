//! `guardian plan`: what would happen, by the same bytes and the same policy.

use std::collections::BTreeSet;

use crate::model::{EffectClass, RunState, escape_to};
use crate::run::plan as plan_run;

use super::Exit;
use super::arguments::PlanArguments;
use super::context::Context;
use super::failure::Failure;
use super::run::request;
use super::screen::{Screen, Tone, counted};
use super::story::{self, WHAT_IS_APPROVED};

/// How much of a resource's name a line holds.
const SHOWN: usize = 120;

pub(super) fn plan(context: &Context, given: &PlanArguments) -> Result<Exit, Failure> {
    let fails = given.assume.iter().map(|text| read_assumption(text)).collect::<Result<BTreeSet<u32>, Failure>>()?;
    let site = context.site()?;
    let request = request(&site, &given.incident)?;
    let screen = &context.screen;
    screen.say(&format!("plan {} for {} on {}: nothing is changed", request.playbook, request.kind, request.target));
    let shown = Screen::new(screen.json(), site.home.flag());
    let watcher = Box::new(move |call: &crate::gate::Call| shown.say(&story::call(&shown, call, true)));
    let report = plan_run(&site, &request, fails, watcher)?;
    if screen.json() {
        screen.document("plan", &report.to_json())?;
        return Ok(exit(report.state));
    }
    story::end(screen, &report);
    // The very list that the plan's digest covers and people approve: what was denied or could not be made ready is not in it.
    let effects = &report.transcript.effects;
    screen.say(&screen.paint(Tone::Head, &format!("the plan: {}", counted(effects.len(), "effect"))));
    for (number, effect) in effects.iter().enumerate() {
        let class = effect.class();
        let undo = match class {
            EffectClass::Reversible => "can be put back",
            EffectClass::Irreversible => "CANNOT be put back",
            EffectClass::Transient | EffectClass::Read => "leaves nothing to put back",
        };
        let resource = escape_to(&effect.resource, SHOWN);
        screen.say(&format!("  {}. {} {resource} ({class}, {undo})", number + 1, effect.action));
    }
    let gates: BTreeSet<&str> = report.transcript.gates.iter().map(String::as_str).collect();
    if !gates.is_empty() {
        let gates = gates.into_iter().collect::<Vec<_>>().join(", ");
        screen.say(&format!(
            "it meets the gate {gates}: `guardian run` would show this plan and wait for people (exit 6)"
        ));
        screen.say(&format!("  {WHAT_IS_APPROVED}"));
    }
    Ok(exit(report.state))
}

/// A plan that shows an unhealed end was still a plan: only a refusal or a lost trail is a failure of the command.
const fn exit(state: RunState) -> Exit {
    match state {
        RunState::NotHealed => Exit::Ok,
        other => story::exit(other),
    }
}

fn read_assumption(text: &str) -> Result<u32, Failure> {
    text.strip_prefix("fail:").and_then(|number| number.parse().ok()).filter(|number| *number > 0).ok_or_else(|| {
        Failure::usage(format!("--assume takes fail:N with N from 1, not `{}`", crate::model::escape_to(text, 40)))
    })
}
