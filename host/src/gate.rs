//! The one choke point: decide, prepare the undo, write the intent, act, write the outcome.
//!
//! Every call of every guest comes through [`Gate::call`], and there is no other way to a hand: a hand takes a
//! [`Permit`] and an [`Intent`](crate::audit::Intent), and only the policy and the trail can make
//! those. This is the only room that names policy, audit and capability together.
//!
//! The order is the product. Policy decides before anything is spent (INVARIANT 2). A refusal is a value, recorded, and
//! says no more than the guest may know (INVARIANT 3). What would put an effect back is on the disk before the intent,
//! the intent is durable before the effect (INVARIANT 1), and the outcome follows it. A nonsense name, an unknown
//! resource and a forbidden one look alike to the guest.
//!
//! What it does not do: retry anything (INVARIANT 9), judge a playbook as a whole (that is admission), or believe the
//! guest about anything but what it asks for.

mod approved;
mod besides;
mod evidence;
mod heed;
mod judge;
mod lease;
mod ledger;
mod transcript;
mod undo;
mod unwind;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use self::approved::{Approved, Approver, PlannedEffect, Scope};
pub use self::evidence::EvidenceFolder;
pub use self::lease::{Leases, RunLeases};
pub use self::ledger::Ledger;
pub use self::transcript::{Call, Passage, Transcript};
pub use self::undo::{KeyedDigest, UndoJournal};
pub use self::unwind::PutBack;

use self::ledger::Reservation;
use crate::audit::{AuditError, Body, IntentDraft, Trail};
use crate::capability::{Deadline, Hands};
use crate::inventory::Inventory;
use crate::model::{
    Action, Clock, Denial, DenialCode, ErrorCode, Glass, GuestError, Incident, Limits, Outcome, PlaybookId, Reply,
    ResourceName, RunId, escape_to,
};
use crate::orders::Orders;
use crate::policy::{Permit, PolicySet};

/// How much of a guest's text a transcript shows.
const SHOWN: usize = 120;

/// What a policy gate that asks for people means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approvals {
    /// The call is refused with `needs-approval`.
    Required,
    /// A plan: who would have to approve is noted, and the call goes on as if they had.
    Assumed,
}

/// What every gate of a site shares.
#[derive(Clone)]
pub struct Parts {
    /// The operator's policy, as loaded when the run began.
    pub policy: Arc<PolicySet>,
    /// The trail, or one in memory for a plan.
    pub trail: Arc<Trail>,
    /// What acts: the real hands, or the simulated ones of a plan.
    pub hands: Arc<Hands>,
    /// What calls under way have reserved.
    pub ledger: Arc<Ledger>,
    /// Which run acts on which target.
    pub leases: Arc<Leases>,
    /// What people ordered.
    pub orders: Arc<Orders>,
    /// What belongs to what.
    pub inventory: Arc<Inventory>,
    /// Where undo material is kept.
    pub undo: Arc<UndoJournal>,
    /// Where evidence is kept.
    pub evidence: Arc<EvidenceFolder>,
    /// Set when the process is asked to end: no call begins after that.
    pub interrupted: Arc<AtomicBool>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The deadline of a call.
    pub limits: Limits,
    /// Whether people are asked.
    pub approvals: Approvals,
}

/// Whose gate it is.
#[derive(Debug)]
pub struct Pass {
    /// The run.
    pub run: RunId,
    /// Its playbook, from the verified signature.
    pub playbook: PlaybookId,
    /// What it is for.
    pub incident: Incident,
    /// Where it keeps the targets it takes, until the run is over.
    pub leases: Arc<RunLeases>,
    /// What people approved, if they were asked: the run is held to it.
    pub approved: Option<Approved>,
    /// The glass that somebody broke for it. Asked before every call whether it is over.
    pub glass: Option<Glass>,
}

/// The gate of one run.
pub struct Gate {
    parts: Parts,
    run: RunId,
    playbook: PlaybookId,
    incident: Incident,
    labels: Arc<BTreeSet<String>>,
    deadline: Deadline,
    step: u32,
    leases: Arc<RunLeases>,
    approved: Option<Approved>,
    glass: Option<Glass>,
    seen_target: bool,
    transcript: Arc<Mutex<Transcript>>,
    watcher: Box<dyn FnMut(&Call) + Send>,
}

/// A call that was refused so that the run must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The guest is told and goes on.
    Guest(GuestError),
    /// The host ends the run.
    Stop(String),
}

