//! Approval: the folder of plans that wait for people, and of what they said.
//!
//! A gate never stops a run half-way if it could have been foreseen: what a playbook under a gate would do is planned first,
//! and if the plan meets a gate, nothing is done and the plan waits ([`Asked`]). The trail holds its digest, and
//! `state/approvals/RUN.json` the plan itself, so that a changed plan is noticed. People answer with signed words beside it
//! ([`Answers`]). The words are used up when the run goes on: that it does is on the trail first (INVARIANT 10: no grant
//! without the operator's file, none from a guest, none twice).
//!
//! Nothing here is locked: people answer while runs are under way, and a plan may be gone the moment after it was seen.
//! Whoever goes on with it holds the trail and asks everything again.

use std::collections::BTreeSet;

use crate::audit::{Body, State, Trail};
use crate::durable::Folder;
use crate::model::{Name, RunId, escape_to};
use crate::trust::{TrustError, Word};

use super::answers::{Answers, judge};
use super::asked::{Asked, LARGEST_PLAN};
use super::people::People;
use super::{RunError, Site};

/// The largest word, in bytes: a few hundred, with its envelope.
pub(super) const LARGEST_WORD: u64 = 64 * 1024;

/// The folder of plans that wait and of what people said.
#[derive(Debug)]
pub struct Approvals {
    pub(super) folder: Folder,
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
        self.folder.create(&format!("{}.json", asked.run), &asked.bytes())?;
        let body = Body::Waiting {
            plan: asked.plan(),
            effects: u64::try_from(asked.effects.len()).unwrap_or(u64::MAX),
            gates: asked.gates.keys().cloned().collect(),
            until: asked.until,
        };
        trail.append_durable(Some(&asked.run), body)?;
        Ok(())
    }

    /// The plan of a run that waits in this home, as the trail knows it.
    ///
    /// # Errors
    /// When no such run waits, its plan is gone or changed, or it waited on another trail.
    pub fn asked(&self, site: &Site, state: &State, run: &RunId) -> Result<Asked, RunError> {
        let found = self.read(run)?;
        let Some(waits) = state.waiting().get(run) else {
            let problem = match (state.run(run), found) {
                (Some(summary), _) => format!("`{run}` does not wait for approval: it is {}", summary.state.word()),
                (None, Some(Ok(asked))) if asked.trail != site.trail_key()? => format!(
                    "`{run}` waited on another trail of this home, or of another home; words for it count no more: run it again to ask anew"
                ),
                (None, _) => format!("the trail remembers no run `{run}`; see `guardian status`"),
            };
            return Err(RunError::Request(problem));
        };
        let again = "run it again to ask anew";
        match found {
            None => Err(RunError::Request(format!("the plan of `{run}` is gone; {again}"))),
            Some(Err(problem)) => {
                Err(RunError::Request(format!("the plan of `{run}` cannot be read: {problem}; {again}")))
            }
            Some(Ok(asked))
                if asked.run == *run && asked.plan() == waits.plan && asked.trail == site.trail_key()? =>
            {
                Ok(asked)
            }
            Some(Ok(_)) => {
                let problem =
                    format!("the plan of `{run}` on the disk is not the one that the trail speaks of; {again}");
                Err(TrustError::Word(problem).into())
            }
        }
    }

    /// What lies there as the plan of a run: nothing, a plan, or something that is none.
    fn read(&self, run: &RunId) -> Result<Option<Result<Asked, String>>, RunError> {
        match self.folder.read_bounded(&format!("{run}.json"), LARGEST_PLAN) {
            Ok(bytes) => Ok(Some(Asked::read(&bytes))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what a person said, once it is clear that it counts. Gives who it was, and what.
    ///
    /// # Errors
    /// When it does not count, with the reason.
    pub fn say(&self, site: &Site, asked: &Asked, signed: &[u8]) -> Result<(Name, Word), RunError> {
        let people = People::of(site)?;
        let (person, _, word) = judge(site, &people, asked, signed)?;
        // One rejection ends it, whatever anybody says afterwards.
        if let Some((who, reason)) = self.answers(site, asked)?.no {
            let reason = escape_to(&reason, 300);
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
            match self.folder.read_bounded(name, LARGEST_WORD) {
                Ok(signed) => answers.hear(site, &people, asked, (name, &signed)),
                // Somebody goes on with it right now, and it is used up.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
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

    /// Forgets every plan of a run that does not wait on this trail: the trail has forgotten it or has a successor, or its
    /// process ended between the plan and its record. Only for who holds the trail, so that no plan is on its way there.
    pub(super) fn sweep(&self, state: &State) {
        let run_of = |name: &String| name.split('.').next()?.parse::<RunId>().ok();
        let runs: BTreeSet<RunId> = self.folder.names().unwrap_or_default().iter().filter_map(run_of).collect();
        for run in runs.iter().filter(|run| !state.waiting().contains_key(*run)) {
            self.forget(run);
        }
    }
}
