//! Going on with a plan that people approved.
//!
//! Everything is asked anew, because hours may have passed: the same bytes must be admitted under the same policy, with the
//! same bindings, on resources that the operator defines in the same way, and the plan on the disk must be the one that the
//! trail speaks of. That it goes on is on the trail, durably, before anything is
//! done, and uses the approval up: of a hundred who resume it at once, one finds it waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::audit::{Body, Trail};
use crate::capability::Hands;
use crate::gate::{Approvals as Asking, Parts};
use crate::model::{Incident, ResourceName, RunId, RunState, Timestamp};

use super::answers::Answers;
use super::approval::Approvals;
use super::asked::Asked;
use super::course::{Leave, Ready, course};
use super::definitions::definitions;
use super::execute::{Watcher, admitted, durable, nothing_in_doubt};
use super::recover::recover;
use super::{Admitted, Request, RunError, RunReport, Site};

/// Goes on with a run that waits, if people have approved its plan; or says whom it still waits for.
///
/// # Errors
/// When no such run waits, what was approved is not what would run now, or the trail cannot take records.
pub fn resume(
    site: &Site,
    trail: Arc<Trail>,
    hands: Arc<Hands>,
    run: &RunId,
    watcher: Watcher,
) -> Result<RunReport, RunError> {
    trail.admits_new_runs()?;
    let parts = site.parts(Arc::clone(&trail), hands, site.kept()?, Asking::Required);
    let approvals = Approvals::open(site)?;
    let asked = trail.state(|state| approvals.asked(site, state, run))?;
    // Before recovery, which ends what nobody may go on with: who asks for this run hears how it ended, and why.
    let answers = approvals.answers(site, &asked)?;
    let over = match closed(site, Some(&answers), asked.until) {
        Some((state, reason)) => Some(over(&parts, &approvals, &asked, state, reason)?),
        None => None,
    };
    let recovered = recover(site, &parts)?;
    let mut outcome = match over {
        Some(report) => Ok(report),
        None => {
            nothing_in_doubt(site, &trail, &asked.incident.target)?;
            go_on(site, &parts, asked, watcher)
        }
    };
    if let Ok(report) = &mut outcome {
        report.recovered = recovered;
    }
    durable(&trail, outcome)
}

/// How a plan that waits ended without anybody going on with it, if it did: somebody said no, or it waited too long.
fn closed(site: &Site, answers: Option<&Answers>, until: Timestamp) -> Option<(RunState, String)> {
    match answers.and_then(|answers| answers.no.as_ref()) {
        Some((person, reason)) => {
            let reason = crate::model::escape_to(reason, 300);
            Some((RunState::Refused, format!("{person} rejected it: {reason}")))
        }
        None if site.clock.now() >= until => {
            Some((RunState::NotHealed, format!("nobody approved it in time (by {until}); nothing was done")))
        }
        None => None,
    }
}

/// Ends a run that waited, durably, with nothing done.
pub(super) fn over(
    parts: &Parts,
    approvals: &Approvals,
    asked: &Asked,
    state: RunState,
    reason: String,
) -> Result<RunReport, RunError> {
    let end = Body::RunEnd { state, reason: reason.clone(), report: None, limit: None, millis: 0 };
    parts.trail.append_durable(Some(&asked.run), end)?;
    approvals.forget(&asked.run);
    let of = (asked.playbook.clone(), asked.release);
    Ok(RunReport::new(&asked.run, of, &asked.incident, state, reason))
}

/// What differs from what people were asked, if anything does.
fn changed(site: &Site, asked: &Asked, admitted: &Admitted) -> Option<String> {
    let same = [
        (*admitted.verified().digest() == asked.component, "the playbook"),
        (site.policy.digest() == asked.policy, "the policy"),
        (*admitted.bindings() == asked.incident.bindings, "what guardian.toml binds"),
    ];
    if let Some((_, what)) = same.iter().find(|(same, _)| !same) {
        return Some(format!("{what} has changed since approval was asked for; run it again to ask anew"));
    }
    let now = match definitions(site, &asked.effects, &asked.incident.target) {
        Ok(now) => now,
        Err(error) => {
            return Some(format!("what it would act on is not as it was when approval was asked for: {error}"));
        }
    };
    let names: BTreeSet<&String> = now.keys().chain(asked.definitions.keys()).collect();
    let differs = |name: &&&String| now.get(**name) != asked.definitions.get(**name);
    names.iter().find(differs).map(|name| {
        format!(
            "what stands behind `{name}` in guardian.toml, or in its baseline, has changed since approval was asked for; run it again to ask anew"
        )
    })
}

