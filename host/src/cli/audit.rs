//! `guardian audit`: reading and verifying the trail, and the lawful ways on after damage.

use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::{Body, Filter, Found, Reader, Record, SuccessorKind, Trail};
use crate::inventory::{Configuration, InventoryError};
use crate::model::{Outcome, RunId, escape_to};
use crate::run::{actor, audit_options};

use super::Exit;
use super::arguments::AuditCommand;
use super::context::Context;
use super::failure::Failure;
use super::screen::{Screen, Tone, counted};

/// How much of a record's text a line holds.
const SHOWN: usize = 160;
/// How many records are listed unless somebody says how many.
const LISTED: usize = 50;
/// How often a followed trail is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn execute(context: &Context, command: AuditCommand) -> Result<Exit, Failure> {
    match command {
        AuditCommand::List { run, kind, from, last } => {
            let run = run.map(|run| run.parse()).transpose()?;
            kind.as_deref().map_or(Ok(()), known_type)?;
            let most = last.unwrap_or(if from.is_some() { usize::MAX } else { LISTED });
            list(context, &Filter { run, kind, from: from.unwrap_or(0) }, most)
        }
        AuditCommand::Show { seq } => show(context, seq),
        AuditCommand::Tail => tail(context),
        AuditCommand::Verify => verify(context),
        AuditCommand::Settle { seq, reason } => settle(context, seq, &reason),
        AuditCommand::Recover { reason } => succeed(context, SuccessorKind::Recover, &reason),
        AuditCommand::Fork { reason } => succeed(context, SuccessorKind::Fork, &reason),
    }
}

/// A misspelled type would find nothing, and nothing reads like "it never happened".
fn known_type(kind: &str) -> Result<(), Failure> {
    if Body::KINDS.contains(&kind) {
        return Ok(());
    }
    let hint = crate::model::nearest(kind, Body::KINDS)
        .map_or_else(|| format!("; there are {}", Body::KINDS.join(", ")), |name| format!("; did you mean `{name}`?"));
    Err(Failure::usage(format!("no record has the type `{}`{hint}", escape_to(kind, 64))))
}

/// The same goes for a run that there never was.
fn known_run(reader: &Reader, run: &RunId) -> Result<(), Failure> {
    let all = Filter { run: Some(run.clone()), ..Filter::default() };
    if reader.last(&all, 1)?.is_empty() {
        return Err(Failure::usage(format!("no record is of a run `{run}`; `guardian status` shows the last runs")));
    }
    Ok(())
}

fn reader(context: &Context) -> Result<Reader, Failure> {
    // A trail that is gone with all of its folder is no home that was never made.
    if let Err(gone @ InventoryError::NoVar { .. }) = context.home.open_var() {
        return Err(gone.into());
    }
    Ok(Reader::open(context.home.var())?)
}

