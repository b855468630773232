//! What runs did to the world and have not answered for: the part of the projection that an undo starts from.
//!
//! Each effect of a run stands here from its intent on, with what became of it, until the run is committed (it healed) or
//! the effect was put back. A run whose process went away leaves its effects here, so the next start knows what to ask the
//! hands about; a run that ended without healing leaves those that can still be put back, so that a person can ask for it.
//!
//! What puts an effect back puts the resource back to the time before it, and with it whatever was done to the resource
//! later: an effect that something later stands on is overtaken. Each effect remembers what has overtaken it for good (a run
//! that healed, what nothing can put back, a person's hand); what another run did that can itself be put back is looked up,
//! because undoing that run clears the way.
//!
//! Bounded (INVARIANT 7): by the calls of a run, and by the runs that are remembered, see [`super::projection`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Found, Record};
use crate::model::{Action, EffectClass, ErrorCode, Outcome, PlaybookId, RunId, Timestamp, UndoReference};

/// What became of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Not known: no outcome yet, or one that says so.
    Open,
    /// It happened.
    Done,
    /// The hand said that it failed; a part of it may have happened.
    Failed,
    /// It did not happen.
    NotDone,
    /// It happened and was put back.
    PutBack,
    /// A person looked at it and took it over.
    Settled,
}

/// What has changed the resource of an effect after it, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The run; none if it was a person, by hand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    /// When. No record number: the trail may be another one by now.
    pub t: Timestamp,
}

/// What stands on an effect, so that it must not be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Later {
    /// It stands for good.
    Stands(Since),
    /// Another run did it and can be undone first.
    Undoable {
        /// The run.
        run: RunId,
        /// When.
        t: Timestamp,
    },
}

/// One effect of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The record of its intent.
    pub record: u64,
    /// Its step within the run.
    pub step: u32,
    /// What was asked.
    pub action: Action,
    /// By whom.
    pub playbook: PlaybookId,
    /// What it leaves behind.
    pub class: EffectClass,
    /// What puts it back, if something was kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undo: Option<UndoReference>,
    /// When its intent was written.
    pub t: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// What has overtaken it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Since>,
}

impl Effect {
    /// Whether it could still be put back, or is not known: what a run that ended is kept for.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.fate == Fate::Open || (self.undo.is_some() && self.happened())
    }

    fn happened(&self) -> bool {
        matches!(self.fate, Fate::Done | Fate::Failed)
    }

    /// Whether it left something behind that may be there still.
    fn stands(&self) -> bool {
        match self.class {
            EffectClass::Read | EffectClass::Transient => false,
            EffectClass::Reversible => self.is_left(),
            EffectClass::Irreversible => self.happened() || self.fate == Fate::Open,
        }
    }
}

/// The effects of runs that are not committed, in the order they were begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Effects {
    runs: BTreeMap<RunId, Vec<Effect>>,
    /// Intents to put something back that are under way: what they put back.
    undoing: BTreeMap<u64, u64>,
}

impl Effects {
    pub(super) fn of(&self, run: &RunId) -> &[Effect] {
        self.runs.get(run).map_or(&[], Vec::as_slice)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.runs.keys()
    }

    /// An intent was written; `undoes` names the one whose effect it puts back.
    pub(super) fn begun(&mut self, record: &Record, effect: impl FnOnce(u32) -> Effect, undoes: Option<u64>) {
        match (undoes, &record.run) {
            (Some(of), _) => drop(self.undoing.insert(record.seq, of)),
            (None, Some(run)) => {
                self.runs.entry(run.clone()).or_default().push(effect(record.step.unwrap_or_default()));
            }
            (None, None) => {}
        }
    }