/// How a call ended, before the transcript and the guest are told.
struct Ended {
    approval: Option<String>,
    record: Option<u64>,
    undo: Option<String>,
    passage: Passage,
    answer: Result<Reply, Halt>,
}

impl Ended {
    /// Without anything but a passage; the guest is told that the host's own fault stopped it.
    fn of(passage: Passage) -> Self {
        let answer = Err(Halt::Stop("the host ended the run".to_owned()));
        Self { approval: None, record: None, undo: None, passage, answer }
    }
}

impl Gate {
    /// The gate of a run, until the run's time is over. Each call is shown to `watcher` once it ended.
    pub fn new(parts: Parts, pass: Pass, watcher: Box<dyn FnMut(&Call) + Send>) -> Self {
        let Pass { run, playbook, incident, leases, approved, glass } = pass;
        let labels = Arc::new(incident.labels.iter().map(|(key, value)| format!("{key}={value}")).collect());
        let deadline = Deadline::after(parts.limits.run_time());
        Self {
            parts,
            run,
            playbook,
            incident,
            labels,
            deadline,
            step: 0,
            leases,
            approved,
            glass,
            seen_target: false,
            transcript: Arc::default(),
            watcher,
        }
    }

    /// What the gate has seen, also after the gate itself is gone.
    #[must_use]
    pub fn transcript(&self) -> Arc<Mutex<Transcript>> {
        Arc::clone(&self.transcript)
    }

