//! `guardian playbook`: from source to store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{Body, Reader, StoreChange};
use crate::inventory::Configuration;
use crate::model::{Interface, Limits, Manifest, PlaybookId, escape_to};
use crate::run::{accept, refuse_unsigned, roll_back, verify};
use crate::sandbox;
use crate::trust::{self, SigningKey, TrustError, Validity};

use super::Exit;
use super::arguments::PlaybookCommand;
use super::build;
use super::context::{Context, folder_of};
use super::failure::Failure;
use super::screen::Tone;

/// How much of an author's text is shown on a line.
const SHOWN: usize = 200;
/// The largest component that is read for showing: any host's limit fits.
const LARGEST: u64 = 256 << 20;
/// For how many days a signature holds, unless somebody says how many.
const SIGNED_DAYS: u32 = 365;
/// The largest signature file.
const LARGEST_ENVELOPE: u64 = 256 * 1024;

pub(super) fn execute(context: &Context, command: PlaybookCommand) -> Result<Exit, Failure> {
    match command {
        PlaybookCommand::Build { dir, out } => build_one(context, &dir, out.as_deref()),
        PlaybookCommand::Sign { file, key, days } => sign(context, &file, &key, days),
        PlaybookCommand::Verify { file } => verify_one(context, &file),
        PlaybookCommand::Inspect { file } => inspect(context, &file),
        PlaybookCommand::Add { file } => add(context, &file),
        PlaybookCommand::Rollback { playbook, to } => back(context, &playbook, to),
        PlaybookCommand::List => list(context),
        PlaybookCommand::Remove { playbook } => remove(context, &playbook),
    }
}

fn build_one(context: &Context, dir: &Path, out: Option<&Path>) -> Result<Exit, Failure> {
    let built = build::build(dir, out)?;
    let screen = &context.screen;
    if screen.json() {
        let imports: Vec<&str> = built.interfaces.iter().map(|interface| interface.word()).collect();
        screen
            .document("playbook-build", &json!({ "file": built.path, "digest": built.digest, "imports": imports }))?;
        return Ok(Exit::Ok);
    }
    screen.say(&format!("{} {}", screen.paint(Tone::Good, "built"), built.path.display()));
    screen.say(&format!("  digest   {}", built.digest));
    permissions(context, &built.manifest, &built.interfaces);
    Ok(Exit::Ok)
}

/// What it asks for, in words.
fn permissions(context: &Context, manifest: &Manifest, interfaces: &std::collections::BTreeSet<Interface>) {
    let screen = &context.screen;
    screen.say(&format!(
        "  playbook {} {} (release {})",
        manifest.id(),
        escape_to(&manifest.version, SHOWN),
        manifest.release
    ));
    screen.say(&format!("  says     {}", escape_to(&manifest.description, SHOWN)));
    screen.say("  asks to");
    for interface in interfaces {
        screen.say(&format!("    {:<8} {}", interface.word(), interface.in_words()));
    }
    if interfaces.is_empty() {
        screen.say("    nothing: it imports no capability");
    }
}

fn read_pair(file: &Path) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    let (folder, name) = folder_of(file)?;
    let component = folder.read_bounded(&name, LARGEST)?;
    match folder.read_bounded(&format!("{name}.dsse.json"), LARGEST_ENVELOPE) {
        Ok(envelope) => Ok((component, Some(envelope))),
        Err(error) if error.is_not_found() => Ok((component, None)),
        Err(error) => Err(error.into()),
    }
}

fn signed_pair(file: &Path) -> Result<(Arc<[u8]>, Vec<u8>), Failure> {
    let (component, envelope) = read_pair(file)?;
    let envelope = envelope.ok_or_else(|| TrustError::Unsigned { file: file.display().to_string() })?;
    Ok((component.into(), envelope))
}

