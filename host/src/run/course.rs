//! The course of a run: guest code through the gate, the target's own check, and what is put back if it does not hold.
//!
//! The same course is taken live and in a plan; what differs is what the gate acts with.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::Body;
use crate::gate::{Approvals, Approved, Gate, Halt, Parts, Pass, RunLeases, Transcript};
use crate::model::{Glass, Incident, PlaybookId, ResourceName, RunEvent, RunId, RunState, escape_to};
use crate::sandbox::{self, CallError, GuestEnd, Program};

use super::asked::plan_digest;
use super::check::{self, Terms};
use super::execute::Watcher;
use super::unwind::{Wanted, reconcile, unwind};
use super::{Admitted, RunReport, Site};

/// How much of a guest's own words a reason holds.
const SHOWN: usize = 300;

/// A run that may begin: admitted, linked, named.
pub(super) struct Ready {
    pub(super) program: Program,
    pub(super) admitted: Admitted,
    pub(super) run: RunId,
    pub(super) incident: Incident,
}

impl Ready {
    fn playbook(&self) -> PlaybookId {
        self.admitted.verified().id()
    }

    /// What is said of a run that has done nothing yet.
    pub(super) fn report(&self, state: RunState) -> RunReport {
        let release = self.admitted.verified().manifest().release;
        let report = RunReport::new(&self.run, (self.playbook(), release), &self.incident, state, String::new());
        RunReport { notes: self.admitted.notes().to_vec(), ..report }
    }
}

/// What lets a run pass where policy alone would not.
#[derive(Default)]
pub(super) struct Leave {
    pub(super) approved: Option<Approved>,
    pub(super) glass: Option<Glass>,
}

/// From the first guest instruction to the end, which is on the trail when this returns, or the report says that it is not.
pub(super) fn course(site: &Site, parts: &Parts, ready: &Ready, leave: Leave, watcher: Watcher) -> RunReport {
    let begun = Instant::now();
    let mut progress = Progress { state: RunState::Admitted, reason: String::new() };
    progress.take(RunEvent::Started, "");
    let leases = Arc::new(parts.leases.of(ready.run.clone(), longest(site, &ready.incident.target)));
    let (end, transcript) = guest(site, parts, ready, (leave, Arc::clone(&leases)), watcher);
    let mut report = ready.report(progress.state);
    report.limit = transcript.limit;
    if transcript.glass_over {
        report.notes.push(
            "the broken glass was over before the run was: from there on it was judged like any other".to_owned(),
        );
    }
    report.transcript = transcript;
    found_out(parts, &mut report);
    conclude(end, &mut progress, &mut report);
    if progress.state == RunState::Checking {
        ask_the_check(site, parts, &mut progress, &mut report);
    }
    if progress.state == RunState::Unwinding {
        put_back(site, parts, &leases, &mut progress, &mut report);
    }
    report.state = progress.state;
    report.reason = progress.reason;
    report.millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if parts.approvals == Approvals::Assumed {
        match plan_digest(site, &ready.admitted, &ready.incident, &report.transcript.effects) {
            Ok(digest) => report.plan = Some(digest),
            Err(error) => report.notes.push(format!("it has no digest, so nobody could approve it: {error}")),
        }
    }
    finish(parts, &mut report);
    drop(leases);
    report
}

/// How long a run may be at work on its target: guest code, the check, and a call that puts something back.
pub(super) fn longest(site: &Site, target: &ResourceName) -> Duration {
    let limits = &site.configuration.limits;
    let terms = Terms::of(&site.configuration.inventory, target);
    limits.run_time() + limits.call_time() * 2 + terms.healed.deadline
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

/// Guest code, through the gate.
fn guest(
    site: &Site,
    parts: &Parts,
    ready: &Ready,
    (leave, leases): (Leave, Arc<RunLeases>),
    watcher: Watcher,
) -> (GuestEnd, Transcript) {
    let pass = Pass {
        run: ready.run.clone(),
        playbook: ready.playbook(),
        incident: ready.incident.clone(),
        leases,
        approved: leave.approved,
        glass: leave.glass,
    };
    let mut gate = Gate::new(parts.clone(), pass, watcher);
    let transcript = gate.transcript();
    let calls = move |action| {
        gate.call(action).map_err(|halt| match halt {
            Halt::Guest(error) => CallError::Guest(error),
            Halt::Stop(reason) => CallError::Abort { reason },
        })
    };
    let end = sandbox::run(&ready.program, &ready.incident, &site.configuration.limits, Box::new(calls));
    let mut transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner).clone();
    transcript.by_hand(&parts.hands);
    (end, transcript)
}

