//! A whole run in a process that stands ready, as in the daemon: the playbook is admitted and its code loaded, and from
//! there on everything is on: limits, watch, gate, policy, records of the run's start and end and of every call.
//!
//! Against it: the same component on bare wasmtime. Beside it, without a bar, the same run through the front door: read
//! from the store, verified, walked, code checked and loaded, its end durable and a checkpoint published.

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use guardian::audit::Body;
use guardian::gate::Halt;
use guardian::model::{Clock as _, RunId, RunState, SystemClock};
use guardian::run::{Request, admit, execute};
use guardian::sandbox::{self, CallError, GuestEnd, Program};

use crate::bare::{self, Bare};
use crate::guest;
use crate::reading::Stage;
use crate::report::{Bar, Report};
use crate::timing::{in_turns, micros};

const RUNS: u32 = 400;
const PASSES: u32 = 15;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let bare = Bare::new(&guest::LOOK.component()?)?;
    let (stage, incident) = (Stage::new(100)?, bare::incident());
    let request = Request::new(
        &stage.site.configuration.inventory,
        "bench/look",
        "service_crashed",
        "service.web",
        5,
        &crate::reading::LABELS.map(|(key, value)| format!("{key}={value}")),
    )?;
    let admitted = stage.trail.state(|state| admit(&stage.site, state, &request, false))?;
    let program = stage.site.program(&admitted)?;
    let start = Start { component: *admitted.verified().digest(), engine: stage.site.engine_hash()? };
    let pair =
        in_turns(PASSES, || micros(RUNS, || bare.run(&incident)), || micros(RUNS, || one(&stage, &program, &start)))?;
    report.pair("run.in_process", "us", pair, "bare wasmtime", Bar::RatioAtMost(3.5));
    let whole = in_turns(
        5,
        || micros(RUNS, || bare.run(&incident)),
        || micros(20, || through_the_front_door(&stage, &request)),
    )?;
    report.pair("run.execute", "us", whole, "bare wasmtime; here with verify, load, syncs", Bar::Shown);
    drop(program);
    stage.close()
}

struct Start {
    component: guardian::model::Digest,
    engine: String,
}

/// One run of a program that was admitted before.
fn one(stage: &Stage, program: &Program, start: &Start) -> Result<()> {
    let id = RunId::new(SystemClock::default().now(), 7);
    let body = Body::RunStart {
        playbook: stage.playbook.clone(),
        release: 1,
        component: start.component,
        policy: stage.site.policy.digest(),
        trust: stage.site.trust.digest(),
        incident: stage.incident.clone(),
        engine: start.engine.clone(),
    };
    stage.trail.append(Some(&id), None, body)?;
    let mut gate = stage.gate();
    let calls = move |action| {
        gate.call(action).map_err(|halt| match halt {
            Halt::Guest(error) => CallError::Guest(error),
            Halt::Stop(reason) => CallError::Abort { reason },
        })
    };
    let limits = &stage.site.configuration.limits;
    let end = sandbox::run(program, &stage.incident, limits, Box::new(calls));
    let report = match end {
        GuestEnd::Returned(report) => Some(report),
        other => return Err(anyhow!("{other:?}")),
    };
    let end = Body::RunEnd { state: RunState::Healed, reason: String::new(), report, limit: None, millis: 0 };
    stage.trail.append(Some(&id), None, end)?;
    Ok(())
}

/// The same as the program does it, but for starting a process.
fn through_the_front_door(stage: &Stage, request: &Request) -> Result<()> {
    let (trail, hands) = (Arc::clone(&stage.trail), Arc::clone(&stage.parts.hands));
    let report = execute(&stage.site, trail, hands, request, None, Box::new(|_| ()))?;
    ensure!(report.said.is_some(), "the guest did not end: {:?}", report.reason);
    Ok(())
}
