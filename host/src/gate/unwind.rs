//! Putting effects back: the same order as for an effect, without a playbook.
//!
//! Nobody asked a policy for this: undoing what a run did is the host's own act, and neither a revocation, a freeze nor a
//! spent budget stops it, because half done is worse. But it goes the same way: the material is read and checked against
//! the digest that the trail holds, the intent to put it back is durable before the hand moves (INVARIANT 1), and the
//! outcome follows it. A hand is asked first whether a doubtful effect happened at all, and what it cannot tell is for a
//! person (INVARIANT 9).
//!
//! It takes the lease of the target as an effect does: a run that is at work on it is not undone under, and one that takes it
//! over while the hand is slow makes what the hand did not known instead of done.
//!
//! Steps are idempotent: one that was interrupted is done again. What this does not do: choose what is put back, or in
//! which order.

use crate::audit::{AuditError, Body, Effect, Fate, Found, IntentDraft};
use crate::capability::{Begun, Deadline, Reconciled, UndoMaterial};
use crate::model::{ErrorCode, GuestError, Outcome, ResourceName, RunId};

use super::{Parts, RunLeases};

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

    /// Takes the lease of the target that an effect was on; gives the target.
    ///
    /// # Errors
    /// Who has it, in words.
    pub fn claim(&self, leases: &RunLeases, effect: &Effect) -> Result<ResourceName, String> {
        let resource = effect.action.resource().map_err(|_| "it names no resource".to_owned())?;
        let target = self.inventory.target_of(&resource);
        leases.take(&target).map_err(|run| format!("run {run} is at work on {target}"))?;
        Ok(target)
    }

    /// Puts one effect of a run back; `leases` are those of whoever undoes it.
    ///
    /// # Errors
    /// When the trail cannot take the intent or the outcome; without an intent nothing was done.
    pub fn put_back(&self, run: &RunId, leases: &RunLeases, effect: &Effect) -> Result<PutBack, AuditError> {
        let target = match self.claim(leases, effect) {
            Ok(target) => target,
            Err(why) => return Ok(PutBack::Failed { why }),
        };
        let material = match self.material(effect) {
            Ok(Some(material)) => material,
            Ok(None) => return Ok(PutBack::Failed { why: "nothing was kept that puts it back".to_owned() }),
            Err(why) => return Ok(PutBack::Failed { why }),
        };
        // What failed may have happened in part; the hand knows.
        if effect.fate == Fate::Failed {
            let found = self.ask(effect, Some(&material));
            if found == Found::NotDone {
                // On record, or the run would look as if something of it were left.
                self.trail.append(Some(run), Some(effect.step), Body::Reconciled { of: effect.record, found })?;
            }
            match found {
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
        let taken = || GuestError::new(ErrorCode::Busy, format!("another run took {target} over meanwhile"));
        let outcome = if leases.holds(&target) {
            self.hands.put_back(intent, &material, Deadline::after(self.limits.call_time()))
        } else {
            Outcome::Failed { error: taken() }
        };
        // A hand that comes back after the lease was over acted beside another run.
        let outcome = match outcome {
            Outcome::Done { .. } if !leases.holds(&target) => Outcome::Indeterminate { error: taken() },
            outcome => outcome,
        };
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
        // INVARIANT 8: not why. The parser quotes what it stumbles over, and that is what must not stand on the trail.
        let unreadable = |_| format!("what was kept at `state/undo/{}` cannot be read", reference.reference);
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }
}
