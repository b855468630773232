//! Approval: a plan that waits for people, and what they say to it.
//!
//! A gate never stops a run half-way if it could have been foreseen: what a playbook under a gate would do is planned first,
//! and if the plan meets a gate, nothing is done and the plan waits. What people are asked to approve is that plan of those
//! bytes under that policy for that incident, by one digest; the trail holds the digest, and `state/approvals/RUN.json` the
//! plan itself, so that a changed plan is noticed. People answer with signed words beside it.
//!
//! A word counts if the operator's file gives its key to a person, if it is about this run and this digest, if its time is
//! not over, and if the key is none that the playbook's own publisher signs with. A quorum counts people. The words are used
//! up when the run goes on: that it does is on the trail first (INVARIANT 10: no grant without the operator's file, none from
//! a guest, none twice).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::{Body, Trail};
use crate::durable::Folder;
use crate::gate::{Approved, Approver, PlannedEffect, Scope, Transcript};
use crate::model::{Digest, EffectClass, Incident, Name, PlaybookId, RunId, Timestamp};
use crate::policy::{GateTerms, PolicySet};
use crate::trust::{PublicKey, TrustError, Word, read_word};

use super::{Admitted, RunError, Site};

/// The largest file here, in bytes: a plan of a thousand effects.
const LARGEST: u64 = 1024 * 1024;
/// The longest that broken glass stays broken.
pub const LONGEST_GLASS: Duration = Duration::from_secs(3_600);

/// A plan that waits for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The run that waits.
    pub run: RunId,
    /// Its playbook.
    pub playbook: PlaybookId,
    /// The release.
    pub release: u64,
    /// The bytes.
    pub component: Digest,
    /// The policy that was asked.
    pub policy: Digest,
    /// What it is for.
    pub incident: Incident,
    /// What it would do, in order.
    pub effects: Vec<PlannedEffect>,
    /// The gates that ask, by id: how many people, in which roles.
    pub gates: BTreeMap<String, (u32, BTreeSet<String>)>,
    /// Until when people may answer.
    pub until: Timestamp,
}

/// What the digest of a plan covers. No pids, times or reads.
#[derive(Serialize)]
struct Covered<'a> {
    component: &'a Digest,
    policy: &'a Digest,
    kind: &'a Name,
    target: &'a crate::model::ResourceName,
    severity: u8,
    labels: &'a BTreeMap<String, String>,
    bindings: &'a BTreeMap<String, String>,
    effects: &'a [PlannedEffect],
}

/// The digest of a plan: of the component, the policy, the incident and the effects, in their order.
#[must_use]
pub fn plan_digest(component: &Digest, policy: &Digest, incident: &Incident, effects: &[PlannedEffect]) -> Digest {
    let Incident { kind, target, severity, labels, bindings, .. } = incident;
    let covered = Covered { component, policy, kind, target, severity: *severity, labels, bindings, effects };
    Digest::of(&serde_json::to_vec(&covered).unwrap_or_default())
}

/// What people sign of a plan besides the plan itself: whom it asks, and until when. Else whoever can write the file could
/// ask fewer people, or ask them for longer, under the same digest.
#[derive(Serialize)]
struct Terms<'a> {
    plan: Digest,
    gates: &'a BTreeMap<String, (u32, BTreeSet<String>)>,
    until: Timestamp,
}

impl Asked {
    /// The digest of what is asked: the plan, the gates with whom they want, and until when.
    #[must_use]
    pub fn plan(&self) -> Digest {
        let plan = plan_digest(&self.component, &self.policy, &self.incident, &self.effects);
        let terms = Terms { plan, gates: &self.gates, until: self.until };
        Digest::of(&serde_json::to_vec(&terms).unwrap_or_default())
    }

    /// What would be done, each with what it leaves behind. What this Guardian does not know counts as irreversible.
    pub fn effects(&self) -> impl Iterator<Item = (&PlannedEffect, EffectClass)> {
        self.effects.iter().map(|effect| (effect, effect.class()))
    }

