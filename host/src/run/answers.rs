//! What people have said to a plan that waits, and whether it counts.
//!
//! A word counts if the operator's file gives its key to a person, if it is about this run and this digest, if its time is
//! not over, if the person has a role that is asked, and if none of their keys is one that the playbook's own publisher
//! signs with. A quorum counts people. One rejection ends it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::gate::{Approved, Approver, Scope};
use crate::model::Name;
use crate::policy::GateTerms;
use crate::trust::{TrustError, Word};

use super::people::People;
use super::{Asked, RunError, Site};

/// How far a person's clock may be ahead of this one.
const AHEAD: Duration = Duration::from_secs(300);

/// What one person approved.
#[derive(Clone, Debug)]
struct Yes {
    person: Name,
    roles: BTreeSet<Name>,
    exact: bool,
}

/// What people have said so far to a plan that waits.
#[derive(Debug, Default)]
pub struct Answers {
    yes: Vec<Yes>,
    /// Who said no, and why.
    pub no: Option<(Name, String)>,
    /// Words that do not count, and why.
    pub notes: Vec<String>,
}

impl Answers {
    /// Takes in one signed word, from the file `name`; one that does not count becomes a note.
    pub(super) fn hear(&mut self, site: &Site, people: &People, asked: &Asked, (name, signed): (&str, &[u8])) {
        match judge(site, people, asked, signed) {
            Ok((person, _, Word::Reject { reason, .. })) => self.no = Some((person, reason)),
            // INVARIANT 10: a person counts once, whatever the files are called.
            Ok((person, roles, Word::Approve { exact, .. })) => {
                if !self.yes.iter().any(|yes| yes.person == person) {
                    self.yes.push(Yes { person, roles, exact });
                }
            }
            Ok((_, _, Word::BreakGlass { .. })) => {}
            Err(error) => self.notes.push(format!("{name} does not count: {error}")),
        }
    }

    /// Who said yes.
    #[must_use]
    pub fn people(&self) -> Vec<Name> {
        self.yes.iter().map(|yes| yes.person.clone()).collect()
    }

    /// Who said yes, in words, and how closely each of them wants the plan followed: `ann, bob (exactly this sequence)`.
    #[must_use]
    pub fn so_far(&self) -> String {
        let words = |yes: &Yes| format!("{}{}", yes.person, if yes.exact { " (exactly this sequence)" } else { "" });
        let all: Vec<String> = self.yes.iter().map(words).collect();
        if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
    }

    /// Whether the plan must be followed exactly: if anybody wants it.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.yes.iter().any(|yes| yes.exact)
    }

    /// What they approved, to hold the run to.
    #[must_use]
    pub fn approved(&self, asked: &Asked) -> Approved {
        let people = self.yes.iter().map(|yes| Approver { person: yes.person.clone(), roles: yes.roles.clone() });
        let scope = if self.exact() { Scope::Exact } else { Scope::Envelope };
        Approved::new(people.collect(), scope, asked.effects.clone())
    }

    /// The gates that are not opened yet, in words.
    #[must_use]
    pub fn missing(&self, asked: &Asked) -> Vec<String> {
        let approved = self.approved(asked);
        let closed = asked.gates.iter().filter(|(_, (quorum, approvers))| {
            !approved.opens(&GateTerms { approvers: approvers.clone(), quorum: *quorum })
        });
        closed
            .map(|(id, (quorum, roles))| {
                format!("{id} wants {quorum} of {}", roles.iter().cloned().collect::<Vec<_>>().join(", "))
            })
            .collect()
    }
}

/// Whether a word counts for a plan, whose it is, and in which roles.
///
/// # Errors
/// Why it does not.
pub(super) fn judge(
    site: &Site,
    people: &People,
    asked: &Asked,
    signed: &[u8],
) -> Result<(Name, BTreeSet<Name>, Word), RunError> {
    let refused = |problem: String| Err(RunError::Trust(TrustError::Word(problem)));
    let (person, word) = people.read(signed)?;
    let name = &person.name;
    let (run, plan, at, until) = match &word {
        Word::Approve { run, plan, at, until, .. } => (run, plan, *at, *until),
        Word::Reject { run, plan, at, .. } => (run, plan, *at, asked.until),
        Word::BreakGlass { .. } => return refused(format!("`{name}` broke the glass with it and approved nothing")),
    };
    if *run != asked.run || *plan != asked.plan() {
        return refused(format!("`{name}` said it about another plan (run {run})"));
    }
    let now = site.clock.now();
    if until <= now || at > now.plus(AHEAD) {
        return refused(format!("what `{name}` said counts until {until}, and it is {now}"));
    }
    let publisher = &asked.playbook.publisher;
    if person.signs_for(&site.trust, publisher) {
        return refused(format!("`{name}` signs for the publisher `{publisher}` and cannot approve its runs"));
    }
    let fits = |(_, roles): &(u32, BTreeSet<String>)| person.roles.iter().any(|role| roles.contains(role.as_str()));
    if !asked.gates.values().any(fits) {
        return refused(format!("`{name}` has none of the roles that are asked: {}", asked.wants().join("; ")));
    }
    Ok((name.clone(), person.roles.clone(), word))
}
