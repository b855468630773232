//! Before a call is let through: the policy's answer, and what people said besides.
//!
//! In this order. A process that was asked to end begins nothing. A publisher whose trust was taken back gets no call at
//! all. Broken glass that is over counts no more. The policy decides, with what calls under way have reserved counted
//! (INVARIANT 2). Only then, so that a playbook without a permit learns nothing of what people do: a paused resource or a
//! freeze (INVARIANT 11). Gates that the policy finds closed are opened by the people that approved this plan, each gate by
//! its own, or by nobody. Last come the plan that was approved, the lease of the target, and what is in doubt.
//!
//! All of it is asked of every resource that the act reaches, not only of the one that the guest named ([`super::besides`]).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::approved::Approved;
use super::ledger::Reservation;
use super::{Approvals, Call, Ended, Gate, Halt, Passage, Transcript};
use crate::audit::{Body, OpenIntent, State};
use crate::capability::Deadline;
use crate::model::{Action, DenialCode, ErrorCode, Given, GuestError, Order, ResourceName, RunId, Verb, escape_to};
use crate::orders::{Standing, Stopped};
use crate::policy::{Decision, Facts, Permit, Question, Refusal, Used};

/// How long a target is looked at before the first effect: a supervisor and a check answer in far less.
const LOOK_FIRST: Duration = Duration::from_secs(2);

/// Why a permitted effect is held back.
pub(super) enum Held {
    /// By the plan that people approved.
    Departs,
    /// By another run.
    Busy(RunId),
    /// By an act whose end nobody knows.
    InDoubt { record: u64, verb: String },
}

/// What an operator's or a person's word holds back, with what the operator is told of it.
pub(super) type HeldBack = (DenialCode, Vec<String>);

impl Gate {
    pub(super) fn pass(&mut self, action: Action) -> Ended {
        if self.parts.interrupted.load(Ordering::Relaxed) {
            let answer = Err(Halt::Stop("guardian was asked to end".to_owned()));
            let message = "guardian was asked to end; nothing was done".to_owned();
            return Ended { answer, ..Ended::of(Passage::NotRecorded { message }) };
        }
        let bytes = u64::try_from(action.argument_bytes()).unwrap_or(u64::MAX);
        if bytes > self.parts.limits.argument_bytes {
            return self.too_large(&action, bytes);
        }
        let standing = match self.parts.heed(&self.run) {
            Ok(standing) => standing,
            Err(error) => return self.not_recorded(&error),
        };
        if let Some(given) = standing.withdrawn(&self.playbook.publisher, self.parts.clock.now()) {
            return self.deny(&action, DenialCode::Revoked, vec![said(given)]);
        }
        let Ok(resource) = action.resource() else {
            return self.deny(&action, DenialCode::NoPermit, Vec::new());
        };
        self.heed_glass(&standing);
        // INVARIANT 2: nothing is spent, prepared or written before this answer.
        let (decision, reservation) = self.decide(&action, &resource, &BTreeSet::new());
        let denied = matches!(decision, Decision::Denied(_));
        // Before anybody is asked to approve it: nobody is asked about what a person holds back anyway.
        let targets = match action.verb().class().is_effect() && !denied {
            true => match self.all_ordered(action.verb(), &resource, &standing) {
                Ok(targets) => Some(targets),
                Err((code, why)) => return self.deny(&action, code, why),
            },
            false => None,
        };
        let Decision::NeedsApproval { approvers, quorum, policies } = decision else {
            return self.decided(&action, decision, reservation, targets);
        };
        let who = format!("{quorum} of {}", approvers.iter().cloned().collect::<Vec<_>>().join(", "));
        let (approval, roles) = match (self.parts.approvals, &self.approved) {
            (Approvals::Assumed, _) => {
                self.note(|transcript| transcript.gates.extend(policies));
                (Some(who), approvers)
            }
            // Each gate that is closed is opened by enough people of its own, or none is.
            (Approvals::Required, Some(approved)) if self.opens(approved, &policies) => (None, approved.roles()),
            (Approvals::Required, _) => {
                // A gate that the plan did not meet is a departure from it like any other.
                if self.departs(&action) {
                    return self.deny(&action, DenialCode::DepartsFromPlan, policies);
                }
                self.note(|transcript| transcript.approval = Some(who));
                return self.deny(&action, DenialCode::NeedsApproval, policies);
            }
        };
        let (decision, reservation) = self.decide(&action, &resource, &roles);
        Ended { approval, ..self.decided(&action, decision, reservation, targets) }
    }