    /// The intent of record `of` ended.
    pub(super) fn ended(&mut self, run: Option<&RunId>, of: u64, outcome: &Outcome) {
        let undone = self.undoing.remove(&of);
        let (of, fate) = match (undone, outcome) {
            (Some(undone), Outcome::Done { .. }) => (undone, Fate::PutBack),
            // It still stands as it was before somebody tried to put it back.
            (Some(_), _) => return,
            (None, Outcome::Done { .. }) => (of, Fate::Done),
            // The record did not fit the disk when it was asked for, so no hand was.
            (None, Outcome::Failed { error }) if error.code == ErrorCode::AuditUnavailable => (of, Fate::NotDone),
            (None, Outcome::Failed { .. }) => (of, Fate::Failed),
            (None, Outcome::Indeterminate { .. }) => (of, Fate::Open),
        };
        self.mark(run, of, fate);
    }

    /// Somebody found out what became of it.
    pub(super) fn found(&mut self, run: Option<&RunId>, of: u64, found: Found) {
        let fate = match found {
            Found::Done => Fate::Done,
            Found::NotDone => Fate::NotDone,
            Found::Unknown => return,
        };
        self.mark(run, of, fate);
    }

    /// A person took an effect over: whatever other runs did to the resource before is theirs as well.
    pub(super) fn settled(&mut self, of: u64, t: Timestamp) {
        self.mark(None, of, Fate::Settled);
        let settled = self.runs.iter().find_map(|(run, effects)| {
            let effect = effects.iter().find(|effect| effect.record == of)?;
            Some((run.clone(), effect.action.resource_as_given()))
        });
        if let Some((run, resource)) = settled {
            self.overtake(Some(&run), &BTreeMap::from([(resource, (of, Since { run: None, t }))]));
        }
    }

    fn mark(&mut self, run: Option<&RunId>, of: u64, fate: Fate) {
        // In the order of their records, because records are counted in that order.
        let one_of = |effects: &mut Vec<Effect>| effects.binary_search_by_key(&of, |effect| effect.record).ok();
        let effect = match run {
            Some(run) => self.runs.get_mut(run).and_then(|effects| one_of(effects).and_then(|at| effects.get_mut(at))),
            None => self.runs.values_mut().find_map(|effects| one_of(effects).and_then(|at| effects.get_mut(at))),
        };
        if let Some(effect) = effect {
            effect.fate = fate;
        }
    }

    /// A person acted on a resource by hand; the record of it.
    pub(super) fn person_acted(&mut self, resource: String, record: u64, t: Timestamp) {
        self.overtake(None, &BTreeMap::from([(resource, (record, Since { run: None, t }))]));
    }

    /// What was done to these resources before these records, by any run but `but`, is overtaken.
    fn overtake(&mut self, but: Option<&RunId>, by: &BTreeMap<String, (u64, Since)>) {
        if by.is_empty() {
            return;
        }
        let others = self.runs.iter_mut().filter(|(run, _)| Some(*run) != but);
        for effect in others.flat_map(|(_, effects)| effects) {
            if let Some((record, since)) = by.get(&effect.action.resource_as_given())
                && effect.record < *record
            {
                effect.since = Some(since.clone());
            }
        }
    }

