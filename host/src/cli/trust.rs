//! `guardian trust`: which publisher, which key, how many of them.

use serde_json::json;

use crate::audit::{Body, Trail, TrustChange};
use crate::durable::Folder;
use crate::inventory::Configuration;
use crate::model::{Name, escape};
use crate::run::{actor, audit_options};
use crate::trust::{PublicKey, TrustError, TrustStore};

use super::Exit;
use super::arguments::TrustCommand;
use super::context::{Context, folder_of};
use super::failure::Failure;
use super::screen::Tone;

/// A public key is one line.
const LARGEST_KEY: u64 = 4 * 1024;

pub(super) fn execute(context: &Context, command: TrustCommand) -> Result<Exit, Failure> {
    let folder = context.home.open_etc()?.sub("trust")?;
    match command {
        TrustCommand::List => list(context, &folder),
        TrustCommand::Add { key, publisher, threshold, label } => {
            let publisher: Name = publisher.parse()?;
            let key = read_key(&key)?;
            let label = label.map(|label| label.parse()).transpose()?;
            let id = Some(key.id().to_string());
            let add = |store: &mut TrustStore| store.add(&publisher, label, key, threshold);
            let label = change(context, &folder, TrustChange::Added, &publisher, id, add)?;
            context
                .screen
                .say(&format!("{} `{label}` to sign for `{publisher}`", context.screen.paint(Tone::Good, "trusted")));
            Ok(Exit::Ok)
        }
        TrustCommand::Remove { publisher, key } => {
            let publisher: Name = publisher.parse()?;
            let label: Option<Name> = key.map(|label| label.parse()).transpose()?;
            let removed = label.as_ref().map(ToString::to_string);
            let remove = |store: &mut TrustStore| store.remove(&publisher, label.as_ref());
            change(context, &folder, TrustChange::Removed, &publisher, removed, remove)?;
            context.screen.say(&format!(
                "`{publisher}` is no longer trusted with {}",
                label.map_or("any key".to_owned(), |label| format!("`{label}`"))
            ));
            Ok(Exit::Ok)
        }
        TrustCommand::ResetClock { reason } => {
            let trail = open_trail(context)?;
            let store = TrustStore::load(&folder)?;
            let body = Body::Trust {
                change: TrustChange::ClockReset,
                publisher: None,
                key: Some(escape(&reason)),
                digest: store.digest(),
            };
            trail.append_durable(None, body)?;
            trail.close()?;
            context.screen.say("the machine's clock counts as right again; the reason stands on the trail");
            if context.screen.json() {
                let change = json!({ "change": TrustChange::ClockReset, "publisher": null, "digest": store.digest() });
                context.screen.document("trust", &change)?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// The key itself, or a file with it.
fn read_key(given: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let (folder, name) = folder_of(std::path::Path::new(given))?;
    let bytes = folder.read_bounded(&name, LARGEST_KEY)?;
    Ok(String::from_utf8_lossy(&bytes).trim().parse::<PublicKey>()?)
}

fn open_trail(context: &Context) -> Result<Trail, Failure> {
    let configuration = Configuration::load(&context.home.open_etc()?)?;
    let clock = std::sync::Arc::clone(&context.clock);
    Ok(Trail::open(&audit_options(&context.home, &configuration), actor(), clock)?)
}

/// Changes the trust file under the lock of the trail, so that two who change it at once do so one after the other. The
/// change goes on the trail before it takes hold, with the digest of exactly the file that is written then: who may sign
/// is the most valuable thing a home knows.
fn change<T>(
    context: &Context,
    folder: &Folder,
    change: TrustChange,
    publisher: &Name,
    key: Option<String>,
    apply: impl FnOnce(&mut TrustStore) -> Result<T, TrustError>,
) -> Result<T, Failure> {
    let trail = open_trail(context)?;
    let mut store = TrustStore::load(folder)?;
    let given = apply(&mut store)?;
    let digest = store.next().digest();
    trail.append_durable(None, Body::Trust { change, publisher: Some(publisher.clone()), key, digest })?;
    store.save(folder)?;
    trail.close()?;
    if context.screen.json() {
        context
            .screen
            .document("trust", &json!({ "change": change, "publisher": publisher, "digest": store.digest() }))?;
    }
    Ok(given)
}

fn list(context: &Context, folder: &Folder) -> Result<Exit, Failure> {
    let store = TrustStore::load(folder)?;
    let screen = &context.screen;
    let rows: Vec<Vec<String>> = store
        .list()
        .flat_map(|(name, publisher)| {
            let threshold = format!("{} of {}", publisher.threshold, publisher.keys.len());
            publisher
                .keys
                .iter()
                .map(move |(label, key)| vec![name.to_string(), threshold.clone(), label.to_string(), key.to_string()])
                .collect::<Vec<_>>()
        })
        .collect();
    if screen.json() {
        let items: Vec<_> = rows
            .iter()
            .map(|row| json!({ "publisher": row.first(), "threshold": row.get(1), "label": row.get(2), "key": row.get(3) }))
            .collect();
        screen.document("trust-list", &json!({ "publishers": items, "digest": store.digest() }))?;
    } else if rows.is_empty() {
        screen.say(&format!(
            "no publisher is trusted; add one with `guardian{} trust add KEY --publisher NAME`",
            context.home.flag()
        ));
    } else {
        screen.table(&["PUBLISHER", "SIGNATURES", "LABEL", "KEY"], &rows);
    }
    Ok(Exit::Ok)
}
