//! What runs did to the world and have not answered for: the part of the projection that an undo starts from.
//!
//! Each effect of a run stands here from its intent on, with what became of it, until the run is committed (it healed) or
//! the effect was put back. A run whose process went away leaves its effects here, so the next start knows what to ask the
//! hands about; a run that ended without healing leaves those that can still be put back, so that a person can ask for it.
//!
//! Bounded (INVARIANT 7): by the calls of a run, and by the runs that are remembered.

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

    pub(super) fn settled(&mut self, of: u64) {
        self.mark(None, of, Fate::Settled);
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

    /// The run healed: what it did stands.
    pub(super) fn commit(&mut self, run: &RunId) {
        self.runs.remove(run);
    }

    /// The run ended otherwise: what can still be put back stays here, for a person to ask for.
    pub(super) fn leave(&mut self, run: &RunId) {
        let Some(effects) = self.runs.get_mut(run) else { return };
        let happened = |effect: &Effect| matches!(effect.fate, Fate::Done | Fate::Failed);
        let wanted = |effect: &Effect| effect.fate == Fate::Open || (effect.undo.is_some() && happened(effect));
        // What nothing can put back stays beside what can, so that an undo names it.
        effects.retain(|effect| wanted(effect) || (effect.class == EffectClass::Irreversible && happened(effect)));
        if !effects.iter().any(wanted) {
            self.runs.remove(run);
        }
    }
}
