//! `guardian inventory check`: touch every named thing for real, before a night when it is needed.
//!
//! A configuration that is well-formed can still name a unit that does not exist, a baseline that others can write, a
//! program that moved. Nothing is changed; each resource gets one line.

use std::time::Duration;

use serde_json::json;

use crate::capability::Deadline;
use crate::model::escape_to;
use crate::run::People;

use super::Exit;
use super::arguments::InventoryCommand;
use super::context::Context;
use super::failure::Failure;
use super::screen::Tone;

/// How long one thing may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of what was seen a line holds.
const SHOWN: usize = 300;

pub(super) fn execute(context: &Context, command: &InventoryCommand) -> Result<Exit, Failure> {
    let InventoryCommand::Check = command;
    let site = context.site()?;
    let hands = site.hands()?;
    let names = site.configuration.inventory.names();
    let touched = names.into_iter().map(|name| {
        let seen = hands.touch(&name, Deadline::after(PATIENCE)).map_err(|error| error.to_string());
        (name.to_string(), seen)
    });
    let mut touched: Vec<(String, Result<String, String>)> = touched.collect();
    if !site.configuration.people.is_empty() {
        let people = site.configuration.people.len();
        let keys = People::of(&site).map_err(|error| error.to_string()).and_then(|known| {
            let stuck = known.cannot_open(&site.policy);
            if stuck.is_empty() {
                Ok(format!("the keys of {people} people can be read"))
            } else {
                Err(stuck.join("; "))
            }
        });
        touched.push(("people".to_owned(), keys));
    }
    let faults = touched.iter().filter(|(_, seen)| seen.is_err()).count();
    let screen = &context.screen;
    if screen.json() {
        let item = |(name, seen): &(String, Result<String, String>)| match seen {
            Ok(seen) => json!({ "resource": name, "ok": true, "seen": seen }),
            Err(error) => json!({ "resource": name, "ok": false, "seen": error }),
        };
        let items: Vec<_> = touched.iter().map(item).collect();
        screen.document("inventory-check", &json!({ "resources": items, "faults": faults }))?;
    } else if touched.is_empty() {
        screen.say(&format!(
            "nothing is named; name a service in {}",
            context.home.etc().join("guardian.toml").display()
        ));
    } else {
        let row = |(name, seen): &(String, Result<String, String>)| match seen {
            Ok(seen) => vec![name.clone(), screen.paint(Tone::Good, "ok"), escape_to(seen, SHOWN)],
            Err(error) => vec![name.clone(), screen.paint(Tone::Bad, "FAULT"), escape_to(error, SHOWN)],
        };
        screen.table(&["RESOURCE", "", "SEEN"], &touched.iter().map(row).collect::<Vec<_>>());
    }
    Ok(if faults == 0 { Exit::Ok } else { Exit::Usage })
}
