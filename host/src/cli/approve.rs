//! `guardian approve`, `reject` and `break-glass`: people's signed words.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::durable::Folder;
use crate::inventory::parse_duration;
use crate::model::{EffectClass, Name, RunId, escape_to};
use crate::run::{Approvals, Asked, LONGEST_GLASS, Site, close_waiting};
use crate::trust::{SigningKey, Word, with_ssh_signature};

use super::Exit;
use super::arguments::{ApproveArguments, GlassArguments, RejectArguments};
use super::context::{Context, folder_of};
use super::failure::Failure;
use super::screen::{Screen, Tone};

/// A statement, or a signature over one, in bytes.
const LARGEST: u64 = 64 * 1024;

pub(super) fn approve(context: &Context, given: &ApproveArguments) -> Result<Exit, Failure> {
    let site = context.site()?;
    let (approvals, asked) = asked(&site, &given.run)?;
    let time = time(&given.time)?;
    let now = site.clock.now();
    let word = Word::Approve {
        run: asked.run.clone(),
        plan: asked.plan(),
        exact: given.exact,
        at: now,
        until: now.plus(time).min(asked.until),
    };
    if given.print {
        // What is signed is seen first, and beside it: exactly the bytes that are signed go to standard output, so that a
        // file of it can be given to ssh-keygen.
        for line in shown(&asked) {
            context.screen.aside(&line);
        }
        context.screen.raw(&word.payload());
        return Ok(Exit::Ok);
    }
    let signed = match (&given.key, &given.statement, &given.ssh_signature) {
        (Some(key), _, _) => word.sign(&load(key)?),
        (None, Some(statement), Some(signature)) => {
            let signature = String::from_utf8_lossy(&read(signature)?).into_owned();
            with_ssh_signature(&read(statement)?, &signature)?
        }
        _ => return Err(Failure::usage("give --key FILE, or --statement FILE and --ssh-signature FILE".to_owned())),
    };
    let (person, said) = approvals.say(&site, &asked, &signed)?;
    let screen = &context.screen;
    if matches!(said, Word::Reject { .. }) {
        // A statement is signed elsewhere, and what it says is what counts.
        return rejected(context, &asked, &person);
    }
    let answers = approvals.answers(&site, &asked)?;
    let missing = answers.missing(&asked);
    if screen.json() {
        let shape = json!({ "run": asked.run, "person": person, "plan": asked.plan(), "effects": asked.effects_json(), "missing": missing });
        screen.document("approve", &shape)?;
        return Ok(Exit::Ok);
    }
    show(screen, &asked);
    screen.say(&format!("{} by {person}", screen.paint(Tone::Good, "approved")));
    match missing.as_slice() {
        [] => screen.say(&format!("go on with `guardian{} run --resume {}`", context.home.flag(), asked.run)),
        missing => screen.say(&format!("still needed: {}", missing.join("; "))),
    }
    Ok(Exit::Ok)
}

pub(super) fn reject(context: &Context, given: &RejectArguments) -> Result<Exit, Failure> {
    if given.reason.trim().is_empty() {
        return Err(Failure::usage("say why: --reason must not be empty".to_owned()));
    }
    let site = context.site()?;
    let (approvals, asked) = asked(&site, &given.run)?;
    let reason = escape_to(&given.reason, 1_000);
    let word = Word::Reject { run: asked.run.clone(), plan: asked.plan(), reason, at: site.clock.now() };
    let (person, _) = approvals.say(&site, &asked, &word.sign(&load(&given.key)?))?;
    rejected(context, &asked, &person)
}

fn rejected(context: &Context, asked: &Asked, person: &Name) -> Result<Exit, Failure> {
    let screen = &context.screen;
    let recorded = ended(context)?;
    if screen.json() {
        let shape = json!({ "run": asked.run, "person": person, "plan": asked.plan(), "recorded": recorded });
        screen.document("reject", &shape)?;
        return Ok(Exit::Ok);
    }
    screen.say(&format!("{} by {person}; it will not go on", screen.paint(Tone::Bad, "rejected")));
    if !recorded {
        screen.say("a run holds the trail: the next one puts this on record");
    }
    Ok(Exit::Ok)
}

/// Ends what was rejected, on the trail, if nobody holds it. Says whether it did.
fn ended(context: &Context) -> Result<bool, Failure> {
    let Ok((site, lock)) = context.site_to_write(Some(Duration::ZERO)) else { return Ok(false) };
    let trail = site.open_trail(lock)?;
    close_waiting(&site, &trail)?;
    trail.close()?;
    Ok(true)
}

pub(super) fn break_glass(context: &Context, given: &GlassArguments) -> Result<Exit, Failure> {
    let time = time(&given.time)?;
    if time > LONGEST_GLASS {
        return Err(Failure::usage("--for: glass stays broken for an hour at most".to_owned()));
    }
    if given.reason.trim().is_empty() {
        return Err(Failure::usage("say why: --reason must not be empty".to_owned()));
    }
    let key = load(&given.key)?;
    let (site, lock) = context.site_to_write(None)?;
    let trail = site.open_trail(lock)?;
    let now = site.clock.now();
    let word = Word::BreakGlass { reason: escape_to(&given.reason, 1_000), at: now, until: now.plus(time) };
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
    }
    Ok(Exit::Ok)
}

fn asked(site: &Site, run: &str) -> Result<(Approvals, Asked), Failure> {
    let run: RunId = run.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let approvals = Approvals::open(site)?;
    let asked = approvals.asked(&run)?;
    Ok((approvals, asked))
}

/// What is approved, before it is: a person signs what they have seen.
pub(super) fn show(screen: &Screen, asked: &Asked) {
    shown(asked).iter().for_each(|line| screen.say(line));
}

fn shown(asked: &Asked) -> Vec<String> {
    let mut lines = vec![format!(
        "{} release {} for {} on {} (severity {})",
        asked.playbook, asked.release, asked.incident.kind, asked.incident.target, asked.incident.severity
    )];
    for (number, (effect, class)) in asked.effects().enumerate() {
        let mark = if class == EffectClass::Irreversible { " (irreversible, CANNOT be put back)" } else { "" };
        lines.push(format!("  {}. {} {}{mark}", number + 1, effect.action, escape_to(&effect.resource, 120)));
    }
    lines.push(format!("  plan {}, until {}", asked.plan(), asked.until));
    lines.extend(asked.wants().iter().map(|wants| format!("  gate {wants}")));
    lines
}

fn time(given: &str) -> Result<Duration, Failure> {
    let time = parse_duration(given).map_err(|problem| Failure::usage(format!("--for: {problem}")))?;
    if time.is_zero() { Err(Failure::usage("--for must be more than 0".to_owned())) } else { Ok(time) }
}

fn load(key: &Path) -> Result<SigningKey, Failure> {
    let (folder, name) = folder_of(key)?;
    Ok(SigningKey::load(&folder, &name)?)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let (folder, name): (Folder, String) = folder_of(file)?;
    Ok(folder.read_bounded(&name, LARGEST)?)
}
