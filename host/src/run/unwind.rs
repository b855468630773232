//! Putting back what a run did, newest first.
//!
//! After a run that did not heal, or that nobody saw end, the host puts back what the operator wants put back
//! (`unhealed = "undo"`), trusting no guest code. What is left is said, each effect by its name: left on purpose, because
//! stopping what is slowly coming up makes an outage worse; or because nothing can put it back. The first effect that
//! cannot be put back, or whose fate nobody knows, ends it: what came before it was built under it, and a person is needed.
//!
//! The trail may be lost half-way; then nothing more is done, and the next start goes on from what it says.

use serde::Serialize;

use crate::audit::{AuditError, Effect, Fate, Found};
use crate::gate::{Parts, PutBack};
use crate::inventory::{AfterFailure, Inventory};
use crate::model::{EffectClass, RunEvent, RunId, escape_to};

/// How much of a reason is kept.
const SHOWN: usize = 300;

/// Which effects are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those on resources that the operator wants put back after a failure.
    AsConfigured,
    /// All that can be: a person asks for it.
    Everything,
}

/// What became of one effect when its run was unwound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Undone {
    /// It is put back.
    PutBack {
        /// The record of the intent to do so.
        record: u64,
    },
    /// It stands.
    Left {
        /// Why.
        why: String,
    },
    /// It could not be put back, or nobody knows whether it is.
    Failed {
        /// Why.
        why: String,
    },
}

/// One effect, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndoStep {
    /// The record of its intent.
    pub of: u64,
    /// Its step in the run.
    pub step: u32,
    /// `service.start`.
    pub action: String,
    /// `service.web`.
    pub resource: String,
    /// What became of it.
    #[serde(flatten)]
    pub undone: Undone,
}

/// What came of unwinding a run.
#[derive(Debug)]
pub(super) struct Unwinding {
    pub(super) steps: Vec<UndoStep>,
    pub(super) event: RunEvent,
}

impl Unwinding {
    /// What is left standing or in doubt, in one line; empty if nothing is.
    pub(super) fn left(&self) -> String {
        let of = |step: &UndoStep| match &step.undone {
            Undone::PutBack { .. } => None,
            Undone::Left { why } | Undone::Failed { why } => {
                Some(format!("{} {} (record {}): {why}", step.action, step.resource, step.of))
            }
        };
        self.steps.iter().filter_map(of).collect::<Vec<_>>().join("; ")
    }
}

/// Asks the hands about every effect of the run whose fate is open. Gives whether all of them are known now.
///
/// # Errors
/// When the trail cannot take the answers.
pub(super) fn reconcile(parts: &Parts, run: &RunId) -> Result<bool, AuditError> {
    let open = |effects: &[Effect]| -> Vec<Effect> {
        effects.iter().filter(|effect| effect.fate == Fate::Open).cloned().collect()
    };
    // The projection speaks of what is durable.
    parts.trail.flush()?;
    let mut known = true;
    for effect in parts.trail.state(|state| open(state.effects(run))) {
        known &= parts.reconcile(run, &effect)? != Found::Unknown;
    }
    parts.trail.flush()?;
    Ok(known)
}

/// Puts the effects of a run back, newest first.
///
/// # Errors
/// When the trail cannot take a record: nothing was done without one.
pub(super) fn unwind(
    parts: &Parts,
    inventory: &Inventory,
    run: &RunId,
    wanted: Wanted,
) -> Result<Unwinding, AuditError> {
    parts.trail.flush()?;
    let effects = parts.trail.state(|state| state.effects(run).to_vec());
    let mut unwinding = Unwinding { steps: Vec::new(), event: RunEvent::Left };
    let (mut put_back, mut stands) = (false, false);
    for effect in effects.iter().rev() {
        let stopped = unwinding.event == RunEvent::LostTrack;
        let Some(undone) = one(parts, inventory, run, effect, wanted, stopped)? else { continue };
        match &undone {
            Undone::PutBack { .. } => put_back = true,
            // What left nothing behind does not stand.
            Undone::Left { .. } => stands |= effect.class != EffectClass::Transient,
            Undone::Failed { .. } => unwinding.event = RunEvent::LostTrack,
        }
        unwinding.steps.push(UndoStep {
            of: effect.record,
            step: effect.step,
            action: effect.action.verb().id().to_owned(),
            resource: escape_to(&effect.action.resource_as_given(), SHOWN),
            undone,
        });
    }
    if unwinding.event == RunEvent::Left && put_back && !stands {
        unwinding.event = RunEvent::PutBack;
    }
    Ok(unwinding)
}

fn one(
    parts: &Parts,
    inventory: &Inventory,
    run: &RunId,
    effect: &Effect,
    wanted: Wanted,
    stopped: bool,
) -> Result<Option<Undone>, AuditError> {
    let left = |why: String| Ok(Some(Undone::Left { why }));
    let failed_whole = effect.fate == Fate::Failed && effect.undo.is_none();
    match effect.fate {
        Fate::NotDone | Fate::PutBack | Fate::Settled => return Ok(None),
        // It failed, says the hand, and there was nothing to put back even if it had not.
        Fate::Failed if failed_whole => return Ok(None),
        Fate::Open => return Ok(Some(Undone::Failed { why: "whether it happened is not known".to_owned() })),
        Fate::Failed | Fate::Done => {}
    }
    if stopped {
        return left("what was done after it could not be put back".to_owned());
    }
    match (effect.class, effect.undo.is_some()) {
        (EffectClass::Transient | EffectClass::Read, _) => return left("it leaves nothing to put back".to_owned()),
        (EffectClass::Irreversible, _) => return left("nothing can put it back".to_owned()),
        // It found nothing to do.
        (EffectClass::Reversible, false) => return Ok(None),
        (EffectClass::Reversible, true) => {}
    }
    let leaves = effect.action.resource().map_or(AfterFailure::Leave, |resource| inventory.unhealed(&resource));
    if wanted == Wanted::AsConfigured && leaves == AfterFailure::Leave {
        return left(format!("it is left as it is; `guardian undo {run}` puts it back"));
    }
    Ok(match parts.put_back(run, effect)? {
        PutBack::Done { record } => Some(Undone::PutBack { record }),
        PutBack::Nothing => None,
        PutBack::Failed { why } => Some(Undone::Failed { why: escape_to(&why, SHOWN) }),
    })
}
