//! Putting back what a run did, newest first.
//!
//! After a run that did not heal, or that nobody saw end, the host puts back what the operator wants put back
//! (`unhealed = "undo"`), trusting no guest code. What is left is said, each effect by its name: left on purpose, because
//! stopping what is slowly coming up makes an outage worse; or because nothing can put it back. The first effect that
//! cannot be put back, or whose fate nobody knows, ends it: what came before it was built under it, and a person is needed.
//!
//! What something later stands on is not put back: what another run has changed or healed since, or a person has acted on,
//! would be put back with it. It is left, and so is what came before it.
//!
//! The trail may be lost half-way; then nothing more is done, and the next start goes on from what it says.

use serde::Serialize;

use crate::audit::{AuditError, Effect, Fate, Found, Later};
use crate::gate::{Parts, PutBack, RunLeases};
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

/// What stands on an effect, in words.
pub(super) fn overtaken(later: &Later) -> String {
    match later {
        Later::Undoable { run, t } => format!("run {run} changed it since ({t}): `guardian undo {run}` first"),
        Later::Stands(since) => match &since.run {
            Some(run) => format!("run {run} changed or healed it since ({}), and that stands", since.t),
            None => format!("a person acted on it since ({}), and that stands", since.t),
        },
    }
}

/// Puts the effects of a run back, newest first. `leases` are those of whoever does it.
///
/// # Errors
/// When the trail cannot take a record: nothing was done without one.
pub(super) fn unwind(
    parts: &Parts,
    inventory: &Inventory,
    run: &RunId,
    leases: &RunLeases,
    wanted: Wanted,
) -> Result<Unwinding, AuditError> {
    parts.trail.flush()?;
    let effects = parts.trail.state(|state| state.effects(run).to_vec());
    let mut unwinding = Unwinding { steps: Vec::new(), event: RunEvent::Left };
    let (mut put_back, mut stands, mut blocked) = (false, false, false);
    for effect in effects.iter().rev() {
        let undone = match planned(effect) {
            Planned::Nothing => continue,
            Planned::Leave(why) => Undone::Left { why: why.to_owned() },
            Planned::NotKnown => Undone::Failed { why: "whether it happened is not known".to_owned() },
            Planned::PutBack if blocked || unwinding.event == RunEvent::LostTrack => {
                Undone::Left { why: "what was done after it could not be put back".to_owned() }
            }
            Planned::PutBack if wanted == Wanted::AsConfigured && leave(inventory, effect) => {
                Undone::Left { why: format!("it is left as it is; `guardian undo {run}` puts it back") }
            }
            Planned::PutBack => match parts.trail.state(|state| state.later(run, effect)) {
                Some(later) => {
                    blocked = true;
                    Undone::Left { why: overtaken(&later) }
                }
                None => match parts.put_back(run, leases, effect)? {
                    PutBack::Done { record } => Undone::PutBack { record },
                    PutBack::Nothing => continue,
                    PutBack::Failed { why } => Undone::Failed { why: escape_to(&why, SHOWN) },
                },
            },
        };
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

/// What is to be done about an effect, by what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// Nothing, and nothing is said: it did not happen, is put back, or somebody took it over.
    Nothing,
    /// It is named and left.
    Leave(&'static str),
    /// Nobody knows whether it happened.
    NotKnown,
    /// It can be put back.
    PutBack,
}

pub(super) fn planned(effect: &Effect) -> Planned {
    match (effect.fate, effect.class, effect.undo.is_some()) {
        (Fate::NotDone | Fate::PutBack | Fate::Settled, _, _) => Planned::Nothing,
        // It failed, says the hand, and there was nothing to put back even if it had not.
        (Fate::Failed, _, false) => Planned::Nothing,
        (Fate::Open, _, _) => Planned::NotKnown,
        (_, EffectClass::Transient | EffectClass::Read, _) => Planned::Leave("it leaves nothing to put back"),
        (_, EffectClass::Irreversible, _) => Planned::Leave("nothing can put it back"),
        // It found nothing to do.
        (_, EffectClass::Reversible, false) => Planned::Nothing,
        (_, EffectClass::Reversible, true) => Planned::PutBack,
    }
}

fn leave(inventory: &Inventory, effect: &Effect) -> bool {
    effect.action.resource().map_or(true, |resource| inventory.unhealed(&resource) == AfterFailure::Leave)
}
