//! The line from a request to an end.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::audit::{Body, Trail};
use crate::capability::Hands;
use crate::gate::{Approvals, Call, Gate, Halt, Parts, Transcript, UndoJournal};
use crate::model::{Incident, RunEvent, RunId, RunState, escape_to};
use crate::sandbox::{self, CallError, GuestEnd, Program};

use super::check::{self, Terms};
use super::{Admitted, Request, RunError, RunReport, Site, accept, admit};

/// How much of a guest's own words a reason holds.
const SHOWN: usize = 300;

/// Sees every call as it ends.
pub type Watcher = Box<dyn FnMut(&Call) + Send>;

/// What a run acts with: the real parts, or the simulated ones of a plan.
pub(super) struct Acting {
    pub(super) trail: Arc<Trail>,
    pub(super) hands: Arc<Hands>,
    pub(super) undo: Arc<UndoJournal>,
    pub(super) approvals: Approvals,
}

/// Runs a playbook for a request, to the end.
///
/// # Errors
/// When it was refused before guest code ran, when the request makes no sense, or when the trail cannot take records.
/// Everything that happens from the first guest instruction on is in the report.
pub fn execute(
    site: &Site,
    trail: Arc<Trail>,
    hands: Arc<Hands>,
    request: &Request,
    watcher: Watcher,
) -> Result<RunReport, RunError> {
    trail.admits_new_runs()?;
    nothing_in_doubt(site, &trail, request)?;
    let acting = Acting {
        trail: Arc::clone(&trail),
        hands,
        undo: Arc::new(site.undo_journal()?),
        approvals: Approvals::Required,
    };
    let mut outcome = run(site, &acting, request, watcher);
    // A refusal or a report counts only once it is on the disk. What happened is still told: that the trail is lost must
    // not hide that an effect is in doubt.
    if let Err(error) = trail.flush() {
        match &mut outcome {
            Ok(report) if report.state != RunState::Indeterminate => {
                report.state = RunState::AuditUnavailable;
                report.reason = error.to_string();
            }
            Ok(report) => report.notes.push(error.to_string()),
            Err(_) => return Err(error.into()),
        }
    } else if let Err(error) = trail.publish() {
        // Publication trouble never poisons: it is retried, and past a bound no new run starts.
        tracing::warn!("the checkpoint was not published: {error}");
    }
    outcome
}

/// INVARIANT 9: what may or may not have happened to this target is for a person to say, not to be done again.
fn nothing_in_doubt(site: &Site, trail: &Trail, request: &Request) -> Result<(), RunError> {
    let open = trail.in_doubt().into_iter().collect();
    match site.in_doubt(&open, request) {
        None => Ok(()),
        Some((record, intent)) => Err(RunError::InDoubt { record, verb: intent.verb, resource: intent.resource }),
    }
}

/// The same for given hands and trail.
pub(super) fn run(site: &Site, acting: &Acting, request: &Request, watcher: Watcher) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let admitted = acting.trail.state(|state| admit(site, state, request));
    let ready = admitted.and_then(|admitted| Ok((site.program(&admitted)?, admitted)));
    let (program, admitted) = match ready {
        Ok(ready) => ready,
        Err(error) => return Err(accept::refused(&acting.trail, Some(&request.playbook), error)),
    };
    let now = site.clock.now();
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).map_err(|error| RunError::Request(format!("no random numbers: {error}")))?;
    let id = RunId::new(now, u32::from_le_bytes(salt));
    let incident = request.incident(&id, now, admitted.bindings().clone());
    acting.trail.append(Some(&id), None, start(site, &admitted, &incident)?)?;
    let mut progress = Progress { state: RunState::Admitted, reason: String::new() };
    progress.take(RunEvent::Started, "");
    let (end, transcript) = guest(site, acting, &program, &id, &admitted, &incident, watcher);
    let mut report = RunReport {
        run: id,
        playbook: request.playbook.clone(),
        release: Some(admitted.verified().manifest().release),
        target: request.target.clone(),
        state: progress.state,
        reason: String::new(),
        said: None,
        limit: transcript.limit,
        check: None,
        transcript,
        notes: admitted.notes().to_vec(),
        millis: 0,
    };
    conclude(end, &mut progress, &mut report);
    if progress.state == RunState::Checking {
        ask_the_check(site, acting, &mut progress, &mut report);
    }
    report.state = progress.state;
    report.reason = progress.reason;
    report.millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    finish(acting, &mut report);
    Ok(report)
}

/// Where a run is, and why.
struct Progress {
    state: RunState,
    reason: String,
}

impl Progress {
    fn take(&mut self, event: RunEvent, reason: &str) {
        if let Some(next) = self.state.next(event) {
            self.state = next;
            self.reason = reason.to_owned();
        }
    }
}

fn start(site: &Site, admitted: &Admitted, incident: &Incident) -> Result<Body, RunError> {
    let verified = admitted.verified();
    Ok(Body::RunStart {
        playbook: verified.id(),
        release: verified.manifest().release,
        component: *verified.digest(),
        policy: site.policy.digest(),
        trust: site.trust.digest(),
        incident: incident.clone(),
        engine: site.engine_hash()?,
    })
}

