//! `guardian plan`: what would happen, by the same bytes and the same policy.

use std::collections::BTreeSet;

use crate::gate::Passage;
use crate::model::{EffectClass, RunState};
use crate::run::plan as plan_run;

use super::Exit;
use super::arguments::PlanArguments;
use super::context::Context;
use super::failure::Failure;
use super::run::request;
use super::screen::{Screen, Tone};
use super::story;

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
    let effects: Vec<_> =
        report.transcript.calls.iter().filter(|call| call.class.is_effect() && was_tried(&call.passage)).collect();
    screen.say(&screen.paint(Tone::Head, &format!("the plan: {} effects", effects.len())));
    for (number, call) in effects.iter().enumerate() {
        let undo = match call.class {
            EffectClass::Reversible => "can be put back",
            EffectClass::Irreversible => "CANNOT be put back",
            EffectClass::Transient | EffectClass::Read => "leaves nothing to put back",
        };
        screen.say(&format!("  {}. {} {} ({}, {undo})", number + 1, call.action, call.resource, call.class));
    }
    Ok(exit(report.state))
}

/// What was denied is not part of the plan: it would not be done.
const fn was_tried(passage: &Passage) -> bool {
    matches!(passage, Passage::Done { .. } | Passage::Failed { .. })
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