    /// The same as JSON.
    #[must_use]
    pub fn effects_json(&self) -> serde_json::Value {
        let effect = |(effect, class): (&PlannedEffect, EffectClass)| {
            serde_json::json!({
                "action": effect.action, "resource": effect.resource, "arguments": effect.arguments, "class": class,
            })
        };
        self.effects().map(effect).collect()
    }

    /// What the gates want, in words: `web-restart: 2 of sre`.
    #[must_use]
    pub fn wants(&self) -> Vec<String> {
        let gate = |(id, (quorum, roles)): (&String, &(u32, BTreeSet<String>))| {
            format!("{id}: {quorum} of {}", roles.iter().cloned().collect::<Vec<_>>().join(", "))
        };
        self.gates.iter().map(gate).collect()
    }
}

/// Someone who can answer, with keys that can be checked.
#[derive(Clone, Debug)]
struct Person {
    name: Name,
    keys: Vec<PublicKey>,
    roles: BTreeSet<Name>,
    break_glass: bool,
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

    fn keys(&self) -> Vec<PublicKey> {
        self.0.iter().flat_map(|person| person.keys.iter().cloned()).collect()
    }

    fn whose(&self, key: &PublicKey) -> Option<&Person> {
        self.0.iter().find(|person| person.keys.contains(key))
    }
}

/// What people have said so far to a plan that waits.
#[derive(Debug, Default)]
pub struct Answers {
    yes: Vec<(Name, BTreeSet<Name>, bool)>,
    /// Who said no, and why.
    pub no: Option<(Name, String)>,
    /// Words that do not count, and why.
    pub notes: Vec<String>,
}

impl Answers {
    /// Who said yes.
    #[must_use]
    pub fn people(&self) -> Vec<Name> {
        self.yes.iter().map(|(name, _, _)| name.clone()).collect()
    }

