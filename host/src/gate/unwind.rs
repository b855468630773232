//! Putting effects back: the same order as for an effect, without a playbook.
//!
//! Nobody asked a policy for this: undoing what a run did is the host's own act, and neither a revocation, a freeze nor a
//! spent budget stops it, because half done is worse. But it goes the same way: the material is read and checked against
//! the digest that the trail holds, the intent to put it back is durable before the hand moves (INVARIANT 1), and the
//! outcome follows it. A hand is asked first whether a doubtful effect happened at all, and what it cannot tell is for a
//! person (INVARIANT 9).
//!
//! Steps are idempotent: one that was interrupted is done again. What this does not do: choose what is put back, or in
//! which order.

use crate::audit::{AuditError, Body, Effect, Fate, Found, IntentDraft};
use crate::capability::{Begun, Deadline, Reconciled, UndoMaterial};
use crate::model::{Outcome, RunId};

use super::Parts;

/// What came of putting one effect back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutBack {
    /// It is put back; the record of the intent to do so.
    Done {
        /// The record.
        record: u64,
    },
    /// There was nothing to put back: it had not happened.
    Nothing,
    /// It could not be put back, or nobody knows whether it is.
    Failed {
        /// Why, in one line.
        why: String,
    },
}

impl Parts {
    /// Asks the hand what became of an effect whose outcome is not known, and records the answer.
    ///
    /// # Errors
    /// When the trail cannot take the answer.
    pub fn reconcile(&self, run: &RunId, effect: &Effect) -> Result<Found, AuditError> {
        let found = match self.material(effect) {
            Ok(material) => self.ask(effect, material.as_ref()),
            // What was kept is not what the trail speaks of: nothing can be said from it.
            Err(_) => Found::Unknown,
        };
        self.trail.append(Some(run), Some(effect.step), Body::Reconciled { of: effect.record, found })?;
        Ok(found)
    }

    fn ask(&self, effect: &Effect, undo: Option<&UndoMaterial>) -> Found {
        let ago = self.clock.now().since(effect.t);
        let begun = Begun { action: &effect.action, undo, ago };
        match self.hands.reconcile(begun, Deadline::after(self.limits.call_time())) {
            Reconciled::Done => Found::Done,
            Reconciled::NotDone => Found::NotDone,
            Reconciled::Unknown => Found::Unknown,
        }
    }

    /// Puts one effect of a run back.
    ///
    /// # Errors
    /// When the trail cannot take the intent or the outcome; without an intent nothing was done.
    pub fn put_back(&self, run: &RunId, effect: &Effect) -> Result<PutBack, AuditError> {
        let material = match self.material(effect) {
            Ok(Some(material)) => material,
            Ok(None) => return Ok(PutBack::Failed { why: "nothing was kept that puts it back".to_owned() }),
            Err(why) => return Ok(PutBack::Failed { why }),
        };
        // What failed may have happened in part; the hand knows.
        if effect.fate == Fate::Failed {
            match self.ask(effect, Some(&material)) {
                Found::Done => {}
                Found::NotDone => return Ok(PutBack::Nothing),
                Found::Unknown => {
                    let why = "it failed, and how much of it happened cannot be told".to_owned();
                    return Ok(PutBack::Failed { why });
                }
            }
        }
        let draft = IntentDraft {
            action: effect.action.clone(),
            playbook: effect.playbook.clone(),
            class: effect.class,
            policies: Vec::new(),
            key: format!("{run}/{}/undo", effect.step),
            undo: None,
            undoes: Some(effect.record),
        };
        let begun = self.clock.elapsed();
        let intent = self.trail.begin(run, effect.step, draft)?;
        let record = intent.seq();
        let outcome = self.hands.put_back(intent, &material, Deadline::after(self.limits.call_time()));
        let micros = u64::try_from(self.clock.elapsed().saturating_sub(begun).as_micros()).unwrap_or(u64::MAX);
        self.trail.finish(record, outcome.for_the_trail(|bytes| self.undo.digest(bytes)), micros)?;
        Ok(match outcome {
            Outcome::Done { .. } => PutBack::Done { record },
            Outcome::Failed { error } | Outcome::Indeterminate { error } => PutBack::Failed { why: error.message },
        })
    }

    /// What was kept to put an effect back, if something was.
    fn material(&self, effect: &Effect) -> Result<Option<UndoMaterial>, String> {
        let Some(reference) = &effect.undo else { return Ok(None) };
        let bytes = self.undo.load(reference)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("what was kept cannot be read: {error}"))
    }
}
