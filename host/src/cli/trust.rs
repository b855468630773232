//! `guardian trust`: which publisher, which key, how many of them, and which bytes and releases never again.

use serde_json::json;

use crate::audit::{Body, Trail, TrustChange};
use crate::durable::Folder;
use crate::inventory::Configuration;
use crate::model::{Digest, Name, Order, PlaybookId, escape};
use crate::run::{actor, audit_options};
use crate::trust::{PublicKey, TrustError, TrustStore};

use super::Exit;
use super::arguments::TrustCommand;
use super::context::{Context, folder_of};
use super::failure::Failure;
use super::order;
use super::screen::Tone;

/// The longest reason in bytes: a paragraph.
const LONGEST_REASON: usize = 1_024;
/// A public key is one line.
const LARGEST_KEY: u64 = 4 * 1024;

/// How long a publisher's playbooks get no call if taking back its trust does not come to its end.
const WITHDRAWN: std::time::Duration = std::time::Duration::from_secs(600);

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
            let label = change(context, &folder, Change::of(TrustChange::Added, &publisher, id), add)?;
            context
                .screen
                .say(&format!("{} `{label}` to sign for `{publisher}`", context.screen.paint(Tone::Good, "trusted")));
            Ok(Exit::Ok)
        }
        TrustCommand::Remove { publisher, key } => remove(context, &folder, &publisher, key),
        TrustCommand::Revoke { digest, reason } => {
            let digest: Digest = digest.parse()?;
            if reason.trim().is_empty() || reason.len() > LONGEST_REASON {
                return Err(Failure::usage(format!(
                    "give a --reason of 1 to {LONGEST_REASON} bytes: it stands on the trail"
                )));
            }
            let about = Some(format!("{digest} {}", escape(&reason)));
            let what = Change { change: TrustChange::Revoked, publisher: None, about };
            change(context, &folder, what, |store| store.revoke(digest))?;
            context.screen.say(&format!("{digest} never runs again here, whoever signed it"));
            Ok(Exit::Ok)
        }
        TrustCommand::Floor { playbook, release } => {
            let playbook: PlaybookId = playbook.parse()?;
            let what = Change::of(TrustChange::Floor, &playbook.publisher, Some(format!("{playbook} {release}")));
            change(context, &folder, what, |store| {
                store.set_floor(playbook.clone(), release);
                Ok(())
            })?;
            context.screen.say(&format!("no release of {playbook} below {release} runs here, not even by rollback"));
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

fn remove(context: &Context, folder: &Folder, publisher: &str, key: Option<String>) -> Result<Exit, Failure> {
    let publisher: Name = publisher.parse()?;
    let label: Option<Name> = key.map(|label| label.parse()).transpose()?;
    let removed = label.as_ref().map(ToString::to_string);
    let remove = |store: &mut TrustStore| store.remove(&publisher, label.as_ref());
    // Takes hold within one call of a run that holds the trail now; the file itself is changed when it lets go.
    let withdraw = (Order::Withdraw { publisher: publisher.clone() }, "a person is taking back trust");
    order::while_ordered(&context.site()?, withdraw, WITHDRAWN, || {
        change(context, folder, Change::of(TrustChange::Removed, &publisher, removed), remove)
    })?;
    context.screen.say(&format!(
        "`{publisher}` is no longer trusted with {}",
        label.map_or("any key".to_owned(), |label| format!("`{label}`"))
    ));
    Ok(Exit::Ok)
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

/// A change of trust, as the trail says it.
struct Change {
    change: TrustChange,
    publisher: Option<Name>,
    about: Option<String>,
}

impl Change {
    fn of(change: TrustChange, publisher: &Name, about: Option<String>) -> Self {
        Self { change, publisher: Some(publisher.clone()), about }
    }

    fn body(&self, change: TrustChange, digest: Digest) -> Body {
        Body::Trust { change, publisher: self.publisher.clone(), key: self.about.clone(), digest }
    }
}

/// Changes the trust file under the lock of the trail, so that two who change it at once do so one after the other. The
/// change goes on the trail before it takes hold, with the digest of exactly the file that is written then: who may sign
/// is the most valuable thing a home knows.
fn change<T>(
    context: &Context,
    folder: &Folder,
    what: Change,
    apply: impl FnOnce(&mut TrustStore) -> Result<T, TrustError>,
) -> Result<T, Failure> {
    let trail = open_trail(context)?;
    let mut store = TrustStore::load(folder)?;
    let given = apply(&mut store)?;
    let promised = store.next().digest();
    let holds = || TrustStore::load(folder).map(|store| store.digest());
    recorded(&trail, &what, promised, || store.save(folder), holds)?;
    trail.close()?;
    if context.screen.json() {
        let document = json!({ "change": what.change, "publisher": what.publisher, "digest": store.digest() });
        context.screen.document("trust", &document)?;
    }
    Ok(given)
}

/// Puts the change on the trail and then makes it; one that could not be made is taken back there.
fn recorded(
    trail: &Trail,
    what: &Change,
    promised: Digest,
    save: impl FnOnce() -> Result<(), TrustError>,
    holds: impl FnOnce() -> Result<Digest, TrustError>,
) -> Result<(), Failure> {
    trail.append_durable(None, what.body(what.change, promised))?;
    let Err(error) = save() else { return Ok(()) };
    let error = Failure::from(error);
    match holds() {
        // The file has it all the same: what failed came after.
        Ok(digest) if digest == promised => Err(error),
        Ok(digest) => match trail.append_durable(None, what.body(TrustChange::NotMade, digest)) {
            Ok(_) => Err(error),
            Err(lost) => {
                let message = format!(
                    "{}; and the trail, which says that it was made, cannot be corrected: {lost}",
                    error.message
                );
                Err(Failure { exit: Exit::AuditUnavailable, message })
            }
        },
        // Whether it holds, nobody can say now; the next command that needs trust is refused for the same reason.
        Err(_) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::{MemoryLog, State};
    use crate::model::{Actor, SystemClock};

    #[test]
    fn a_change_that_was_not_made_is_taken_back_on_the_trail() {
        let (before, after) = (Digest::of(b"before"), Digest::of(b"after"));
        let fails = || Err(TrustError::Change("the disk is full".to_owned()));
        let recorded = |save: &dyn Fn() -> Result<(), TrustError>, holds| {
            let log = MemoryLog::default();
            let actor = Actor { uid: 0, login_uid: None };
            let trail = Trail::in_memory(log.clone(), State::default(), actor, Arc::new(SystemClock::default()));
            let what = Change::of(TrustChange::Added, &"acme".parse().unwrap(), Some("k".to_owned()));
            let made = super::recorded(&trail, &what, after, save, || Ok(holds));
            let changes = log.records().into_iter().filter_map(|record| match record.body {
                Body::Trust { change, digest, .. } => Some((change, digest)),
                _ => None,
            });
            (made.is_ok(), changes.collect::<Vec<_>>())
        };
        assert_eq!(recorded(&|| Ok(()), after), (true, vec![(TrustChange::Added, after)]));
        let taken_back = vec![(TrustChange::Added, after), (TrustChange::NotMade, before)];
        assert_eq!(recorded(&fails, before), (false, taken_back));
        assert_eq!(recorded(&fails, after), (false, vec![(TrustChange::Added, after)]));
    }
}