fn sign(context: &Context, file: &Path, key: &Path, given: Option<u32>) -> Result<Exit, Failure> {
    let days = given.unwrap_or(SIGNED_DAYS);
    if days == 0 || days > 3_650 {
        return Err(Failure::usage("--days must be between 1 and 3650"));
    }
    let (component, envelope) = read_pair(file)?;
    if envelope.is_some() && given.is_some() {
        return Err(Failure::usage(format!(
            "`{0}.dsse.json` is there, and its first signature says until when it holds: leave out --days to add a signature to it, or remove it to sign anew",
            file.display()
        )));
    }
    let (keys, key_name) = folder_of(key)?;
    let key = SigningKey::load(&keys, &key_name)?;
    let now = context.clock.now();
    let validity = Validity { not_before: now, not_after: now.plus(Duration::from_secs(u64::from(days) * 86_400)) };
    let signed = match envelope {
        Some(envelope) => trust::cosign(&component, &envelope, &key)?,
        None => trust::sign(&component, &key, validity)?,
    };
    let (folder, name) = folder_of(file)?;
    folder.replace_with_mode(&format!("{name}.dsse.json"), &signed, 0o644)?;
    let screen = &context.screen;
    if screen.json() {
        screen.document(
            "playbook-sign",
            &json!({ "file": format!("{}.dsse.json", file.display()), "key": key.public().id().to_string() }),
        )?;
    } else {
        screen.say(&format!(
            "{} {} with key {}",
            screen.paint(Tone::Good, "signed"),
            file.display(),
            key.public().id().short()
        ));
    }
    Ok(Exit::Ok)
}

fn verify_one(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let (component, envelope) = signed_pair(file)?;
    let site = context.site()?;
    let state = Reader::open(context.home.var())?.state()?;
    let (verified, interfaces) = verify(&site, &state, component, &envelope)?;
    let screen = &context.screen;
    let signers: Vec<String> = verified.signers().iter().map(|signer| signer.label.to_string()).collect();
    if screen.json() {
        screen.document("playbook-verify", &json!({
            "playbook": verified.id(), "release": verified.manifest().release, "digest": verified.digest(), "signers": signers,
        }))?;
    } else {
        screen.say(&format!("{} signed by {}", screen.paint(Tone::Good, "verified"), signers.join(", ")));
        screen.say(&format!("  digest   {}", verified.digest()));
        permissions(context, verified.manifest(), &interfaces);
    }
    Ok(Exit::Ok)
}

fn inspect(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let (component, envelope) = read_pair(file)?;
    let limits = Limits { component_mib: LARGEST >> 20, ..Limits::default() };
    let shown = trust::inspect(&component, envelope.as_deref(), &limits)?;
    let report = sandbox::walk(&component, &Interface::ALL.into(), &limits)?;
    let screen = &context.screen;
    if screen.json() {
        let imports: Vec<&str> = report.interfaces.iter().map(|interface| interface.word()).collect();
        let signed = shown.envelope.as_ref().map(|envelope| {
            json!({ "hints": envelope.hints, "fits": envelope.fits, "not_before": envelope.validity.not_before.to_string(),
                    "not_after": envelope.validity.not_after.to_string() })
        });
        screen.document("playbook-inspect", &json!({
            "verified": false, "digest": shown.digest, "bytes": shown.size, "manifest": shown.manifest, "imports": imports,
            "signature": signed,
        }))?;
        return Ok(Exit::Ok);
    }
    screen.say(&format!("{}: what the file says of itself", screen.paint(Tone::Warn, "not verified")));
    screen.say(&format!("  digest   {} ({} bytes)", shown.digest, shown.size));
    permissions(context, &shown.manifest, &report.interfaces);
    match shown.envelope {
        None => screen.say("  signed   no"),
        Some(envelope) => {
            let fits = if envelope.fits { "about these bytes" } else { "about OTHER bytes or another manifest" };
            let hints: Vec<String> = envelope.hints.iter().map(|hint| escape_to(hint, 16)).collect();
            screen.say(&format!(
                "  signed   by someone who says {} ({fits}), until {}",
                hints.join(", "),
                envelope.validity.not_after
            ));
        }
    }
    Ok(Exit::Ok)
}

