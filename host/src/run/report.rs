//! How a run ended: what the screen, the JSON and the exit code are made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Asked, Defined, Recovered, UndoStep};
use crate::capability::Evidence;
use crate::gate::Transcript;
use crate::model::{Digest, Incident, LimitHit, Name, PlaybookId, Reading, Report, ResourceName, RunId, RunState};

/// How a run, or a plan, ended.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// The playbook.
    pub playbook: PlaybookId,
    /// Its release, once it is known.
    pub release: Option<u64>,
    /// What it was about.
    pub target: ResourceName,
    /// What had happened to it, in the operator's word.
    pub kind: Name,
    /// How bad it was.
    pub severity: u8,
    /// Where it ended.
    pub state: RunState,
    /// Why there, in one line, escaped.
    pub reason: String,
    /// What the playbook says, not believed. Escape before showing.
    pub said: Option<Report>,
    /// The limit it spent.
    pub limit: Option<LimitHit>,
    /// What the target's check said last.
    pub check: Option<Reading>,
    /// Call by call.
    pub transcript: Transcript,
    /// What a person should know besides: an expired signature that was accepted before, a trigger that does not fit.
    pub notes: Vec<String>,
    /// The plan that waits for people.
    pub asked: Option<Asked>,
    /// The digest of the plan, of a plan.
    pub plan: Option<Digest>,
    /// What became of its effects when it was not healed, newest first.
    pub undone: Vec<UndoStep>,
    /// Earlier runs that nobody saw end, and the ends they got before this one began.
    pub recovered: Vec<Recovered>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// Whom a plan waits for, and what they are asked.
#[derive(Serialize)]
struct Waits<'a> {
    gates: Vec<String>,
    until: String,
    component: Digest,
    policy: Digest,
    incident: &'a Incident,
    effects: serde_json::Value,
    definitions: &'a BTreeMap<String, Defined>,
}

/// The JSON shape of a run, version 1.
#[derive(Serialize)]
struct Shape<'a> {
    run: &'a RunId,
    playbook: &'a PlaybookId,
    release: Option<u64>,
    target: &'a ResourceName,
    state: RunState,
    reason: &'a str,
    said: Option<&'a str>,
    limit: Option<LimitHit>,
    check: Option<&'a Reading>,
    calls: &'a [crate::gate::Call],
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Waits<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Evidence>,
    #[serde(skip_serializing_if = "<[UndoStep]>::is_empty")]
    undone: &'a [UndoStep],
    #[serde(skip_serializing_if = "<[Recovered]>::is_empty")]
    recovered: &'a [Recovered],
    millis: u64,
}

impl RunReport {
    /// Of a run that has done nothing, as far as it got.
    pub(super) fn new(
        run: &RunId,
        (playbook, release): (PlaybookId, u64),
        incident: &Incident,
        state: RunState,
        reason: String,
    ) -> Self {
        Self {
            run: run.clone(),
            playbook,
            release: Some(release),
            target: incident.target.clone(),
            kind: incident.kind.clone(),
            severity: incident.severity,
            state,
            reason,
            said: None,
            limit: None,
            check: None,
            transcript: Transcript::default(),
            notes: Vec::new(),
            asked: None,
            plan: None,
            undone: Vec::new(),
            recovered: Vec::new(),
            millis: 0,
        }
    }

    /// The JSON shape of the documentation.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let shape = Shape {
            run: &self.run,
            playbook: &self.playbook,
            release: self.release,
            target: &self.target,
            state: self.state,
            reason: &self.reason,
            said: self.said.as_ref().map(|report| report.summary.as_str()),
            limit: self.limit,
            check: self.check.as_ref(),
            calls: &self.transcript.calls,
            notes: &self.notes,
            plan: self.plan,
            waits: self.asked.as_ref().map(|asked| Waits {
                gates: asked.wants(),
                until: asked.until.to_string(),
                component: asked.component,
                policy: asked.policy,
                incident: &asked.incident,
                effects: asked.effects_json(),
                definitions: &asked.definitions,
            }),
            evidence: self.transcript.evidence.as_ref(),
            undone: &self.undone,
            recovered: &self.recovered,
            millis: self.millis,
        };
        serde_json::to_value(shape).unwrap_or_default()
    }
}
