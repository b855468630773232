//! `[person.NAME]`: who may approve, with which keys, in which roles.
//!
//! The operator's own file is the only place where an approver can be made (INVARIANT 10): it is read-only to the daemon and
//! refused if others can write it. A key belongs to one person, because a quorum counts people and not keys.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use crate::model::Name;

/// A public key. It stands in the file as `guardian-ed25519:..` or as a line of OpenSSH's `.pub` (`ssh-ed25519 ..`); here it
/// has one spelling, so that a key that two people have is found however each wrote it. Whether it is a good key is the
/// trust room's to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyText {
    /// `guardian-ed25519:` and the base64 of its 32 bytes.
    pub text: String,
}

/// What stands before the 32 bytes in an OpenSSH key: the length and name of its kind, and their length (RFC 8709).
const SSH_HEAD: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

impl KeyText {
    fn of(words: &[&str]) -> Option<Self> {
        let raw = match words {
            [own] => STANDARD.decode(own.strip_prefix(OWN)?).ok()?,
            ["ssh-ed25519", data, ..] => STANDARD.decode(data).ok()?.strip_prefix(SSH_HEAD)?.to_vec(),
            _ => return None,
        };
        let raw = <[u8; 32]>::try_from(raw).ok()?;
        Some(Self { text: format!("{OWN}{}", STANDARD.encode(raw)) })
    }
}

/// What a key of `guardian key new` begins with.
const OWN: &str = "guardian-ed25519:";

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
            let Some(key) = KeyText::of(&words) else {
                let problem = "a key is `guardian-ed25519:..` (the content of NAME.pub) or `ssh-ed25519 ..` (a line of an OpenSSH .pub file)";
                return Err(self.error(&key.span(), problem));
            };
            keys.insert(key);
        }
        if keys.is_empty() {
            return Err(self.error(&at, "a person needs at least one key"));
        }
        Ok(Person { keys, roles: self.names(&raw.roles)?, break_glass: raw.break_glass })
    }
}
