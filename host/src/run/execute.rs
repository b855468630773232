//! The line from a request to an end.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::{Body, MemoryLog, Trail};
use crate::capability::{Hands, SimulatedHands};
use crate::gate::{Approvals, Call, Parts};
use crate::model::{Glass, Incident, ResourceName, RunId, RunState};

use super::asked::Asked;
use super::course::{Leave, Ready, course};
use super::recover::recover;
use super::resume::over;
use super::site::Kept;
use super::{Admitted, Request, RunError, RunReport, Site, accept, actor, admit};

/// Sees every call as it ends.
pub type Watcher = Box<dyn FnMut(&Call) + Send>;

/// Runs a playbook for a request, to the end, or to where its plan waits for people. With `glass` somebody broke it for this
/// run.
///
/// # Errors
/// When it was refused before guest code ran, when the request makes no sense, or when the trail cannot take records.
/// Everything that happens from the first guest instruction on is in the report.
pub fn execute(
    site: &Site,
    trail: Arc<Trail>,
    hands: Arc<Hands>,
    request: &Request,
    glass: Option<Glass>,
    watcher: Watcher,
) -> Result<RunReport, RunError> {
    trail.admits_new_runs()?;
    let parts = site.parts(Arc::clone(&trail), hands, site.kept()?, Approvals::Required);
    let recovered = recover(site, &parts)?;
    nothing_in_doubt(site, &trail, &request.target)?;
    let mut outcome = live(site, &parts, request, glass, watcher);
    if let Ok(report) = &mut outcome {
        report.recovered = recovered;
    }
    durable(&trail, outcome)
}

/// What happened, once it is on the disk.
pub(super) fn durable(trail: &Trail, mut outcome: Result<RunReport, RunError>) -> Result<RunReport, RunError> {
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
pub(super) fn nothing_in_doubt(site: &Site, trail: &Trail, target: &ResourceName) -> Result<(), RunError> {
    let open = trail.in_doubt().into_iter().collect();
    match trail.state(|state| site.in_doubt(state, &open, target)) {
        None => Ok(()),
        Some((record, intent)) => Err(RunError::InDoubt { record, verb: intent.verb, resource: intent.resource }),
    }
}

/// A live run. If a gate could ask people about this playbook, what it would do is planned first, and nothing is done until
/// they have answered.
fn live(
    site: &Site,
    parts: &Parts,
    request: &Request,
    glass: Option<Glass>,
    watcher: Watcher,
) -> Result<RunReport, RunError> {
    let ready = ready(site, parts, request, glass.is_some())?;
    parts.trail.append(Some(&ready.run), None, start(site, &ready.admitted, &ready.incident)?)?;
    if glass.is_none()
        && site.policy.may_ask(&request.playbook)
        && let Some(asked) = foreseen(site, parts, &ready)?
    {
        let approvals = super::Approvals::open(site)?;
        if let Some(reason) = asked.too_large() {
            return over(parts, &approvals, &asked, RunState::Refused, reason);
        }
        approvals.ask(&parts.trail, &asked)?;
        let mut report = ready.report(RunState::AwaitingApproval);
        report.reason = asked.wants().join("; ");
        report.plan = Some(asked.plan());
        report.asked = Some(asked);
        return Ok(report);
    }
    Ok(course(site, parts, &ready, Leave { approved: None, glass }, watcher))
}

/// What people would have to approve of this run, if a plan of it meets a gate.
fn foreseen(site: &Site, parts: &Parts, ready: &Ready) -> Result<Option<Asked>, RunError> {
    let state = parts.trail.state(Clone::clone);
    let trail = Arc::new(Trail::in_memory(MemoryLog::default(), state, actor(), Arc::clone(&site.clock)));
    let hands = Arc::new(Hands::simulated(SimulatedHands::new(site.hands()?, BTreeSet::new())));
    let planned = site.parts(trail, hands, Kept::of_a_plan(site.keyed_digest()), Approvals::Assumed);
    let report = course(site, &planned, ready, Leave::default(), Box::new(|_| ()));
    Asked::of(site, &ready.admitted, (&ready.run, &ready.incident), &report.transcript)
}

/// Admits, links and names a run.
pub(super) fn ready(site: &Site, parts: &Parts, request: &Request, glass: bool) -> Result<Ready, RunError> {
    let now = site.clock.now();
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).map_err(|error| RunError::Request(format!("no random numbers: {error}")))?;
    let run = RunId::new(now, u32::from_le_bytes(salt));
    let admitted = admitted(site, parts, request, glass)?;
    let incident = request.incident(&run, now, admitted.1.bindings().clone());
    let (program, admitted) = admitted;
    Ok(Ready { program, admitted, run, incident })
}

/// Admits and links what a request asks for; a refusal stands on the trail.
pub(super) fn admitted(
    site: &Site,
    parts: &Parts,
    request: &Request,
    glass: bool,
) -> Result<(crate::sandbox::Program, Admitted), RunError> {
    let admitted = parts.trail.state(|state| admit(site, state, request, glass));
    admitted
        .and_then(|admitted| Ok((site.program(&admitted)?, admitted)))
        .map_err(|error| accept::refused(&parts.trail, Some(&request.playbook), error))
}

/// The record of the beginning.
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