/// Guest code, through the gate.
fn guest(
    site: &Site,
    acting: &Acting,
    program: &Program,
    id: &RunId,
    admitted: &Admitted,
    incident: &Incident,
    watcher: Watcher,
) -> (GuestEnd, Transcript) {
    let parts = Parts {
        policy: Arc::clone(&site.policy),
        trail: Arc::clone(&acting.trail),
        hands: Arc::clone(&acting.hands),
        ledger: Arc::clone(&site.ledger),
        undo: Arc::clone(&acting.undo),
        clock: Arc::clone(&site.clock),
        limits: site.configuration.limits.clone(),
        approvals: acting.approvals,
    };
    let mut gate = Gate::new(parts, id.clone(), admitted.verified().id(), incident.clone(), watcher);
    let transcript = gate.transcript();
    let calls = move |action| {
        gate.call(action).map_err(|halt| match halt {
            Halt::Guest(error) => CallError::Guest(error),
            Halt::Stop(reason) => CallError::Abort { reason },
        })
    };
    let end = sandbox::run(program, incident, &site.configuration.limits, Box::new(calls));
    let transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (end, transcript)
}

/// From how guest code ended to where the run stands. What the gate knows weighs more than what the guest says.
fn conclude(end: GuestEnd, progress: &mut Progress, report: &mut RunReport) {
    if let Some(reason) = &report.transcript.lost_track {
        let reason = format!("an effect may or may not have happened: {}", escape_to(reason, SHOWN));
        progress.take(RunEvent::LostTrack, &reason);
    } else if let Some(reason) = &report.transcript.trail_lost {
        progress.take(RunEvent::TrailLost, reason);
    } else if let Some(who) = &report.transcript.approval {
        progress.take(RunEvent::ApprovalNeeded, &format!("a gate asks for approval by {who}"));
    }
    match end {
        GuestEnd::Returned(said) => {
            report.said = Some(said);
            progress.take(RunEvent::Returned, "");
        }
        GuestEnd::GaveUp(error) => {
            let reason = format!("the playbook gave up: {}: {}", error.code.word(), escape_to(&error.message, SHOWN));
            progress.take(RunEvent::Broke, &reason);
        }
        GuestEnd::Trapped { message } => {
            progress.take(RunEvent::Broke, &format!("the playbook broke: {}", escape_to(&message, SHOWN)));
        }
        GuestEnd::Limit(hit) => {
            report.limit = Some(hit);
            progress.take(RunEvent::Broke, &hit.to_string());
        }
        GuestEnd::Stopped { reason } => progress.take(RunEvent::Broke, &escape_to(&reason, SHOWN)),
    }
}

/// Healed is what the target's own check says.
fn ask_the_check(site: &Site, acting: &Acting, progress: &mut Progress, report: &mut RunReport) {
    let terms = Terms::of(&site.configuration.inventory, &report.target);
    let patient = acting.approvals == Approvals::Required;
    let looked = check::wait(&acting.hands, &*site.clock, &report.target, &terms, patient, |look| {
        let body = Body::Check {
            resource: report.target.clone(),
            reading: look.reading.clone(),
            successes: look.successes,
            needed: look.needed,
        };
        acting.trail.append(Some(&report.run), None, body)?;
        // What was done must not be in doubt because somebody ends the wait for the check.
        if patient && look.successes < look.needed { acting.trail.flush() } else { Ok(()) }
    });
    match looked {
        Ok((true, last)) => {
            report.check = last;
            progress.take(RunEvent::CheckHeld, "its own check holds");
        }
        Ok((false, last)) => {
            let seen =
                last.as_ref().map_or_else(String::new, |reading| format!(": {}", escape_to(&reading.seen, SHOWN)));
            report.check = last;
            progress.take(RunEvent::CheckFailed, &format!("its own check does not hold{seen}"));
        }
        Err(error) => progress.take(RunEvent::TrailLost, &error.to_string()),
    }
}

/// The end, durable; and what was kept to go back is erased once there is nothing to go back from.
fn finish(acting: &Acting, report: &mut RunReport) {
    let body = Body::RunEnd {
        state: report.state,
        reason: report.reason.clone(),
        report: report.said.clone(),
        limit: report.limit,
        millis: report.millis,
    };
    if let Err(error) = acting.trail.append_durable(Some(&report.run), body) {
        // INVARIANT 1: an end that is not on the trail did not happen; the next start finds the run open. That an effect
        // is in doubt is still the worse news.
        if report.state != RunState::Indeterminate {
            report.state = RunState::AuditUnavailable;
            report.reason = error.to_string();
        }
        return;
    }
    if report.state == RunState::Healed
        && let Err(error) = acting.undo.commit(&report.run)
    {
        report.notes.push(format!("undo material of a healed run is left over: {error}"));
    }
}