    /// The last of these effects on each resource.
    fn last_on_each<'e>(run: &RunId, effects: impl Iterator<Item = &'e Effect>) -> BTreeMap<String, (u64, Since)> {
        let since = |effect: &Effect| (effect.record, Since { run: Some(run.clone()), t: effect.t });
        effects.map(|effect| (effect.action.resource_as_given(), since(effect))).collect()
    }

    /// The run healed, as of the record `end`: what it did stands, and so does that its target is healthy as it is.
    pub(super) fn commit(&mut self, run: &RunId, target: Option<String>, end: (u64, Timestamp)) {
        let effects = self.runs.remove(run).unwrap_or_default();
        // A restart leaves nothing that could be put back; but what runs now is what healed.
        let healed =
            |effect: &&Effect| effect.stands() || (effect.class == EffectClass::Transient && effect.happened());
        let mut stands = Self::last_on_each(run, effects.iter().filter(healed));
        if let Some(target) = target {
            stands.insert(target, (end.0, Since { run: Some(run.clone()), t: end.1 }));
        }
        self.overtake(Some(run), &stands);
    }

    /// The run ended otherwise: what can still be put back stays here, for a person to ask for.
    pub(super) fn leave(&mut self, run: &RunId) {
        let Some(effects) = self.runs.get_mut(run) else { return };
        // What nothing can put back stays beside what can, so that an undo names it.
        effects.retain(|effect| effect.is_left() || (effect.class == EffectClass::Irreversible && effect.happened()));
        if !effects.iter().any(Effect::is_left) {
            self.forget(run);
        }
    }

    /// Nothing of the run is put back any more; what stands of it stands for good.
    pub(super) fn forget(&mut self, run: &RunId) {
        let effects = self.runs.remove(run).unwrap_or_default();
        let stands = Self::last_on_each(run, effects.iter().filter(|effect| effect.stands()));
        self.overtake(Some(run), &stands);
    }

    /// What stands on an effect of a run.
    pub(super) fn later(&self, run: &RunId, effect: &Effect) -> Option<Later> {
        if let Some(since) = &effect.since {
            return Some(Later::Stands(since.clone()));
        }
        let resource = effect.action.resource_as_given();
        let others = self.runs.iter().filter(|(other, _)| *other != run);
        let on_it =
            others.flat_map(|(other, effects)| effects.iter().map(move |later| (other, later))).filter(|(_, later)| {
                later.record > effect.record && later.stands() && later.action.resource_as_given() == resource
            });
        let (other, later) = on_it.max_by_key(|(_, later)| later.record)?;
        let (run, t) = (other.clone(), later.t);
        Some(match later.undo {
            Some(_) => Later::Undoable { run, t },
            None => Later::Stands(Since { run: Some(run), t }),
        })
    }

    /// What stands on the effect of record `of`, whosever it is.
    pub(super) fn later_than(&self, of: u64) -> Option<Later> {
        self.all().find(|(_, effect)| effect.record == of).and_then(|(run, effect)| self.later(run, effect))
    }

    /// Whether something of the run can be put back that nothing stands on for good, or is not known.
    pub(super) fn is_undoable(&self, run: &RunId) -> bool {
        self.of(run).iter().any(|effect| effect.fate == Fate::Open || (effect.is_left() && effect.since.is_none()))
    }

    /// All effects with their runs.
    pub(super) fn all(&self) -> impl Iterator<Item = (&RunId, &Effect)> {
        self.runs.iter().flat_map(|(run, effects)| effects.iter().map(move |effect| (run, effect)))
    }

    /// An effect that an earlier trail spoke of.
    pub(super) fn take_over(&mut self, run: &RunId, effect: Effect) {
        self.runs.entry(run.clone()).or_default().push(effect);
    }

    /// Whether the intent of this record puts something back.
    pub(super) fn puts_back(&self, record: u64) -> bool {
        self.undoing.contains_key(&record)
    }

    /// Takes over what `other`, an earlier place in the same trail, knows of a run: all of it if that run had ended there,
    /// else what is only known there.
    pub(super) fn raise(&mut self, other: &Self, run: &RunId, ended: bool) {
        let theirs = other.of(run);
        if ended {
            self.runs.remove(run);
        }
        if theirs.is_empty() {
            return;
        }
        let ours = self.runs.entry(run.clone()).or_default();
        for effect in theirs {
            match ours.binary_search_by_key(&effect.record, |ours| ours.record) {
                Ok(at) => {
                    let Some(known) = ours.get_mut(at) else { continue };
                    if known.fate == Fate::Open {
                        known.fate = effect.fate;
                    }
                    if known.since.is_none() {
                        known.since.clone_from(&effect.since);
                    }
                }
                Err(at) => ours.insert(at, effect.clone()),
            }
        }
    }
}