fn list(context: &Context, filter: &Filter, last: usize) -> Result<Exit, Failure> {
    let reader = reader(context)?;
    let records = reader.last(filter, last)?;
    if let (true, Some(run)) = (records.is_empty(), &filter.run) {
        known_run(&reader, run)?;
    }
    let screen = &context.screen;
    if screen.json() {
        screen.document("audit-list", &json!({ "records": records }))?;
    } else {
        for record in &records {
            screen.say(&line(screen, record));
        }
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, seq: u64) -> Result<Exit, Failure> {
    let shown = reader(context)?.show(seq)?;
    let screen = &context.screen;
    if screen.json() {
        screen.document(
            "audit-record",
            &json!({ "record": shown.record, "segment": shown.segment, "offset": shown.offset }),
        )?;
        return Ok(Exit::Ok);
    }
    screen.say(&line(screen, &shown.record));
    screen.say(&screen.paint(Tone::Faint, &format!("  {} at byte {}", escape_to(&shown.segment, SHOWN), shown.offset)));
    let value: Value = serde_json::from_slice(&shown.bytes)?;
    for text in serde_json::to_string_pretty(&value)?.lines() {
        screen.say(&format!("  {}", crate::model::escape_json(text)));
    }
    Ok(Exit::Ok)
}

fn tail(context: &Context) -> Result<Exit, Failure> {
    let reader = reader(context)?;
    let from = reader.last(&Filter::default(), 1)?.last().map_or(0, |record| record.seq);
    let mut filter = Filter { from, ..Filter::default() };
    let screen = &context.screen;
    loop {
        filter = reader.follow(&filter, &mut |shown| {
            if screen.json() {
                screen.line(&crate::model::escape_json(&serde_json::to_string(&shown.record)?));
            } else {
                screen.say(&line(screen, &shown.record));
            }
            Ok(())
        })?;
        context.clock.sleep(LOOK);
    }
}

fn verify(context: &Context) -> Result<Exit, Failure> {
    let verified = reader(context)?.verify()?;
    let screen = &context.screen;
    if screen.json() {
        screen.document(
            "audit-verify",
            &json!({
                "ok": true, "segments": verified.segments, "records": verified.records, "batches": verified.batches,
                "root": verified.root, "signed": verified.signed, "unfinished_bytes": verified.unfinished_bytes,
            }),
        )?;
        return Ok(Exit::Ok);
    }
    screen.say(&format!(
        "{} {} in {}; {} derived anew; the signed checkpoint covers {}",
        screen.paint(Tone::Good, "verified"),
        counted(verified.records, "record"),
        counted(verified.segments, "segment"),
        counted(verified.batches, "batch root"),
        verified.signed
    ));
    screen.say(&format!("  root {}", verified.root));
    if verified.unfinished_bytes > 0 {
        screen.say(&format!(
            "  {} bytes at the end are no whole batch: being written now, or torn by a crash",
            verified.unfinished_bytes
        ));
    }
    Ok(Exit::Ok)
}

fn settle(context: &Context, seq: u64, reason: &str) -> Result<Exit, Failure> {
    let configuration = Configuration::load(&context.home.open_etc()?)?;
    let options = audit_options(&context.home, &configuration);
    let trail = Trail::open(&options, actor(), std::sync::Arc::clone(&context.clock))?;
    let record = trail.settle(seq, reason);
    trail.close()?;
    let record = record?;
    if context.screen.json() {
        context.screen.document("audit-settle", &json!({ "settled": seq, "record": record }))?;
    } else {
        context.screen.say(&format!("the intent in record {seq} is settled (record {record})"));
    }
    Ok(Exit::Ok)
}

fn succeed(context: &Context, kind: SuccessorKind, reason: &str) -> Result<Exit, Failure> {
    let configuration = Configuration::load(&context.home.open_etc()?)?;
    let options = audit_options(&context.home, &configuration);
    let clock = std::sync::Arc::clone(&context.clock);
    let (trail, old) = match kind {
        SuccessorKind::Recover => Trail::recover(&options, reason, actor(), clock)?,
        SuccessorKind::Fork => Trail::fork(&options, reason, actor(), clock)?,
    };
    trail.close()?;
    let first = reader(context)?.show(0)?;
    let screen = &context.screen;
    if screen.json() {
        screen.document("audit-successor", &json!({
            "record": first.record, "kept": old.kept, "readable": old.readable, "lost": old.lost, "known": old.known, "high_water_marks": old.marks, "runs": old.runs, "waited": old.waited, "blind": old.blind,
        }))?;
    } else {
        screen.say(&format!("{} a new trail; its first record names the old one", screen.paint(Tone::Good, "began")));
        screen.say(&line(screen, &first.record));
        screen.say(&format!("  the old files lie in {}", old.kept.display()));
        let lost = match old.known {
            Some(_) => format!("{} cannot", old.lost),
            None => "how many there were is not known: it left neither checkpoint nor snapshot".to_owned(),
        };
        screen.say(&format!(
            "  {} of its records can be read, {lost}; {} high-water marks and {} runs were taken over",
            old.readable, old.marks, old.runs
        ));
        if old.waited > 0 {
            screen.say(&format!("  {} plans waited for people: they are over, run them again", old.waited));
        }
        if old.blind {
            screen.say("  `var/state/undo` may hold what puts back runs whose records are lost: look at it, and remove it by hand");
        }
    }
    Ok(Exit::Ok)
}

/// One record on one line.
fn line(screen: &Screen, record: &Record) -> String {
    let run = record.run.as_ref().map_or_else(String::new, |run| format!(" {run}"));
    let step = record.step.map_or_else(String::new, |step| format!("#{step}"));
    let login = record.actor.login_uid.map_or_else(String::new, |uid| format!(" (login {uid})"));
    let tone = match &record.body {
        Body::Denied { .. } | Body::Refused { .. } | Body::Recovery { .. } | Body::BreakGlass { .. } => Tone::Bad,
        Body::Intent { .. } | Body::Order(_) | Body::Waiting { .. } => Tone::Warn,
        Body::Outcome { outcome: Outcome::Indeterminate { .. } | Outcome::Failed { .. }, .. } => Tone::Warn,
        _ => Tone::Good,
    };
    format!(
        "{:>6} {} uid {}{login}{run}{step} {} {}",
        record.seq,
        screen.paint(Tone::Faint, &record.t.to_string()),
        record.actor.uid,
        screen.paint(tone, record.body.kind()),
        what(&record.body)
    )
}

/// What a record says, in a few words, escaped.
fn what(body: &Body) -> String {
    let show = |text: &str| escape_to(text, SHOWN);
    match body {
        Body::Boot { version, host } => format!("guardian {} on {}", show(version), show(host)),
        Body::Recovery { truncated_bytes, in_doubt } => {
            format!(
                "after a crash: {truncated_bytes} bytes of an unfinished batch cut off, {} intents in doubt",
                in_doubt.len()
            )
        }
        Body::Policy { policies, digest } => format!("{policies} policies, {}", digest.short()),
        Body::Store { change, playbook, release, component, signers, .. } => {
            let signers: Vec<String> = signers.iter().map(|label| show(label)).collect();
            format!("{change:?} {playbook} release {release} ({}) signed by {}", component.short(), signers.join(", "))
                .to_lowercase()
        }
        Body::Refused { playbook, reason, count, .. } => {
            format!(
                "{}{} (x{count})",
                playbook.as_ref().map_or_else(String::new, |id| format!("{}: ", show(id))),
                show(reason)
            )
        }
        Body::RunStart { playbook, release, incident, .. } => {
            format!(
                "{playbook} release {release} for {} on {}, severity {}",
                incident.kind, incident.target, incident.severity
            )
        }
        Body::Intent { action, undoes: Some(of), .. } => {
            format!("{} {} to put back record {of}", action.verb(), show(&action.resource_as_given()))
        }
        Body::Intent { action, policies, undo, .. } => {
            let undo = undo
                .as_ref()
                .map_or_else(String::new, |undo| format!(", undo {} at {}", show(&undo.kind), show(&undo.reference)));
            format!("{} {} [{}]{undo}", action.verb(), show(&action.resource_as_given()), policies.join(", "))
        }
        Body::Read { action, policies, .. } => {
            format!("{} {} [{}]", action.verb(), show(&action.resource_as_given()), policies.join(", "))
        }
        Body::Outcome { of, outcome, micros } => {
            let how = match outcome {
                Outcome::Done { .. } => "done".to_owned(),
                Outcome::Failed { error } => format!("failed: {}", show(&error.message)),
                Outcome::Indeterminate { error } => format!("INDETERMINATE: {}", show(&error.message)),
            };
            format!("of {of}: {how} ({micros} us)")
        }
        Body::Denied { action, resource, code, policies, count, .. } => {
            format!("{} {} ({}) [{}] (x{count})", show(action), show(resource), code.word(), policies.join(", "))
        }
        Body::Check { resource, reading, successes, needed } => {
            format!("{resource} {} {} ({successes} of {needed})", reading.verdict.word(), show(&reading.seen))
        }
        Body::RunEnd { state, reason, millis, .. } => format!("{} after {millis} ms: {}", state.word(), show(reason)),
        Body::Trust { change, publisher, key, digest } => {
            let publisher = publisher.as_ref().map_or_else(String::new, |name| format!(" for {name}"));
            let key = key.as_ref().map_or_else(String::new, |key| format!(" {}", show(key)));
            format!("{}{key}{publisher}, {}", change.word(), digest.short())
        }
        Body::Settled { of, reason } => format!("what became of {of}: {}", show(reason)),
        Body::Person { action, resource, result } => format!("{} {resource} by hand: {}", show(action), show(result)),
        Body::Successor { reason, lost, .. } => {
            format!("follows another trail: {} ({lost} records lost)", show(reason))
        }
        other => what_else(other),
    }
}

/// The same for what people said and what hands found out.
fn what_else(body: &Body) -> String {
    let show = |text: &str| escape_to(text, SHOWN);
    match body {
        Body::Reconciled { of, found } => match found {
            Found::Done => format!("{of}: it happened"),
            Found::NotDone => format!("{of}: it did not happen"),
            Found::Unknown => format!("{of}: the hand cannot tell"),
        },
        Body::Evidence { resource, reference, bytes, .. } => {
            format!("how {resource} looked before, {bytes} bytes at state/evidence/{}", show(reference))
        }
        Body::Order(given) => given.to_string(),
        Body::Waiting { plan, effects, gates, until } => {
            let gates: Vec<String> = gates.iter().map(|gate| show(gate)).collect();
            format!("for {} until {until}: plan {}, {effects} effects", gates.join(", "), plan.short())
        }
        Body::Approved { plan, people, exact } => {
            let people: Vec<String> = people.iter().map(ToString::to_string).collect();
            let exact = if *exact { ", exactly" } else { "" };
            format!("plan {} by {}{exact}", plan.short(), people.join(", "))
        }
        Body::BreakGlass { person, reason, until } => format!("by {person} until {until}: {}", show(reason)),
        other => serde_json::to_value(other).map_or_else(|_| String::new(), |value| show(&value.to_string())),
    }
}