    /// Whether the plan must be followed exactly: if anybody wants it.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.yes.iter().any(|(_, _, exact)| *exact)
    }

    /// What they approved, to hold the run to.
    #[must_use]
    pub fn approved(&self, asked: &Asked) -> Approved {
        let people =
            self.yes.iter().map(|(person, roles, _)| Approver { person: person.clone(), roles: roles.clone() });
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

/// The folder of plans that wait and of what people said.
#[derive(Debug)]
pub struct Approvals {
    folder: Folder,
}

impl Approvals {
    /// `state/approvals/`.
    ///
    /// # Errors
    /// When it cannot be made, or others can write it.
    pub fn open(site: &Site) -> Result<Self, RunError> {
        let folder = site.home.open_var()?.make_sub("state")?.make_sub("approvals")?;
        folder.trusted()?;
        Ok(Self { folder })
    }

    /// The same, if there is such a folder: nothing is made.
    ///
    /// # Errors
    /// When others can write it, or it cannot be opened.
    pub fn there(site: &Site) -> Result<Option<Self>, RunError> {
        let folder = site.home.open_var()?.sub("state").and_then(|state| state.sub("approvals"));
        match folder {
            Ok(folder) => {
                folder.trusted()?;
                Ok(Some(Self { folder }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets a plan wait: on the disk, then on the trail.
    ///
    /// # Errors
    /// When either cannot be written.
    pub(super) fn ask(&self, trail: &Trail, asked: &Asked) -> Result<(), RunError> {
        self.folder.create(&format!("{}.json", asked.run), &serde_json::to_vec(asked).unwrap_or_default())?;
        let body = Body::Waiting {
            plan: asked.plan(),
            effects: u64::try_from(asked.effects.len()).unwrap_or(u64::MAX),
            gates: asked.gates.keys().cloned().collect(),
            until: asked.until,
        };
        trail.append_durable(Some(&asked.run), body)?;
        Ok(())
    }

    /// The plan of a run that waits.
    ///
    /// # Errors
    /// When there is none.
    pub fn asked(&self, run: &RunId) -> Result<Asked, RunError> {
        let bytes = match self.folder.read_bounded(&format!("{run}.json"), LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                return Err(RunError::Request(format!("no plan of `{run}` waits for approval; see `guardian status`")));
            }
            Err(error) => return Err(error.into()),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| RunError::Request(format!("the plan of `{run}` cannot be read: {error}; run it again")))
    }

    /// Keeps what a person said, once it is clear that it counts. Gives who it was, and what.
    ///
    /// # Errors
    /// When it does not count, with the reason.
    pub fn say(&self, site: &Site, asked: &Asked, signed: &[u8]) -> Result<(Name, Word), RunError> {
        let people = People::of(site)?;
        let (person, word) = judge(site, &people, asked, signed)?;
        // One rejection ends it, whatever anybody says afterwards.
        if let Some((who, reason)) = self.answers(site, asked)?.no {
            let reason = crate::model::escape_to(&reason, 300);
            return Err(TrustError::Word(format!("`{who}` rejected it: {reason}; run it again to ask anew")).into());
        }
        // A file of its own, so that no later yes stands in its place.
        let kind = if matches!(word, Word::Reject { .. }) { "no.word" } else { "word" };
        self.folder.replace(&format!("{}.{person}.{kind}", asked.run), signed)?;
        Ok((person, word))
    }

    /// What people have said so far.
    ///
    /// # Errors
    /// When the folder cannot be read, or the people of the configuration cannot.
    pub fn answers(&self, site: &Site, asked: &Asked) -> Result<Answers, RunError> {
        let people = People::of(site)?;
        let mut answers = Answers::default();
        let own = format!("{}.", asked.run);
        for name in self.folder.names()?.iter().filter(|name| name.starts_with(&own) && name.ends_with(".word")) {
            let signed = self.folder.read_bounded(name, LARGEST)?;
            match judge(site, &people, asked, &signed) {
                Ok((person, Word::Reject { reason, .. })) => answers.no = Some((person, reason)),
                Ok((person, Word::Approve { exact, .. })) => {
                    let roles = people.0.iter().find(|known| known.name == person).map(|known| known.roles.clone());
                    // INVARIANT 10: a person counts once, whatever the files are called.
                    if !answers.yes.iter().any(|(known, _, _)| *known == person) {
                        answers.yes.push((person, roles.unwrap_or_default(), exact));
                    }
                }
                Ok(_) => {}
                Err(error) => answers.notes.push(format!("{name} does not count: {error}")),
            }
        }
        Ok(answers)
    }

    /// Forgets a plan that waits no more, and what was said to it.
    pub(super) fn forget(&self, run: &RunId) {
        let own = format!("{run}.");
        for name in self.folder.names().unwrap_or_default().iter().filter(|name| name.starts_with(&own)) {
            // A leftover speaks of a run that does not wait, and counts for nothing.
            let _ = self.folder.remove(name);
        }
    }

    /// Breaks the glass: the trail has it before it counts. Gives who it was and until when.
    ///
    /// # Errors
    /// When the word is none of somebody who may, or does not say for how long, or the trail cannot take it.
    pub fn break_glass(&self, site: &Site, trail: &Trail, signed: &[u8]) -> Result<(Name, Timestamp), RunError> {
        let (person, until, reason) = glass(&People::of(site)?, signed, site.clock.now())?;
        trail.append_durable(None, Body::BreakGlass { person: person.clone(), reason, until })?;
        self.folder.replace(&format!("glass.{person}.word"), signed)?;
        Ok((person, until))
    }

    /// Who has broken the glass, if anybody has and it still counts.
    ///
    /// # Errors
    /// When nobody has.
    pub fn broken_glass(&self, site: &Site) -> Result<(Name, Timestamp), RunError> {
        let people = People::of(site)?;
        let now = site.clock.now();
        let words =
            self.folder.names()?.into_iter().filter(|name| name.starts_with("glass.") && name.ends_with(".word"));
        let broken = words.filter_map(|name| {
            let signed = self.folder.read_bounded(&name, LARGEST).ok()?;
            glass(&people, &signed, now).ok()
        });
        broken.max_by_key(|(_, until, _)| *until).map(|(person, until, _)| (person, until)).ok_or_else(|| {
            let home = site.home.flag();
            RunError::Request(format!(
                "nobody has broken the glass, or it is over; `guardian{home} break-glass --reason WHY --for 15m --key FILE` does"
            ))
        })
    }
}

/// Whether a word counts for a plan, and whose it is.
fn judge(site: &Site, people: &People, asked: &Asked, signed: &[u8]) -> Result<(Name, Word), RunError> {
    let refused = |problem: String| Err(RunError::Trust(TrustError::Word(problem)));
    let keys = people.keys();
    let (word, key) = read_word(signed, &keys)?;
    let Some(person) = people.whose(key) else { return refused("its key is nobody's".to_owned()) };
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
    if until <= now || at > now.plus(Duration::from_secs(300)) {
        return refused(format!("what `{name}` said counts until {until}, and it is {now}"));
    }
    // Whoever wrote the code does not approve it.
    let publisher = site.trust.publisher(&asked.playbook.publisher);
    if publisher.is_some_and(|publisher| publisher.keys.values().any(|own| person.keys.contains(own))) {
        return refused(format!(
            "`{name}` signs for the publisher `{}` and cannot approve its runs",
            asked.playbook.publisher
        ));
    }
    let fits = |(_, roles): &(u32, BTreeSet<String>)| person.roles.iter().any(|role| roles.contains(role.as_str()));
    if !asked.gates.values().any(fits) {
        return refused(format!("`{name}` has none of the roles that are asked: {}", asked.wants().join("; ")));
    }
    Ok((name.clone(), word))
}

fn glass(people: &People, signed: &[u8], now: Timestamp) -> Result<(Name, Timestamp, String), RunError> {
    let refused = |problem: String| Err(RunError::Trust(TrustError::Word(problem)));
    let keys = people.keys();
    let (word, key) = read_word(signed, &keys)?;
    let (Some(person), Word::BreakGlass { reason, at, until }) = (people.whose(key), word) else {
        return refused("it does not break the glass".to_owned());
    };
    let name = &person.name;
    if !person.break_glass {
        return refused(format!("`{name}` may not break the glass; guardian.toml says who may: `break_glass = true`"));
    }
    if reason.trim().is_empty() {
        return refused("say why: --reason must not be empty".to_owned());
    }
    if until.since(at) > LONGEST_GLASS {
        return refused("glass stays broken for an hour at most".to_owned());
    }
    if at > now.plus(Duration::from_secs(60)) || until <= now {
        return refused(format!("what `{name}` said counts from {at} until {until}, and it is {now}"));
    }
    Ok((name.clone(), until, reason))
}

/// What a planned run asks people, if it met a gate.
pub(super) fn asked(
    site: &Site,
    admitted: &Admitted,
    run: &RunId,
    incident: &Incident,
    transcript: &Transcript,
) -> Option<Asked> {
    let met: BTreeSet<&String> = transcript.gates.iter().collect();
    if met.is_empty() {
        return None;
    }
    let gates = met.into_iter().filter_map(|id| {
        let terms = site.policy.gate(id)?;
        Some((id.clone(), (terms.quorum, terms.approvers)))
    });
    let verified = admitted.verified();
    Some(Asked {
        run: run.clone(),
        playbook: verified.id(),
        release: verified.manifest().release,
        component: *verified.digest(),
        policy: site.policy.digest(),
        incident: incident.clone(),
        effects: transcript.effects.clone(),
        gates: gates.collect(),
        until: site.clock.now().plus(site.configuration.approval_wait),
    })
}