fn add(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let (component, envelope) = read_pair(file)?;
    let (site, lock) = context.site_to_write(None)?;
    let trail = site.open_trail(lock)?;
    let accepted = match envelope {
        Some(envelope) => accept(&site, &trail, component.into(), &envelope),
        None => Err(refuse_unsigned(&trail, file.display().to_string())),
    };
    trail.close()?;
    let accepted = accepted?;
    let screen = &context.screen;
    if screen.json() {
        screen.document("playbook-add", &json!({
            "playbook": accepted.playbook, "release": accepted.release, "digest": accepted.digest, "signers": accepted.signers,
            "record": accepted.record,
        }))?;
        return Ok(Exit::Ok);
    }
    screen.say(&format!(
        "{} {} release {}, signed by {} (record {})",
        screen.paint(Tone::Good, "added"),
        accepted.playbook,
        accepted.release,
        accepted.signers.join(", "),
        accepted.record
    ));
    let granted = site.policy.grants(&accepted.playbook);
    let missing: Vec<&str> = accepted.interfaces.difference(&granted).map(|interface| interface.word()).collect();
    if !missing.is_empty() {
        screen.say(&format!(
            "  the policy grants it nothing of {} yet, so it would be refused; write a permit under {}",
            missing.join(", "),
            context.home.etc().join("policy/permits").display()
        ));
    }
    let bound = site.configuration.bindings.get(&accepted.playbook);
    let unbound = accepted.roles.iter().filter(|role| bound.is_none_or(|bound| !bound.contains_key(*role)));
    let unbound: Vec<String> = unbound.map(|role| format!("{role} = \"NAME\"")).collect();
    if !unbound.is_empty() {
        screen.say(&format!(
            "  it has roles that you bind: [playbook.\"{}\"] bind = {{ {} }} in {}",
            accepted.playbook,
            unbound.join(", "),
            context.home.etc().join("guardian.toml").display()
        ));
    }
    Ok(Exit::Ok)
}

fn back(context: &Context, playbook: &str, to: u64) -> Result<Exit, Failure> {
    let id: PlaybookId = playbook.parse()?;
    let (site, lock) = context.site_to_write(None)?;
    let trail = site.open_trail(lock)?;
    let gone = roll_back(&site, &trail, &id, to);
    trail.close()?;
    let record = gone?;
    if context.screen.json() {
        context.screen.document("playbook-rollback", &json!({ "playbook": id, "release": to, "record": record }))?;
    } else {
        context
            .screen
            .say(&format!("{} {id} to release {to} (record {record})", context.screen.paint(Tone::Warn, "went back")));
    }
    Ok(Exit::Ok)
}

fn list(context: &Context) -> Result<Exit, Failure> {
    Configuration::load(&context.home.open_etc()?)?;
    let store = crate::registry::Store::open(context.home.open_var()?.sub("store")?)?;
    let entries = store.list()?;
    let screen = &context.screen;
    if screen.json() {
        let items: Vec<_> = entries
            .iter()
            .map(|(id, entry)| json!({ "playbook": id, "current": entry.current, "releases": entry.releases }))
            .collect();
        screen.document("playbook-list", &json!({ "playbooks": items }))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|(id, entry)| {
            let digest = entry.current().map_or_else(String::new, |release| release.digest.short());
            vec![id.to_string(), entry.current.to_string(), digest]
        })
        .collect();
    if rows.is_empty() {
        screen.say(&format!("no playbooks; add one with `guardian{} playbook add FILE.wasm`", context.home.flag()));
    } else {
        screen.table(&["PLAYBOOK", "RELEASE", "DIGEST"], &rows);
    }
    Ok(Exit::Ok)
}

/// The highest release that was ever accepted.
fn trail_mark(context: &Context, id: &PlaybookId) -> Result<Option<u64>, Failure> {
    let state = Reader::open(context.home.var())?.state()?;
    Ok(state.high_water(id).map(|mark| mark.release))
}

fn remove(context: &Context, playbook: &str) -> Result<Exit, Failure> {
    let id: PlaybookId = playbook.parse()?;
    let (site, lock) = context.site_to_write(None)?;
    let entries = site.store.list()?;
    let entry = entries.get(&id).and_then(|entry| entry.current().map(|release| (entry.current, release.digest)));
    let Some((release, component)) = entry else {
        // The store's own error names the nearest playbook.
        site.store.remove(&id)?;
        return Ok(Exit::Ok);
    };
    let trail = site.open_trail(lock)?;
    let body = Body::Store {
        change: StoreChange::Removed,
        playbook: id.clone(),
        release,
        component,
        signers: Vec::new(),
        trust: site.trust.digest(),
    };
    trail.append_durable(None, body)?;
    site.store.remove(&id)?;
    trail.close()?;
    let mark = trail_mark(context, &id)?.unwrap_or(release);
    context.screen.say(&format!("removed {id}; releases older than {mark} stay refused"));
    if context.screen.json() {
        context.screen.document("playbook-remove", &json!({ "playbook": id, "release": release }))?;
    }
    Ok(Exit::Ok)
}