fn go_on(site: &Site, parts: &Parts, asked: Asked, watcher: Watcher) -> Result<RunReport, RunError> {
    let Incident { kind, target, severity, labels, .. } = asked.incident.clone();
    let request = Request { playbook: asked.playbook.clone(), kind, target, severity, labels };
    let approvals = Approvals::open(site)?;
    let (program, admitted) = admitted(site, parts, &request, false)?;
    if let Some(reason) = changed(site, &asked, &admitted) {
        return over(parts, &approvals, &asked, RunState::Refused, reason);
    }
    let ready = Ready { program, admitted, run: asked.run.clone(), incident: asked.incident.clone() };
    let answers = approvals.answers(site, &asked)?;
    if let Some((state, reason)) = closed(site, Some(&answers), asked.until) {
        return over(parts, &approvals, &asked, state, reason);
    }
    let missing = answers.missing(&asked);
    if !missing.is_empty() {
        let mut report = ready.report(RunState::AwaitingApproval);
        report.reason = format!("{}; so far: {}", missing.join("; "), answers.so_far());
        report.notes.extend(answers.notes);
        report.asked = Some(asked);
        return Ok(report);
    }
    if let Some(why) = held_back(site, parts, &asked) {
        return Err(RunError::HeldBack { run: asked.run, why });
    }
    // From here on it is used up.
    let body = Body::Approved { plan: asked.plan(), people: answers.people(), exact: answers.exact() };
    parts.trail.append_durable(Some(&asked.run), body)?;
    let leave = Leave { approved: Some(answers.approved(&asked)), glass: None };
    let report = course(site, parts, &ready, leave, watcher);
    approvals.forget(&asked.run);
    Ok(report)
}

/// What people ordered that would stop some of the plan: it would use up the approval and do a part, or nothing.
fn held_back(site: &Site, parts: &Parts, asked: &Asked) -> Option<String> {
    let now = site.clock.now();
    let standing = parts.orders.standing(now);
    if let Some(given) = standing.withdrawn(&asked.playbook.publisher, now) {
        return Some(given.to_string());
    }
    let inventory = &site.configuration.inventory;
    let resources = asked.effects().filter_map(|(effect, _)| effect.resource.parse::<ResourceName>().ok());
    let stopped = |resource: ResourceName| standing.stops(&resource, &inventory.target_of(&resource), now);
    resources.filter_map(stopped).next().map(|stopped| stopped.to_string())
}

/// Ends every plan that waited too long, or that somebody rejected: what nobody resumes must not wait for ever.
///
/// # Errors
/// When the trail cannot take the ends.
pub fn close_waiting(site: &Site, trail: &Trail) -> Result<(), RunError> {
    let waiting: BTreeMap<RunId, _> = trail.state(|state| state.waiting().clone());
    let approvals = match Approvals::there(site)? {
        Some(approvals) => approvals,
        None if waiting.is_empty() => return Ok(()),
        // Somebody removed the folder; the plans have to end all the same.
        None => Approvals::open(site)?,
    };
    for (run, waits) in waiting {
        let asked = trail.state(|state| approvals.asked(site, state, &run)).ok();
        let answers = asked.and_then(|asked| approvals.answers(site, &asked).ok());
        let Some((state, reason)) = closed(site, answers.as_ref(), waits.until) else { continue };
        let end = Body::RunEnd { state, reason, report: None, limit: None, millis: 0 };
        trail.append_durable(Some(&run), end)?;
    }
    trail.state(|state| approvals.sweep(state));
    Ok(())
}