    /// One call of the guest.
    ///
    /// # Errors
    /// [`Halt::Guest`] for everything the guest is told; [`Halt::Stop`] when the run must end.
    pub fn call(&mut self, action: Action) -> Result<Reply, Halt> {
        let begun = Instant::now();
        self.step = self.step.saturating_add(1);
        let step = self.step;
        let (verb, resource) = (action.verb(), escape_to(&action.resource_as_given(), SHOWN));
        let arguments =
            action.arguments().into_iter().map(|(key, value)| format!("{key}={}", escape_to(&value, SHOWN)));
        let arguments = arguments.collect::<Vec<_>>().join(" ");
        let effect = verb.class().is_effect().then(|| action.clone());
        let ended = self.pass(action);
        // Nobody is told to do by hand what may have been done, or is being done.
        let refused = match &ended.passage {
            Passage::Denied { .. } => true,
            Passage::Failed { code, .. } => !matches!(code, ErrorCode::Busy | ErrorCode::Indeterminate),
            Passage::Done { .. } | Passage::NotRecorded { .. } => false,
        };
        let call = Call {
            step,
            action: verb.id(),
            resource,
            class: verb.class(),
            arguments,
            approval: ended.approval,
            record: ended.record,
            undo: ended.undo,
            by_hand: None,
            passage: ended.passage,
            micros: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        (self.watcher)(&call);
        self.note(|transcript| {
            // What a person would type is found out once the run is over: looking it up here would tell the guest, by the
            // time that its answer takes, what it may not know.
            transcript.refused.extend(effect.filter(|_| refused).map(|action| (transcript.calls.len(), action)));
            transcript.calls.push(call);
        });
        ended.answer
    }

    fn note(&self, write: impl FnOnce(&mut Transcript)) {
        write(&mut self.transcript.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// INVARIANT 3: a denial is a value, recorded; the guest learns action, resource, code and record number.
    fn deny(&self, action: &Action, code: DenialCode, policies: Vec<String>) -> Ended {
        self.note(|transcript| transcript.denied += 1);
        let arguments = action.arguments().into_iter().map(|(key, value)| (key.to_owned(), escape_to(&value, SHOWN)));
        let resource = escape_to(&action.resource_as_given(), SHOWN);
        let body = Body::Denied {
            action: action.verb().id().to_owned(),
            resource: resource.clone(),
            arguments: arguments.collect(),
            playbook: self.playbook.clone(),
            code,
            policies: policies.clone(),
            count: 1,
            until: self.parts.clock.now(),
        };
        match self.parts.trail.append(Some(&self.run), Some(self.step), body) {
            Ok(record) => {
                let denial = Denial { action: action.verb().id().to_owned(), resource, code, record };
                Ended {
                    approval: None,
                    record: Some(record),
                    undo: None,
                    passage: Passage::Denied { policies, code: code.word() },
                    answer: Err(Halt::Guest(GuestError::denied(denial))),
                }
            }
            Err(error) => self.not_recorded(&error),
        }
    }

    /// Nobody is asked about it and nothing of it is kept but its beginning; that it was tried is on record all the same.
    fn too_large(&self, action: &Action, bytes: u64) -> Ended {
        let mut ended = self.deny(action, DenialCode::TooLarge, Vec::new());
        if let Err(Halt::Guest(error)) = &mut ended.answer
            && error.denial.is_some()
        {
            let most = self.parts.limits.argument_bytes;
            let message = format!("the strings of this call have {bytes} bytes, and {most} are allowed");
            *error = GuestError::new(ErrorCode::Invalid, message);
        }
        ended
    }

    /// The trail could not take the call: nothing was done, and the guest is told so.
    fn not_recorded(&self, error: &AuditError) -> Ended {
        let message = error.to_string();
        if let AuditError::BudgetSpent(limit) = error {
            let limit = *limit;
            self.note(|transcript| transcript.limit = Some(limit));
            let answer = Err(Halt::Stop(limit.to_string()));
            return Ended {
                approval: None,
                record: None,
                undo: None,
                passage: Passage::NotRecorded { message },
                answer,
            };
        }
        self.note(|transcript| transcript.trail_lost = Some(message.clone()));
        let told =
            GuestError::new(ErrorCode::AuditUnavailable, "the audit trail cannot take records; nothing was done");
        Ended {
            approval: None,
            record: None,
            undo: None,
            passage: Passage::NotRecorded { message },
            answer: Err(Halt::Guest(told)),
        }
    }

    /// The call was recorded and made, and how it ended cannot be: its record is found in doubt at the next start.
    fn outcome_lost(&self, record: u64, undo: Option<String>, error: &AuditError) -> Ended {
        let message = format!("the outcome of record {record} is not on the trail: {error}");
        self.note(|transcript| {
            transcript.trail_lost = Some(message.clone());
            transcript.lost_track = Some(message.clone());
        });
        let told = GuestError::new(
            ErrorCode::Indeterminate,
            "it may or may not have had its effect; its outcome is not on record",
        );
        Ended {
            approval: None,
            record: Some(record),
            undo,
            passage: Passage::NotRecorded { message },
            answer: Err(Halt::Guest(told)),
        }
    }

    fn draft(&self, permit: &Permit) -> IntentDraft {
        IntentDraft {
            action: permit.action().clone(),
            playbook: self.playbook.clone(),
            class: permit.action().verb().class(),
            policies: permit.policies().to_vec(),
            key: String::new(),
            undo: None,
            undoes: None,
        }
    }

    fn read(&self, permit: Permit) -> Ended {
        let begun = Instant::now();
        let policies = permit.policies().to_vec();
        let ticket = match self.parts.trail.begin_read(&self.run, self.step, self.draft(&permit)) {
            Ok(ticket) => ticket,
            Err(error) => return self.not_recorded(&error),
        };
        let record = ticket.seq();
        let outcome = self.parts.hands.observe(permit, ticket, self.call_deadline());
        self.finish(record, outcome, policies, None, begun)
    }

    fn effect(&self, permit: Permit, reservation: Option<Reservation>, targets: &[ResourceName]) -> Ended {
        let begun = Instant::now();
        let policies = permit.policies().to_vec();
        let prepared = match self.parts.hands.prepare(&permit, self.call_deadline()) {
            Ok(prepared) => prepared,
            Err(error) => return self.not_prepared(&permit, error, policies, begun),
        };
        let undo = match prepared.undo().map(|material| self.keep(material)).transpose() {
            Ok(undo) => undo,
            Err(error) => return self.not_prepared(&permit, error, policies, begun),
        };
        let place = undo.as_ref().map(|undo| undo.reference.clone());
        let mut draft = self.draft(&permit);
        draft.key = format!("{}/{}", self.run, self.step);
        draft.undo = undo;
        // INVARIANT 1: when this returns, the intent survives the loss of power; if it does not, no hand is asked.
        let intent = match self.parts.trail.begin(&self.run, self.step, draft) {
            Ok(intent) => intent,
            Err(error) => {
                self.parts.undo.forget(&self.run, self.step);
                return self.not_recorded(&error);
            }
        };
        // From here on the durable intent itself is counted.
        drop(reservation);
        let record = intent.seq();
        let planned = PlannedEffect::of(permit.action());
        self.note(|transcript| transcript.effects.push(planned));
        let outcome = match self.still_ours(targets) {
            Ok(()) => self.parts.hands.perform(permit, prepared, intent, self.call_deadline()),
            Err(error) => Outcome::Failed { error },
        };
        // A hand that comes back after its lease was over acted beside another run.
        let outcome = match self.still_ours(targets) {
            Err(error) if !matches!(outcome, Outcome::Failed { .. }) => Outcome::Indeterminate { error },
            _ => outcome,
        };
        self.finish(record, outcome, policies, place, begun)
    }

    fn still_ours(&self, targets: &[ResourceName]) -> Result<(), GuestError> {
        let lost = targets.iter().find(|target| !self.leases.holds(target));
        let Some(target) = lost.filter(|_| self.parts.approvals == Approvals::Required) else { return Ok(()) };
        Err(GuestError::new(ErrorCode::Busy, format!("the time of this run was over and another one took {target}")))
    }

    /// The earlier of the call's own deadline and the run's.
    fn call_deadline(&self) -> Deadline {
        Deadline::after(self.parts.limits.call_time().min(self.deadline.remaining()))
    }

    fn keep(&self, material: &crate::capability::UndoMaterial) -> Result<crate::model::UndoReference, GuestError> {
        let bytes = serde_json::to_vec(material).unwrap_or_default();
        self.parts.undo.keep(&self.playbook, (&self.run, self.step), material.kind(), &bytes).map_err(|error| {
            tracing::error!("what would put this back cannot be kept, so nothing was done: {error}");
            GuestError::new(ErrorCode::Unavailable, "what would put this back cannot be kept; nothing was done")
        })
    }

    /// Permitted, but it cannot be done: recorded as a call that failed before it had an effect.
    fn not_prepared(&self, permit: &Permit, error: GuestError, policies: Vec<String>, begun: Instant) -> Ended {
        match self.parts.trail.begin_read(&self.run, self.step, self.draft(permit)) {
            Ok(ticket) => self.finish(ticket.seq(), Outcome::Failed { error }, policies, None, begun),
            Err(error) => self.not_recorded(&error),
        }
    }

    fn finish(
        &self,
        record: u64,
        outcome: Outcome,
        policies: Vec<String>,
        undo: Option<String>,
        begun: Instant,
    ) -> Ended {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Outcome::Indeterminate { error } = &outcome {
            let message = error.message.clone();
            self.note(|transcript| transcript.lost_track = Some(message));
        }
        let recorded = outcome.for_the_trail(|bytes| self.parts.undo.digest(bytes));
        if let Err(error) = self.parts.trail.finish(record, recorded, micros) {
            return self.outcome_lost(record, undo, &error);
        }
        let answer = outcome.into_reply();
        let passage = match &answer {
            Ok(reply) => Passage::Done { policies, seen: seen(reply) },
            Err(error) => Passage::Failed { policies, code: error.code, message: escape_to(&error.message, SHOWN) },
        };
        Ended { approval: None, record: Some(record), undo, passage, answer: answer.map_err(Halt::Guest) }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gate").field("run", &self.run).field("playbook", &self.playbook).finish_non_exhaustive()
    }
}

/// A reply in a few words, escaped.
fn seen(reply: &Reply) -> String {
    let assumed = |assumed: bool| if assumed { " (assumed)" } else { "" };
    match reply {
        Reply::Service(status) => format!("{}{}", status.state.word(), assumed(status.assumed)),
        Reply::Probe(reading) => {
            format!("{} {}{}", reading.verdict.word(), escape_to(&reading.seen, SHOWN), assumed(reading.assumed))
        }
        Reply::Storage(usage) => {
            let word = if usage.enough { "enough free" } else { "not enough free" };
            format!("{word}: {} MiB, {} inodes{}", usage.bytes_free >> 20, usage.inodes_free, assumed(usage.assumed))
        }
        Reply::Reclaimed(done) => {
            let files = format!("{} files, {} MiB", done.files, done.bytes >> 20);
            let left = done.left.first().map_or_else(String::new, |first| format!("; left {first}"));
            format!("took away {files}{}{}", assumed(done.usage.assumed), escape_to(&left, SHOWN))
        }
        Reply::Config(status) => format!("{}{}", status.state.word(), assumed(status.assumed)),
        Reply::Command(result) => match result.exit {
            crate::model::ExitStatus::Code(code) => format!("ended with status {code}{}", assumed(result.assumed)),
            crate::model::ExitStatus::Signal(signal) => format!("ended by signal {signal}"),
        },
        Reply::Done => String::new(),
        Reply::Time { unix_ms } => crate::model::Timestamp::from_millis(*unix_ms).to_string(),
    }
}
