//! `[person.NAME]`: who may approve, with which keys, in which roles.
//!
//! The operator's own file is the only place where an approver can be made (INVARIANT 10): it is read-only to the daemon and
//! refused if others can write it. A key belongs to one person, because a quorum counts people and not keys.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use crate::model::Name;

/// A public key as it stands in the file: `guardian-ed25519:..` or a line of OpenSSH's `.pub` (`ssh-ed25519 ..`). What it
/// means is the trust room's to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyText {
    /// The words that make the key, without a comment.
    pub text: String,
}

/// A person who can approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their keys.
    pub keys: BTreeSet<KeyText>,
    /// The roles that they may approve as; gates name them.
    pub roles: BTreeSet<Name>,
    /// Whether they may break the glass.
    pub break_glass: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPerson {
    keys: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    #[serde(default)]
    break_glass: bool,
}

impl File<'_> {
    pub(super) fn person(&self, raw: RawPerson) -> Result<Person, InventoryError> {
        let at = raw.keys.span();
        let mut keys = BTreeSet::new();
        for key in raw.keys.into_inner() {
            let words: Vec<&str> = key.get_ref().split_whitespace().collect();
            let text = match words.as_slice() {
                [own] if own.starts_with("guardian-ed25519:") => (*own).to_owned(),
                [kind, data, ..] if *kind == "ssh-ed25519" => format!("{kind} {data}"),
                _ => {
                    let problem = "a key is `guardian-ed25519:..` (the content of NAME.pub) or `ssh-ed25519 ..` (a line of an OpenSSH .pub file)";
                    return Err(self.error(&key.span(), problem));
                }
            };
            keys.insert(KeyText { text });
        }
        if keys.is_empty() {
            return Err(self.error(&at, "a person needs at least one key"));
        }
        Ok(Person { keys, roles: self.names(&raw.roles)?, break_glass: raw.break_glass })
    }
}
