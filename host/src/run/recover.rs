//! After a crash: what runs left behind when their process went away, before anything new is begun.
//!
//! There is one writer, and it has just started: a run without an end is a run that nobody saw end. Its hands are asked
//! what became of the effects whose outcome is not on the trail; what the operator wants put back is put back; and the run
//! gets the end that it lacks. Where a hand cannot tell, the run ends `indeterminate`, nothing of it is touched, and its
//! targets are not acted on until a person has looked (INVARIANT 9).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::audit::{AuditError, Body, State};
use crate::gate::Parts;
use crate::model::{ErrorCode, GuestError, Outcome, PlaybookId, ResourceName, RunEvent, RunId, RunState};

use super::course::longest;
use super::resume::close_waiting;
use super::unwind::{UndoStep, Unwinding, Wanted, reconcile, unwind};
use super::{RunError, Site};

/// A run that nobody saw end, and the end it got.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// Which.
    pub run: RunId,
    /// What it was about.
    pub target: ResourceName,
    /// How it ended now.
    pub state: RunState,
    /// Why, in one line.
    pub reason: String,
    /// What became of its effects.
    pub steps: Vec<UndoStep>,
}

/// Ends every run that nobody saw end.
///
/// # Errors
/// When the trail cannot take a record.
pub(super) fn recover(site: &Site, parts: &Parts) -> Result<Vec<Recovered>, RunError> {
    let inventory = &site.configuration.inventory;
    parts.take_down()?;
    again(parts)?;
    let unfinished: Vec<(RunId, ResourceName)> = parts.trail.state(|state| {
        let open = state.runs().iter().filter(|run| !run.ended && run.state != RunState::AwaitingApproval);
        open.map(|run| (run.id.clone(), run.target.clone())).collect()
    });
    let mut recovered = Vec::new();
    for (run, target) in unfinished {
        let Unwinding { steps, event } = if reconcile(parts, &run)? {
            let leases = parts.leases.of(run.clone(), longest(site, &target));
            unwind(parts, inventory, &run, &leases, Wanted::AsConfigured)?
        } else {
            Unwinding { steps: Vec::new(), event: RunEvent::LostTrack }
        };
        let state = RunState::Unwinding.next(event).unwrap_or(RunState::Indeterminate);
        let reason = match state {
            RunState::Indeterminate => "guardian ended in the middle of it, and not everything it did is known",
            _ => "guardian ended in the middle of it",
        };
        let end = Body::RunEnd { state, reason: reason.to_owned(), report: None, limit: None, millis: 0 };
        parts.trail.append_durable(Some(&run), end)?;
        if state == RunState::Unwound {
            // A leftover is swept the next time.
            let _ = parts.undo.commit(&run);
        }
        recovered.push(Recovered { run, target, state, reason: reason.to_owned(), steps });
    }
    close_waiting(site, &parts.trail)?;
    let (kept, known): (BTreeMap<RunId, PlaybookId>, BTreeSet<RunId>) = parts.trail.state(|state| {
        // A person may have taken over what was left.
        let left = |run: &RunId| state.effects(run).iter().find(|effect| effect.is_left());
        let whose = |run: &RunId| Some((run.clone(), left(run)?.playbook.clone()));
        (state.runs_with_effects().filter_map(whose).collect(), state.runs().iter().map(|run| run.id.clone()).collect())
    });
    let blind_until = parts.trail.state(State::blind_until);
    if let Err(error) = parts.undo.sweep(&kept, blind_until).and_then(|()| parts.evidence.sweep(&known)) {
        tracing::warn!("what was kept for runs that nobody remembers was not removed: {error}");
    }
    Ok(recovered)
}

/// Putting something back that was interrupted is done again, so its first try counts as one that failed.
fn again(parts: &Parts) -> Result<(), AuditError> {
    let interrupted: Vec<u64> =
        parts.trail.in_doubt().into_iter().filter(|(_, open)| open.undoes.is_some()).map(|(seq, _)| seq).collect();
    if interrupted.is_empty() {
        return Ok(());
    }
    for of in interrupted {
        let error = GuestError::new(ErrorCode::Failed, "guardian ended in the middle of it; it is done again");
        parts.trail.finish(of, Outcome::Failed { error }, 0)?;
    }
    parts.trail.flush()
}