    /// Broken glass ends by its time, or because a person ended it, also in the middle of a run.
    fn heed_glass(&mut self, standing: &Standing) {
        let Some(glass) = &self.glass else { return };
        let recorded = self.parts.trail.state(|state| state.order(&Order::EndGlass).map(|given| given.at));
        if !glass.holds(standing.glass_ended().max(recorded), self.parts.clock.now()) {
            self.glass = None;
            self.note(|transcript| transcript.glass_over = true);
        }
    }

    fn opens(&self, approved: &Approved, gates: &[String]) -> bool {
        let opened = |id: &String| self.parts.policy.gate(id).is_some_and(|gate| approved.opens(&gate));
        !gates.is_empty() && gates.iter().all(opened)
    }

    fn decided(
        &mut self,
        action: &Action,
        decision: Decision,
        reservation: Option<Reservation>,
        targets: Option<Vec<ResourceName>>,
    ) -> Ended {
        match decision {
            Decision::Permitted(permit) => match targets.map(|all| self.may_act(&permit, &all).map(|()| all)) {
                None => self.read(permit),
                Some(Ok(targets)) => self.effect(permit, reservation, &targets),
                Some(Err(Held::Departs)) => self.deny(action, DenialCode::DepartsFromPlan, Vec::new()),
                Some(Err(Held::InDoubt { record, verb })) => {
                    let message =
                        format!("whether {verb} happened before is not known (record {record}): a person has to look");
                    self.held_up(&permit, message)
                }
                Some(Err(Held::Busy(run))) => self.held_up(&permit, format!("run {run} is at work on it")),
            },
            Decision::Denied(refusal) => self.deny(action, refusal.code, refusal.policies),
            Decision::NeedsApproval { policies, .. } => self.deny(action, DenialCode::NeedsApproval, policies),
        }
    }

    fn held_up(&self, permit: &Permit, message: String) -> Ended {
        let error = GuestError::new(ErrorCode::Busy, message);
        self.not_prepared(permit, error, permit.policies().to_vec(), Instant::now())
    }

    /// What may still hold a permitted effect on what belongs to `targets` back: the plan that people approved, another run,
    /// what is in doubt.
    fn may_act(&mut self, permit: &Permit, targets: &[ResourceName]) -> Result<(), Held> {
        if self.departs(permit.action()) {
            return Err(Held::Departs);
        }
        if self.parts.approvals == Approvals::Required {
            self.alone(permit, targets)?;
            self.look_first();
        }
        Ok(())
    }

    /// INVARIANT 9: what may or may not have happened to a resource is not done again, by whatever run it was begun.
    pub(super) fn in_doubt(&self, resource: &ResourceName) -> Result<(), Held> {
        // An act in doubt leaves everything in doubt that it touches.
        let about = |verb: &str, on: &str| self.parts.inventory.touches(verb, on, resource);
        // What this run ended may not be durable yet, so of its own the trail would speak too early.
        let others = |state: &State| {
            let theirs = |open: &OpenIntent| open.run.as_ref() != Some(&self.run) && about(&open.verb, &open.resource);
            let open = state.open_intents().iter().find(|(_, open)| theirs(open));
            open.map(|(record, open)| (*record, open.verb.clone()))
        };
        let unsure = |call: &&Call| {
            matches!(call.passage, Passage::Failed { code: ErrorCode::Indeterminate, .. })
                && about(call.action, &call.resource)
        };
        let own = |transcript: &Transcript| {
            let lost = transcript.lost_track.as_ref().and_then(|_| transcript.calls.iter().find(unsure));
            lost.and_then(|call| Some((call.record?, call.action.to_owned())))
        };
        let own = own(&self.transcript.lock().unwrap_or_else(PoisonError::into_inner));
        let trail = &self.parts.trail;
        // The projection speaks of what is durable: the end of a run that has just let go of the target may not be yet.
        let others = || {
            trail.state(others).and_then(|found| if trail.flush().is_ok() { trail.state(others) } else { Some(found) })
        };
        match own.or_else(others) {
            None => Ok(()),
            Some((record, verb)) => Err(Held::InDoubt { record, verb }),
        }
    }

