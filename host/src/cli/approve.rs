//! `guardian approve` and `reject`: people's signed words to a plan that waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::audit::Reader;
use crate::durable::Folder;
use crate::inventory::parse_duration;
use crate::model::{EffectClass, Name, RunId, escape_to};
use crate::run::{Approvals, Asked, Site, close_waiting};
use crate::trust::{SigningKey, Word, with_ssh_signature};

use super::Exit;
use super::arguments::{ApproveArguments, RejectArguments};
use super::context::{Context, folder_of};
use super::failure::Failure;
use super::screen::{Screen, Tone};

/// A statement, or a signature over one, in bytes.
const LARGEST: u64 = 64 * 1024;
/// How many effects, and how many resources, are shown: two screens, which a person still reads.
const MOST_SHOWN: usize = 100;
/// How much of a name or a value is shown, in characters: labels and arguments may be that long.
const SHOWN: usize = 256;

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
        context.screen.aside(&format!("this approves {}", scope(given.exact)));
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
        let shape = json!({
            "run": asked.run, "person": person, "plan": asked.plan(), "effects": asked.effects_json(),
            "exact": answers.exact(), "missing": missing,
        });
        screen.document("approve", &shape)?;
        return Ok(Exit::Ok);
    }
    show(screen, &asked);
    // If anybody asks for the exact sequence, that holds for all.
    let scope = scope(answers.exact());
    screen.say(&format!("{} by {person}: {scope}", screen.paint(Tone::Good, "approved")));
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
    let not_recorded = |failure: Failure| {
        let message = format!("the answer holds, and it is not on record: {}", failure.message);
        Failure { message, ..failure }
    };
    let record = || {
        let Some((site, lock)) = context.site_to_write_if_free()? else { return Ok(false) };
        let trail = site.open_trail(lock)?;
        close_waiting(&site, &trail)?;
        trail.close()?;
        Ok(true)
    };
    record().map_err(not_recorded)
}

fn asked(site: &Site, run: &str) -> Result<(Approvals, Asked), Failure> {
    let run: RunId = run.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let approvals = Approvals::open(site)?;
    // What the trail says of it counts: nobody is shown, and signs, a plan that was changed on the disk.
    let asked = approvals.asked(site, &Reader::open(site.home.var())?.state()?, &run)?;
    Ok((approvals, asked))
}

/// What is approved, before it is: a person signs what they have seen.
pub(super) fn show(screen: &Screen, asked: &Asked) {
    shown(asked).iter().for_each(|line| screen.say(line));
}

fn shown(asked: &Asked) -> Vec<String> {
    let incident = &asked.incident;
    let mut lines = vec![
        format!("{} release {}, component {}", asked.playbook, asked.release, asked.component),
        format!(
            "  for {} on {} (severity {}, incident {})",
            incident.kind,
            incident.target,
            incident.severity,
            escape_to(&incident.id, SHOWN)
        ),
    ];
    lines.extend(pairs(&incident.labels, "claims").map(|pairs| format!("  somebody {pairs}")));
    lines.extend(pairs(&incident.bindings, "binds").map(|pairs| format!("  guardian.toml {pairs}")));
    for (number, (effect, class)) in asked.effects().enumerate().take(MOST_SHOWN) {
        let mark = if class == EffectClass::Irreversible { " (irreversible, CANNOT be put back)" } else { "" };
        let arguments = pairs(&effect.arguments, "with").map_or_else(String::new, |pairs| format!(" {pairs}"));
        let resource = escape_to(&effect.resource, SHOWN);
        lines.push(format!("  {}. {} {resource}{arguments}{mark}", number + 1, escape_to(&effect.action, SHOWN)));
    }
    let rest = |all: usize, what: &str| {
        let rest = all.checked_sub(MOST_SHOWN).filter(|rest| *rest > 0)?;
        Some(format!("  and {rest} more {what}: read them in var/state/approvals/{}.json before you sign", asked.run))
    };
    lines.extend(rest(asked.effects.len(), "effects"));
    let defined = asked.definitions.iter().take(MOST_SHOWN);
    lines.extend(defined.map(|(name, defined)| {
        format!("  {} {} ({})", escape_to(name, SHOWN), escape_to(&defined.says, 400), defined.digest)
    }));
    lines.extend(rest(asked.definitions.len(), "resources"));
    lines.push(format!("  policy {}", asked.policy));
    lines.push(format!(
        "  plan {}, until {}, in the home of {}",
        asked.plan(),
        asked.until,
        escape_to(&asked.trail, 200)
    ));
    lines.extend(asked.wants().iter().map(|wants| format!("  gate {}", escape_to(wants, 400))));
    lines
}

/// `VERB a = b, c = d`, escaped; none if there is nothing.
fn pairs(all: &BTreeMap<String, String>, verb: &str) -> Option<String> {
    let shown = |(key, value): (&String, &String)| format!("{} = {}", escape_to(key, SHOWN), escape_to(value, SHOWN));
    let words: Vec<String> = all.iter().map(shown).collect();
    (!words.is_empty()).then(|| format!("{verb} {}", words.join(", ")))
}

/// How closely a run that is approved so must follow its plan.
const fn scope(exact: bool) -> &'static str {
    if exact { "exactly this sequence" } else { "these effects, each at most as often, in any order" }
}

pub(super) fn time(given: &str) -> Result<Duration, Failure> {
    let time = parse_duration(given).map_err(|problem| Failure::usage(format!("--for: {problem}")))?;
    if time.is_zero() { Err(Failure::usage("--for must be more than 0".to_owned())) } else { Ok(time) }
}

pub(super) fn load(key: &Path) -> Result<SigningKey, Failure> {
    let (folder, name) = folder_of(key)?;
    Ok(SigningKey::load(&folder, &name)?)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let (folder, name): (Folder, String) = folder_of(file)?;
    Ok(folder.read_bounded(&name, LARGEST)?)
}
