//! `guardian undo RUN`: a person asks for everything a run did to be put back.
//!
//! The same steps as after a failed run, in the same order, for all effects that anything was kept for; what cannot be put
//! back is named. A run that is under way, or that healed, is not undone: the one is somebody else's, and of the other
//! nothing was kept, because what it did stands.

use std::sync::Arc;

use serde::Serialize;

use crate::audit::{Body, Effect, State, Trail};
use crate::capability::Hands;
use crate::gate::Approvals;
use crate::model::{PlaybookId, ResourceName, RunEvent, RunId, RunState, escape_to};

use super::course::longest;
use super::recover::recover;
use super::unwind::{Planned, UndoStep, Wanted, overtaken, planned, reconcile, unwind};
use super::{Recovered, RunError, Site};

/// What came of undoing a run.
#[derive(Clone, Debug, Serialize)]
pub struct UndoReport {
    /// The run.
    pub run: RunId,
    /// Whose it was.
    pub playbook: PlaybookId,
    /// What it was about.
    pub target: ResourceName,
    /// Where it stands now.
    pub state: RunState,
    /// Why, in one line.
    pub reason: String,
    /// Its effects, newest first.
    pub undone: Vec<UndoStep>,
    /// Runs that nobody saw end, and the ends they got first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovered: Vec<Recovered>,
}

/// Puts back what a run did.
///
/// # Errors
/// When there is no such run, nothing of it is left to put back, or the trail cannot take records.
pub fn undo(site: &Site, trail: Arc<Trail>, hands: Arc<Hands>, run: &RunId) -> Result<UndoReport, RunError> {
    let parts = site.parts(Arc::clone(&trail), hands, site.kept()?, Approvals::Required);
    let inventory = &site.configuration.inventory;
    let recovered = recover(site, &parts)?;
    let left = |state: &State| state.effects(run).iter().any(Effect::is_left);
    let (summary, something) = trail.state(|state| (state.run(run).cloned(), left(state)));
    let summary = summary
        .ok_or_else(|| RunError::Request(format!("the trail remembers no run `{run}`; see `guardian status`")))?;
    if !something {
        let why = match summary.state {
            RunState::Healed => "it healed, so what it did stands and nothing was kept",
            _ => "nothing of it is left to put back",
        };
        return Err(RunError::Request(format!("`{run}` cannot be undone: {why}")));
    }
    let known = reconcile(&parts, run)?;
    if let Some(problem) = trail.state(|state| under_something(state, run)) {
        return Err(RunError::Request(format!("`{run}` cannot be undone: {problem}")));
    }
    let leases = parts.leases.of(run.clone(), longest(site, &summary.target));
    let unwinding = unwind(&parts, inventory, run, &leases, Wanted::Everything)?;
    let (state, reason) = match unwinding.event {
        RunEvent::PutBack => (RunState::Unwound, "put back by a person".to_owned()),
        RunEvent::LostTrack => {
            (RunState::Indeterminate, format!("not everything could be put back: {}", unwinding.left()))
        }
        _ if known => (RunState::NotHealed, "what can be put back is put back".to_owned()),
        _ => (RunState::Indeterminate, unwinding.left()),
    };
    let end = Body::RunEnd { state, reason: reason.clone(), report: None, limit: None, millis: summary.millis };
    trail.append_durable(Some(run), end)?;
    if !trail.state(left) {
        // A leftover is swept by the next start.
        let _ = parts.undo.commit(run);
    }
    Ok(UndoReport {
        run: run.clone(),
        playbook: summary.playbook,
        target: summary.target,
        state,
        reason,
        undone: unwinding.steps,
        recovered,
    })
}

/// Why nothing of a run can be put back: something stands on the effect that would be the first, and would go with it.
fn under_something(state: &State, run: &RunId) -> Option<String> {
    let newest = state.effects(run).iter().rev().find(|effect| planned(effect) == Planned::PutBack)?;
    let later = overtaken(&state.later(run, newest)?);
    let (verb, resource, of) = (newest.action.verb().id(), newest.action.resource_as_given(), newest.record);
    let left = format!("`guardian audit settle {of} --reason WHY` leaves it as it is, for the rest to be undone");
    Some(format!("{verb} {}: {later}; {left}", escape_to(&resource, 300)))
}
