//! `guardian init`: a new home that permits nothing and trusts nobody.

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

fn shown(path: &std::path::Path) -> String {
    crate::model::escape(&path.display().to_string())
}

/// Makes the home with this configuration. Refuses one that is there, so that nothing is ever overwritten.
pub(super) fn make(context: &Context, configuration: &str) -> Result<(), Failure> {
    let home = &context.home;
    let settings = Configuration::parse(&home.etc().join("guardian.toml"), configuration)?;
    let etc = Folder::make(home.etc())?;
    if etc.dir().exists("guardian.toml") {
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
