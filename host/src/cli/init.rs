//! `guardian init`: a new home that permits nothing and trusts nobody.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::audit::{AuditError, Trail};
use crate::durable::Folder;
use crate::inventory::{Configuration, DEFAULT_CONFIGURATION};
use crate::policy::{DEFAULT_BASICS, DEFAULT_HARD};
use crate::registry::{HostKey, Store};
use crate::run::{actor, audit_options};

use super::Exit;
use super::context::Context;
use super::failure::Failure;
use super::screen::Tone;

pub(super) fn init(context: &Context) -> Result<Exit, Failure> {
    make(context, DEFAULT_CONFIGURATION)?;
    let (home, screen) = (&context.home, &context.screen);
    if screen.json() {
        screen.document("init", &json!({ "etc": home.etc(), "var": home.var() }))?;
        return Ok(Exit::Ok);
    }
    let flag = home.flag();
    screen.say(&format!("{} a new home", screen.paint(Tone::Good, "made")));
    screen.say(&format!("  {}   yours: configuration, policy, trust", shown(home.etc())));
    screen.say(&format!("  {}   guardian's own: keys, playbooks, audit trail, state", shown(home.var())));
    screen.say("it trusts no publisher, and permits nothing but a run's own log and the clock. next:");
    screen.say(&format!("  name a service     edit {}", shown(&home.etc().join("guardian.toml"))));
    screen.say(&format!("  trust a publisher  guardian{flag} trust add KEY --publisher NAME"));
    screen.say(&format!("  add a playbook     guardian{flag} playbook add FILE.wasm"));
    screen.say(&format!("  permit it          write {}", shown(&home.etc().join("policy/permits/NAME.cedar"))));
    Ok(Exit::Ok)
}

fn shown(path: &Path) -> String {
    crate::model::escape(&path.display().to_string())
}

/// Makes the home with this configuration. Refuses one that is there, so that nothing is ever overwritten. If it cannot be
/// made whole, what was made of it is taken away again: half a home looks like one that was damaged.
pub(super) fn make(context: &Context, configuration: &str) -> Result<(), Failure> {
    let home = &context.home;
    let in_etc = ["guardian.d", "trust", "policy", "policy/gates", "policy/hard", "policy/permits"];
    let files = ["policy/hard/protected.cedar", "policy/permits/basics.cedar", "guardian.toml"];
    let in_var = ["store", "cache", "state", "state/orders", "keys", "keys/host.key", "keys/audit.key", "audit"];
    let etc = in_etc.iter().chain(&files).map(|name| home.etc().join(name));
    let missing: BTreeSet<PathBuf> =
        etc.chain(in_var.iter().map(|name| home.var().join(name))).filter_map(|path| first_missing(&path)).collect();
    make_in(context, configuration).inspect_err(|_| missing.iter().for_each(|path| take_away(path)))
}

/// The first folder on the way that is not there, or the path itself; none if all of it is.
fn first_missing(path: &Path) -> Option<PathBuf> {
    // Only what is surely not there: nothing that was there before is ever taken away.
    let is_missing = |part: &&Path| part.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    path.ancestors().take_while(is_missing).last().map(Path::to_owned)
}

/// Nothing depends on it, and the error that matters is the first one: what cannot be taken away stays.
fn take_away(path: &Path) {
    if let (Some(Ok(folder)), Some(name)) = (path.parent().map(Folder::open), path.file_name())
        && folder.dir().remove_file(name).is_err()
    {
        let _ = folder.dir().remove_dir_all(name);
    }
}

fn make_in(context: &Context, configuration: &str) -> Result<(), Failure> {
    let home = &context.home;
    let settings = Configuration::parse(&home.etc().join("guardian.toml"), configuration)?;
    let etc = Folder::make(home.etc())?;
    if etc.dir().exists("guardian.toml") {
        // Says how to go on where Guardian's own folder is gone.
        home.open_var()?;
        return Err(Failure::usage(format!(
            "there is a home at `{}` already; nothing was changed",
            etc.path().display()
        )));
    }
    etc.make_sub("guardian.d")?;
    etc.make_sub("trust")?;
    let policy = etc.make_sub("policy")?;
    policy.make_sub("gates")?;
    // An initialization that was interrupted goes on where it was; what stands there already is the operator's.
    for (folder, file, text) in [("hard", "protected.cedar", DEFAULT_HARD), ("permits", "basics.cedar", DEFAULT_BASICS)]
    {
        let folder = policy.make_sub(folder)?;
        if !folder.dir().exists(file) {
            folder.replace_with_mode(file, text.as_bytes(), 0o644)?;
        }
    }
    let var = Folder::make(home.var())?;
    for name in ["store", "cache", "state"] {
        var.make_sub(name)?;
    }
    // The store makes its own folders when it is first opened; a home that is whole needs no writing to be read.
    Store::open(var.sub("store")?)?;
    // There from the start, so that a call need not look for it anew.
    var.sub("state")?.make_sub("orders")?;
    HostKey::load_or_make(&var.make_sub("keys")?)?;
    match Trail::create(&audit_options(home, &settings), actor(), std::sync::Arc::clone(&context.clock)) {
        Ok(trail) => trail.close()?,
        // A trail is never overwritten, and never made twice.
        Err(AuditError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Last: a home with this file is whole.
    etc.replace_with_mode("guardian.toml", configuration.as_bytes(), 0o644)?;
    Ok(())
}
