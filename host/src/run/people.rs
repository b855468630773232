//! The people of `guardian.toml`, with keys that can be checked.
//!
//! The operator's file is the only place that makes a person who may approve or break the glass (INVARIANT 10), and a key
//! is one person's, because a quorum counts people.

use std::collections::BTreeSet;

use crate::model::Name;
use crate::policy::{GateTerms, PolicySet};
use crate::trust::{PublicKey, TrustError, TrustStore, Word, read_word};

use super::{RunError, Site};

/// Someone who can answer, with keys that can be checked.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: Name,
    keys: Vec<PublicKey>,
    pub(super) roles: BTreeSet<Name>,
    pub(super) break_glass: bool,
}

impl Person {
    /// Whether one of their keys signs for this publisher: whoever wrote the code does not say that it may run.
    pub(super) fn signs_for(&self, trust: &TrustStore, publisher: &Name) -> bool {
        let own = |key: &PublicKey| self.keys.contains(key);
        trust.publisher(publisher).is_some_and(|publisher| publisher.keys.values().any(own))
    }
}

/// The people of `guardian.toml`.
#[derive(Clone, Debug)]
pub struct People(Vec<Person>);

impl People {
    /// Reads everybody's keys.
    ///
    /// # Errors
    /// When a key is none, or two people have the same one.
    pub fn of(site: &Site) -> Result<Self, RunError> {
        let mut people: Vec<Person> = Vec::new();
        for (name, person) in &site.configuration.people {
            let mut keys = Vec::new();
            for key in &person.keys {
                let own = |error| RunError::Request(format!("[person.{name}] in guardian.toml: {error}"));
                let key: PublicKey = key.text.parse().map_err(own)?;
                if let Some(other) = people.iter().find(|other| other.keys.contains(&key)) {
                    let other = &other.name;
                    let problem =
                        format!("`{name}` and `{other}` have the same key in guardian.toml; a key is one person's");
                    return Err(RunError::Request(problem));
                }
                keys.push(key);
            }
            let (roles, break_glass) = (person.roles.clone(), person.break_glass);
            people.push(Person { name: name.clone(), keys, roles, break_glass });
        }
        Ok(Self(people))
    }

    /// The gates that these people cannot open, however many of them agree: they would stop for ever.
    #[must_use]
    pub fn cannot_open(&self, policy: &PolicySet) -> Vec<String> {
        let short = |(id, terms): (&str, GateTerms)| {
            let fits = |person: &&Person| person.roles.iter().any(|role| terms.approvers.contains(role.as_str()));
            let there = self.0.iter().filter(fits).count();
            let roles = terms.approvers.iter().cloned().collect::<Vec<_>>().join(", ");
            let enough = u32::try_from(there).is_ok_and(|there| there >= terms.quorum);
            (!enough).then(|| {
                format!(
                    "nobody can open the gate `{id}`: it wants {} of {roles}, and guardian.toml names {there}; give people that role under [person.NAME], or mend @approvers and @quorum", terms.quorum
                )
            })
        };
        policy.gates().filter_map(short).collect()
    }

    /// Whether a person of that name signs for a publisher; one who is not there might, as far as anybody knows.
    pub(super) fn sign_for(&self, person: &Name, trust: &TrustStore, publisher: &Name) -> bool {
        self.0.iter().find(|known| known.name == *person).is_none_or(|person| person.signs_for(trust, publisher))
    }

    /// Reads a signed word: whose it is, and what it says. Whether it counts for anything is the caller's to say.
    ///
    /// # Errors
    /// When none of these people signed it, or it is malformed.
    pub(super) fn read(&self, signed: &[u8]) -> Result<(&Person, Word), TrustError> {
        let keys: Vec<PublicKey> = self.0.iter().flat_map(|person| person.keys.iter().cloned()).collect();
        let (word, key) = read_word(signed, &keys)?;
        let person = self.0.iter().find(|person| person.keys.contains(key));
        Ok((person.ok_or_else(|| TrustError::Word("its key is nobody's".to_owned()))?, word))
    }
}