    /// What people ordered about a resource, with what the operator is told of it; its target if they did not.
    pub(super) fn ordered(&self, resource: &ResourceName, standing: &Standing) -> Result<ResourceName, HeldBack> {
        let target = self.parts.inventory.target_of(resource);
        // INVARIANT 11: asked after the policy, so that a playbook without a permit learns nothing of what people do.
        match standing.stops(resource, &target, self.parts.clock.now()) {
            None => {}
            Some(Stopped::By(given)) => {
                let paused = matches!(given.what, Order::Pause { .. });
                let code = if paused { DenialCode::Paused } else { DenialCode::Frozen };
                return Err((code, vec![said(&given)]));
            }
            Some(Stopped::Doubt(problem)) => return Err((DenialCode::Frozen, vec![problem])),
        }
        Ok(target)
    }

    /// Whether an effect is not in what is left of the plan that people approved; then nothing later is either.
    fn departs(&mut self, action: &Action) -> bool {
        let effect = action.verb().class().is_effect();
        let departs = effect && self.approved.as_mut().is_some_and(|approved| !approved.covers(action));
        if departs {
            self.note(|transcript| transcript.departed = true);
        }
        departs
    }

    /// Keeps how the target looks, once, before the first effect. Nothing of it stops the heal.
    fn look_first(&mut self) {
        if std::mem::replace(&mut self.seen_target, true) {
            return;
        }
        let target = self.parts.inventory.target_of(&self.incident.target);
        let seen = self.parts.hands.evidence(&target, Deadline::after(LOOK_FIRST.min(self.deadline.remaining())));
        match self.parts.evidence.keep(&self.run, &seen) {
            Ok(Some(bytes)) => {
                let body = Body::Evidence {
                    resource: target,
                    reference: self.run.to_string(),
                    digest: self.parts.undo.digest(&bytes),
                    bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                };
                // The intent that follows is what must not be lost.
                if let Err(error) = self.parts.trail.append(Some(&self.run), None, body) {
                    tracing::warn!("that evidence was kept is not on the trail: {error}");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("no evidence was kept: {error}"),
        }
        self.note(|transcript| transcript.evidence = Some(seen));
    }

    fn decide(
        &self,
        action: &Action,
        resource: &ResourceName,
        approvals: &BTreeSet<String>,
    ) -> (Decision, Option<Reservation>) {
        let verb = action.verb();
        let ask = |open: u64| {
            let facts = self.facts(verb, resource, approvals, open);
            let question = Question { playbook: &self.playbook, action, resource, facts: &facts };
            let effect = verb.class().is_effect();
            let mut decision = self.parts.policy.decide(&question);
            if effect {
                decision = self.decide_besides(&question, decision);
            }
            if effect && let Decision::Denied(refusal) = &mut decision {
                self.name_the_quota(&question, refusal);
            }
            let reserves = effect && matches!(decision, Decision::Permitted(_));
            (decision, reserves)
        };
        if verb.class().is_effect() {
            self.parts.ledger.decide((self.playbook.clone(), verb, resource.clone()), ask)
        } else {
            (ask(0).0, None)
        }
    }

    /// What policies are told of this moment; `open` calls like this one are under way.
    pub(super) fn facts(&self, verb: Verb, resource: &ResourceName, approvals: &BTreeSet<String>, open: u64) -> Facts {
        let now = self.parts.clock.now();
        let used = self.parts.trail.state(|state| state.used(&self.playbook, verb.id(), &resource.to_string(), now));
        Facts {
            now,
            kind: self.incident.kind.clone(),
            severity: self.incident.severity,
            target: self.incident.target.clone(),
            used: Used {
                m5: used.m5.saturating_add(open),
                h1: used.h1.saturating_add(open),
                d1: used.d1.saturating_add(open),
            },
            windows: BTreeSet::new(),
            approvals: approvals.clone(),
            labels: Arc::clone(&self.labels),
            glass: self.glass.as_ref().map(|glass| glass.person.clone()),
        }
    }

    /// A permit whose quota is spent grants nothing, like one that is not there; the operator is told which it is. The guest
    /// is not.
    fn name_the_quota(&self, question: &Question<'_>, refusal: &mut Refusal) {
        let used = &question.facts.used;
        if refusal.code != DenialCode::NoPermit || !refusal.policies.is_empty() || used.d1 == 0 {
            return;
        }
        let permits = self.parts.policy.spent(question);
        if !permits.is_empty() {
            let (permits, Used { m5, h1, d1 }) = (permits.join(", "), used);
            refusal.policies =
                vec![format!("quota spent of {permits}: {m5} in 5 minutes, {h1} in 1 hour, {d1} in 1 day")];
        }
    }
}

/// An order as the operator reads it beside the call that it stopped. The guest does not: who said what is not its business.
fn said(given: &Given) -> String {
    format!("uid {} until {}: {}", given.by.uid, given.until, escape_to(&given.reason, 200))
}