/// What a hand lost track of is asked about once more, now that it had a moment: most often it can tell.
fn found_out(parts: &Parts, report: &mut RunReport) {
    if parts.approvals == Approvals::Assumed
        || report.transcript.lost_track.is_none()
        || report.transcript.trail_lost.is_some()
    {
        return;
    }
    if reconcile(parts, &report.run).unwrap_or(false)
        && let Some(lost) = report.transcript.lost_track.take()
    {
        report.notes.push(format!("looked again and know now what became of it: {}", escape_to(&lost, SHOWN)));
    }
}

/// Not healed: what the operator wants put back is put back, and the rest is named.
fn put_back(site: &Site, parts: &Parts, leases: &RunLeases, progress: &mut Progress, report: &mut RunReport) {
    let reason = progress.reason.clone();
    if parts.approvals == Approvals::Assumed {
        return progress.take(RunEvent::Left, &reason);
    }
    match unwind(parts, &site.configuration.inventory, &report.run, leases, Wanted::AsConfigured) {
        Ok(unwinding) => {
            let left = unwinding.left();
            let said = match unwinding.event {
                RunEvent::LostTrack => format!("{reason}; not everything could be put back: {left}"),
                _ => reason,
            };
            progress.take(unwinding.event, &said);
            report.undone = unwinding.steps;
        }
        Err(error) => progress.take(RunEvent::TrailLost, &format!("{reason}; nothing more is put back: {error}")),
    }
}

/// From how guest code ended to where the run stands. What the gate knows weighs more than what the guest says.
fn conclude(end: GuestEnd, progress: &mut Progress, report: &mut RunReport) {
    if let Some(reason) = &report.transcript.lost_track {
        let reason = format!("an effect may or may not have happened: {}", escape_to(reason, SHOWN));
        progress.take(RunEvent::LostTrack, &reason);
    } else if let Some(reason) = &report.transcript.trail_lost {
        progress.take(RunEvent::TrailLost, reason);
    } else if let Some(who) = &report.transcript.approval {
        // The plan did not show it, or people would have been asked before anything was done.
        let reason = format!("a gate asks for approval by {who} that the plan did not foresee; run it again to ask");
        progress.take(RunEvent::Broke, &reason);
    }
    if report.transcript.departed {
        progress.take(RunEvent::Broke, "it departed from the plan that was approved");
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
fn ask_the_check(site: &Site, parts: &Parts, progress: &mut Progress, report: &mut RunReport) {
    let terms = Terms::of(&site.configuration.inventory, &report.target);
    let patient = parts.approvals == Approvals::Required;
    let looked = check::wait(&parts.hands, &*site.clock, &report.target, &terms, patient, |look| {
        let body = Body::Check {
            resource: report.target.clone(),
            reading: look.reading.clone(),
            successes: look.successes,
            needed: look.needed,
        };
        parts.trail.append(Some(&report.run), None, body)?;
        // What was done must not be in doubt because somebody ends the wait for the check.
        if patient && look.successes < look.needed { parts.trail.flush() } else { Ok(()) }
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
fn finish(parts: &Parts, report: &mut RunReport) {
    let body = Body::RunEnd {
        state: report.state,
        reason: report.reason.clone(),
        report: report.said.clone(),
        limit: report.limit,
        millis: report.millis,
    };
    if let Err(error) = parts.trail.append_durable(Some(&report.run), body) {
        // INVARIANT 1: an end that is not on the trail did not happen; the next start finds the run open. That an effect
        // is in doubt is still the worse news.
        if report.state != RunState::Indeterminate {
            report.state = RunState::AuditUnavailable;
            report.reason = error.to_string();
        }
        return;
    }
    if matches!(report.state, RunState::Healed | RunState::Unwound)
        && let Err(error) = parts.undo.commit(&report.run)
    {
        report.notes.push(format!("undo material that nobody needs any more is left over: {error}"));
    }
}
