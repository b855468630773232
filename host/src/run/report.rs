//! How a run ended: what the screen, the JSON and the exit code are made of.

use serde::Serialize;

use super::{Asked, Recovered, UndoStep};
use crate::capability::Evidence;
use crate::gate::Transcript;
use crate::model::{Digest, LimitHit, Name, PlaybookId, Reading, Report, ResourceName, RunId, RunState};

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

/// Whom a plan waits for.
#[derive(Serialize)]
struct Waits {
    gates: Vec<String>,
    until: String,
    effects: serde_json::Value,
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
    waits: Option<Waits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Evidence>,
    #[serde(skip_serializing_if = "<[UndoStep]>::is_empty")]
    undone: &'a [UndoStep],
    #[serde(skip_serializing_if = "<[Recovered]>::is_empty")]
    recovered: &'a [Recovered],
    millis: u64,
}

impl RunReport {
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
                effects: asked.effects_json(),
            }),
            evidence: self.transcript.evidence.as_ref(),
            undone: &self.undone,
            recovered: &self.recovered,
            millis: self.millis,
        };
        serde_json::to_value(shape).unwrap_or_default()
    }
}
