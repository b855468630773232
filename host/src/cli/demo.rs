//! `guardian demo`: the whole path once, for real, in a home that lives as long as the demo.
//!
//! A real HTTP service is started as a process of its own, killed with SIGKILL, and healed by a signed playbook through
//! the gate. Then a hostile playbook, correctly signed by a trusted publisher, is stopped by policy and by limits, and
//! two bad copies are stopped by trust. Last, the trail is verified. Every line shown is what the commands of the same
//! name show; nothing is staged but the keys, which live and die in the demo's home.

mod service;
mod stage;

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::model::{RunState, escape_to};
use crate::run::{Request, RunReport};

use self::stage::{FRONT, Stage, VAULT};
use super::Exit;
use super::arguments::DemoArguments;
use super::context::Context;
use super::failure::Failure;
use super::screen::Tone;
use super::{run, story};

pub(super) use self::service::answer as service;

/// What was shown, and whether it came out as it must.
struct Proof {
    what: &'static str,
    holds: bool,
}

pub(super) fn demo(context: &Context, given: &DemoArguments) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let stage = Stage::build(context, &given.playbooks)?;
    let shown = show(context, &stage);
    // Also when a step failed: a demo leaves no process and no file behind.
    let cleaned = stage.tear_down();
    let proofs = shown?;
    cleaned?;
    let all = proofs.iter().all(|proof| proof.holds);
    let screen = &context.screen;
    if screen.json() {
        let items: Vec<_> = proofs.iter().map(|proof| json!({ "what": proof.what, "holds": proof.holds })).collect();
        screen.document("demo", &json!({ "proofs": items, "holds": all }))?;
    } else {
        screen.say("");
        screen.say(&screen.paint(Tone::Head, "What was proved"));
        for proof in &proofs {
            let mark = if proof.holds { screen.paint(Tone::Good, "yes") } else { screen.paint(Tone::Bad, "NO ") };
            screen.say(&format!("  {mark}  {}", proof.what));
        }
        screen.say(&format!("cleaned up; {:.1} s", begun.elapsed().as_secs_f32()));
    }
    Ok(if all { Exit::Ok } else { Exit::Other })
}

fn show(context: &Context, stage: &Stage) -> Result<Vec<Proof>, Failure> {
    let mut proofs = heal(context, stage)?;
    proofs.extend(resist(context, stage)?);
    proofs.extend(refuse(context, stage)?);
    proofs.push(trail(context, stage)?);
    Ok(proofs)
}

fn chapter(context: &Context, title: &str) {
    context.screen.say("");
    context.screen.say(&context.screen.paint(Tone::Head, title));
}

fn heal(context: &Context, stage: &Stage) -> Result<Vec<Proof>, Failure> {
    let screen = &context.screen;
    chapter(context, "1. A service dies and is healed");
    let before = stage.pid_of(FRONT)?;
    screen.say(&format!("  service.{FRONT} answers over HTTP, from process {before}"));
    stage.kill(before)?;
    let dead = stage.answers(FRONT).is_none();
    screen.say(&format!(
        "  process {before} was killed with SIGKILL; service.{FRONT} {}",
        if dead { "no longer answers" } else { "still answers" }
    ));
    let report = run_one(context, stage, "guardian/service_crashed", "service_crashed", FRONT, &[])?;
    let after = stage.pid_of(FRONT)?;
    screen.say(&format!("  service.{FRONT} answers again, from process {after}"));
    Ok(vec![
        Proof { what: "a killed service was seen dead, from outside", holds: dead },
        Proof {
            what: "the signed playbook healed it, and its own check says so",
            holds: report.state == RunState::Healed && after != before,
        },
    ])
}

fn resist(context: &Context, stage: &Stage) -> Result<Vec<Proof>, Failure> {
    chapter(context, "2. A hostile playbook, correctly signed by a trusted publisher, is stopped");
    let screen = &context.screen;
    let vault = stage.pid_of(VAULT)?;
    screen.say(&format!("  it has a permit for service.{FRONT}, and reaches for service.{VAULT}:"));
    let reach = run_one(context, stage, "stranger/hostile", "service_crashed", FRONT, &["attack=reach".to_owned()])?;
    let untouched = stage.pid_of(VAULT)? == vault;
    screen.say(&format!("  (service.{FRONT} was well all along; service.{VAULT} still answers from process {vault})"));
    screen.say("  it loops for ever:");
    let endless = run_one(context, stage, "stranger/hostile", "service_crashed", FRONT, &["attack=loop".to_owned()])?;
    Ok(vec![
        Proof {
            what: "a call without a permit was denied, recorded, and had no effect",
            holds: reach.transcript.denied > 0
                && untouched
                && reach
                    .transcript
                    .calls
                    .iter()
                    .all(|call| !call.class.is_effect() || matches!(call.passage, crate::gate::Passage::Denied { .. })),
        },
        Proof {
            what: "an endless loop was ended by the time limit, and the host lived",
            holds: endless.limit.is_some() && endless.state == RunState::NotHealed,
        },
    ])
}

fn refuse(context: &Context, stage: &Stage) -> Result<Vec<Proof>, Failure> {
    chapter(context, "3. Bad copies are refused before a byte of them runs");
    let screen = &context.screen;
    let mut proofs = Vec::new();
    for (what, file) in [
        ("a copy with one byte flipped was refused", stage.flipped_copy()?),
        ("an unsigned copy was refused", stage.unsigned_copy()?),
    ] {
        let refused = add_fails(context, stage, &file)?;
        screen.say(&format!(
            "  {} {}",
            screen.paint(Tone::Bad, "refused"),
            refused.as_deref().unwrap_or("NOTHING: it was taken in")
        ));
        proofs.push(Proof { what, holds: refused.is_some() });
    }
    Ok(proofs)
}

fn add_fails(context: &Context, stage: &Stage, file: &Path) -> Result<Option<String>, Failure> {
    let inside = context.within(stage.root());
    let command = super::arguments::PlaybookCommand::Add { file: file.to_owned() };
    match super::playbook::execute(&inside, command) {
        Ok(_) => Ok(None),
        Err(failure) if failure.exit == Exit::Refused => Ok(Some(escape_to(&failure.message, 300))),
        Err(failure) => Err(failure),
    }
}

fn trail(context: &Context, stage: &Stage) -> Result<Proof, Failure> {
    chapter(context, "4. The trail holds all of it");
    let verified = crate::audit::Reader::open(stage.home().var())?.verify()?;
    context.screen.say(&format!(
        "  {} records, {} batch roots derived anew, the signed checkpoint covers {}",
        verified.records, verified.batches, verified.signed
    ));
    Ok(Proof {
        what: "every record of the audit trail verifies against the signed checkpoint",
        holds: verified.signed > 0,
    })
}

fn run_one(
    context: &Context,
    stage: &Stage,
    playbook: &str,
    kind: &str,
    target: &str,
    labels: &[String],
) -> Result<RunReport, Failure> {
    let (site, lock) = context.within(stage.root()).site_to_write(None)?;
    let request = Request::new(&site.configuration.inventory, playbook, kind, &format!("service.{target}"), 8, labels)?;
    let report = run::one(&site, lock, &request, false, &context.screen)?;
    story::end(&context.screen, &report);
    Ok(report)
}
