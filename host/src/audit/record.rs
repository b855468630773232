//! One record: what is written, hashed and shown.
//!
//! A record is JSON, hashed exactly as it is stored; there is no canonical form to argue about. The numbering is the
//! writer's, dense from 0. Everything that a guest, a manifest or a service wrote stands in it as data: escape before
//! showing. Secrets never enter; undo material is named by a keyed digest.
//!
//! The writer writes version 1. A reader of today must not choke on a trail of tomorrow: fields it does not know are
//! skipped, a type it does not know becomes [`Body::Other`], shown as it stands, and the checks of CRC and tree do not
//! care what the bytes mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effects::{Fate, Since};
use super::error::AuditError;
use crate::model::{
    Action, Actor, DenialCode, Digest, EffectClass, Given, Incident, LimitHit, Name, Outcome, PlaybookId, Reading,
    Report, ResourceName, RunId, RunState, Timestamp, UndoReference,
};

/// The largest record in bytes: entry bundles of tlog-tiles have a 16-bit length.
pub const LARGEST_RECORD: usize = 65_535;

/// The format version that is written.
pub const RECORD_VERSION: u32 = 1;

/// One entry of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Format version: 1.
    pub v: u32,
    /// Its number, dense from 0.
    pub seq: u64,
    /// When it was written, by the machine's clock.
    pub t: Timestamp,
    /// The process that wrote it: sixteen random hexadecimal digits per start.
    pub boot: String,
    /// The run it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    /// The call within the run, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<u32>,
    /// Who acted.
    pub actor: Actor,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// How trust changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustChange {
    /// A publisher's key was added.
    Added,
    /// It was removed.
    Removed,
    /// The operator declared the clock to be right again.
    ClockReset,
    /// These bytes never run again, whoever signed them.
    Revoked,
    /// No release of a playbook below this one runs again.
    Floor,
    /// The change of the record before was not made: the file could not be written.
    NotMade,
}

impl TrustChange {
    /// The word in the field `change`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::ClockReset => "clock-reset",
            Self::Revoked => "revoked",
            Self::Floor => "floor",
            Self::NotMade => "not-made",
        }
    }
}

/// How the store changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreChange {
    /// A release was accepted; the high-water mark rises.
    Added,
    /// It was removed; the high-water mark stays.
    Removed,
    /// An operator went back to an earlier accepted release; the mark stays where it was.
    RolledBack,
}

/// Which room refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusingRoom {
    /// Signature, publisher, release, validity.
    Trust,
    /// No permit at all, or a policy set that does not load.
    Policy,
    /// The component does not load.
    Load,
    /// The store.
    Registry,
}

/// Why a trail has a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuccessorKind {
    /// The old trail was damaged or lost.
    Recover,
    /// The machine was cloned: from here on this one has a trail of its own.
    Fork,
}

/// What a hand said about an effect that nobody saw end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It happened.
    Done,
    /// It did not happen, and will not any more.
    NotDone,
    /// The hand cannot tell.
    Unknown,
}

/// What happened. The tag is `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is documented in docs/audit-format.md, where third parties look")]
pub enum Body {
    /// A process opened the trail for writing.
    Boot { version: String, host: String },
    /// A crash was found: bytes cut off the tail (never durable), intents without an outcome.
    Recovery { truncated_bytes: u64, in_doubt: Vec<u64> },
    /// Whom the operator trusts changed.
    Trust {
        change: TrustChange,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        publisher: Option<Name>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
        digest: Digest,
    },
    /// A policy set was loaded that was not the one before.
    Policy { digest: Digest, policies: u64 },
    /// A playbook was added, removed or rolled back.
    Store {
        change: StoreChange,
        playbook: PlaybookId,
        release: u64,
        component: Digest,
        signers: Vec<String>,
        trust: Digest,
    },
    /// Something was refused before any guest code ran.
    Refused {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        playbook: Option<String>,
        room: RefusingRoom,
        reason: String,
        count: u64,
    },
    /// A run begins.
    RunStart {
        playbook: PlaybookId,
        release: u64,
        component: Digest,
        policy: Digest,
        trust: Digest,
        incident: Incident,
        engine: String,
    },
    /// An effect is about to be tried: durable before it is.
    Intent {
        action: Action,
        playbook: PlaybookId,
        class: EffectClass,
        policies: Vec<String>,
        key: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        undo: Option<UndoReference>,
        /// The intent whose effect this one puts back.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        undoes: Option<u64>,
    },
    /// Something is about to be looked at.
    Read { action: Action, playbook: PlaybookId, policies: Vec<String> },
    /// How the intent or read of record `of` ended.
    Outcome { of: u64, outcome: Outcome, micros: u64 },
    /// The hand was asked what became of the intent of record `of`, whose outcome was not known.
    Reconciled { of: u64, found: Found },
    /// What was kept about the target before the first effect of the run, outside the trail.
    Evidence { resource: ResourceName, reference: String, digest: Digest, bytes: u64 },
    /// Policy said no, `count` times up to `until`.
    Denied {
        action: String,
        resource: String,
        arguments: BTreeMap<String, String>,
        playbook: PlaybookId,
        code: DenialCode,
        policies: Vec<String>,
        count: u64,
        until: Timestamp,
    },
    /// The target's own check was asked, after the guest was done.
    Check { resource: ResourceName, reading: Reading, successes: u32, needed: u32 },
    /// A run ends.
    RunEnd {
        state: RunState,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        report: Option<Report>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        limit: Option<LimitHit>,
        millis: u64,
    },
    /// There is space again: the trail takes new runs and effects.
    Resumed { left_bytes: u64 },
    /// The first record of a trail that follows another one.
    Successor {
        kind: SuccessorKind,
        reason: String,
        /// The signed note of the old trail, as it stood; empty if there was none to read.
        old_checkpoint: String,
        /// Records of the old trail that could be read.
        readable: u64,
        /// Records that the old checkpoint speaks of and that could not be read.
        lost: u64,
        /// Intents of the old trail without an outcome, by their old numbers; at most 1,000.
        in_doubt: Vec<u64>,
        /// The latest time on the old trail.
        last_seen: Timestamp,
        /// Where the old files lie now.
        kept: String,
        /// Records may be lost: runs from before this may have left undo material that none speaks of, and it stays.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        blind_until: Option<Timestamp>,
    },
    /// After a successor: the releases that the old trail had accepted, so that nothing older comes in.
    HighWater {
        playbook: PlaybookId,
        release: u64,
        component: Digest,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        went_back: Option<Digest>,
        accepted: Vec<(u64, Digest)>,
        /// What it used in the day before: by `verb resource`, seconds since 1970 and how many effects up to then.
        #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
        used: BTreeMap<String, Vec<(u64, u32)>>,
    },
    /// After a successor: an intent of the old trail, there record `of`, whose outcome is not known. It stands for that
    /// intent from here on: it stops runs on its target until somebody says what became of it.
    InDoubt { of: u64, playbook: PlaybookId, verb: String, resource: String },
    /// After a successor: a run of the old trail, as it stood there. One without an end gets one at the next start.
    EarlierRun {
        playbook: PlaybookId,
        release: u64,
        incident: Name,
        target: ResourceName,
        state: RunState,
        started: Timestamp,
        millis: u64,
        ended: bool,
    },
    /// After a successor: an effect of such a run, there record `of`, that is neither committed nor put back. It stands for
    /// that intent from here on.
    EarlierEffect {
        of: u64,
        action: Action,
        playbook: PlaybookId,
        class: EffectClass,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        undo: Option<UndoReference>,
        /// When its intent was written.
        begun: Timestamp,
        fate: Fate,
        /// What has overtaken it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        since: Option<Since>,
    },
    /// A person acted on a resource by hand, through Guardian: `result` is `done` or why not.
    Person { action: String, resource: ResourceName, result: String },
    /// A person ordered something that holds for a while, or lifted it.
    Order(Given),
    /// A plan waits for people: what it would do, by its digest, and whom the gates ask.
    Waiting { plan: Digest, effects: u64, gates: Vec<String>, until: Timestamp },
    /// Enough people approved, and the run goes on: who, and how closely it must follow its plan.
    Approved { plan: Digest, people: Vec<Name>, exact: bool },
    /// A named person broke the glass: until then a run that asks for it is permitted whatever no hard rule forbids.
    BreakGlass { person: Name, reason: String, until: Timestamp },
    /// A person looked and said what became of the intent of record `of`, whose outcome was not known.
    Settled { of: u64, reason: String },
    /// A type that this version does not know, as it stands.
    #[serde(skip)]
    Other { kind: String, fields: serde_json::Map<String, serde_json::Value> },
}

impl Body {
    /// Every word that [`Body::kind`] of this version answers.
    pub const KINDS: [&'static str; 27] = [
        "boot",
        "recovery",
        "trust",
        "policy",
        "store",
        "refused",
        "run-start",
        "intent",
        "read",
        "outcome",
        "reconciled",
        "evidence",
        "denied",
        "check",
        "run-end",
        "resumed",
        "successor",
        "high-water",
        "in-doubt",
        "earlier-run",
        "earlier-effect",
        "person",
        "order",
        "waiting",
        "approved",
        "break-glass",
        "settled",
    ];

    /// The word in the field `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Boot { .. } => "boot",
            Self::Recovery { .. } => "recovery",
            Self::Trust { .. } => "trust",
            Self::Policy { .. } => "policy",
            Self::Store { .. } => "store",
            Self::Refused { .. } => "refused",
            Self::RunStart { .. } => "run-start",
            Self::Intent { .. } => "intent",
            Self::Read { .. } => "read",
            Self::Outcome { .. } => "outcome",
            Self::Reconciled { .. } => "reconciled",
            Self::Evidence { .. } => "evidence",
            Self::Denied { .. } => "denied",
            Self::Check { .. } => "check",
            Self::RunEnd { .. } => "run-end",
            Self::Resumed { .. } => "resumed",
            Self::Successor { .. } => "successor",
            Self::HighWater { .. } => "high-water",
            Self::InDoubt { .. } => "in-doubt",
            Self::EarlierRun { .. } => "earlier-run",
            Self::EarlierEffect { .. } => "earlier-effect",
            Self::Person { .. } => "person",
            Self::Order(_) => "order",
            Self::Waiting { .. } => "waiting",
            Self::Approved { .. } => "approved",
            Self::BreakGlass { .. } => "break-glass",
            Self::Settled { .. } => "settled",
            Self::Other { kind, .. } => kind,
        }
    }

    /// The playbook that the record itself names.
    #[must_use]
    pub const fn playbook(&self) -> Option<&PlaybookId> {
        match self {
            Self::Store { playbook, .. }
            | Self::RunStart { playbook, .. }
            | Self::Intent { playbook, .. }
            | Self::Read { playbook, .. }
            | Self::Denied { playbook, .. }
            | Self::HighWater { playbook, .. }
            | Self::InDoubt { playbook, .. }
            | Self::EarlierRun { playbook, .. }
            | Self::EarlierEffect { playbook, .. } => Some(playbook),
            _ => None,
        }
    }
}

/// Everything of a record that does not depend on its place: serialized before the place is known, outside any lock.
#[derive(Serialize)]
struct Rest<'a> {
    boot: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    actor: &'a Actor,
    #[serde(flatten)]
    body: &'a Body,
}

/// A record on its way to the disk: all but number and time.
#[derive(Debug)]
pub(super) struct Draft {
    record: Record,
    rest: Vec<u8>,
}

/// The longest that `{"v":1,"seq":18446744073709551615,"t":18446744073709551615,` gets.
const LONGEST_PREFIX: usize = 64;

impl Draft {
    /// Serializes all but number and time.
    ///
    /// # Errors
    /// When the record would be too large.
    pub(super) fn new(
        boot: &str,
        actor: &Actor,
        run: Option<RunId>,
        step: Option<u32>,
        body: Body,
    ) -> Result<Self, AuditError> {
        let rest = serde_json::to_vec(&Rest { boot, run: run.as_ref(), step, actor, body: &body })?;
        if rest.len() > LARGEST_RECORD - LONGEST_PREFIX {
            return Err(AuditError::TooLarge { bytes: rest.len() + LONGEST_PREFIX });
        }
        let t = Timestamp::from_millis(0);
        let record =
            Record { v: RECORD_VERSION, seq: 0, t, boot: boot.to_owned(), run, step, actor: actor.clone(), body };
        Ok(Self { record, rest })
    }

    /// How long it will be at most, in bytes.
    pub(super) const fn longest(&self) -> usize {
        self.rest.len() + LONGEST_PREFIX
    }

    /// The record at its place: the typed form and the bytes that are hashed and stored.
    pub(super) fn place(self, seq: u64, t: Timestamp) -> (Record, Vec<u8>) {
        let Self { mut record, rest } = self;
        record.seq = seq;
        record.t = t;
        let mut bytes = format!("{{\"v\":{RECORD_VERSION},\"seq\":{seq},\"t\":{},", t.millis()).into_bytes();
        bytes.extend_from_slice(rest.get(1..).unwrap_or_default());
        (record, bytes)
    }
}

impl Record {
    /// Reads a stored record; a type of a later version becomes [`Body::Other`].
    ///
    /// # Errors
    /// When the bytes are no record at all.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(bytes) {
            Ok(record) => Ok(record),
            Err(error) => Self::decode_unknown(bytes).ok_or(error),
        }
    }

    fn decode_unknown(bytes: &[u8]) -> Option<Self> {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
        let kind = fields.remove("type")?.as_str()?.to_owned();
        let v = u32::try_from(fields.remove("v")?.as_u64()?).ok()?;
        let seq = fields.remove("seq")?.as_u64()?;
        let t = Timestamp::from_millis(fields.remove("t")?.as_u64()?);
        let boot = fields.remove("boot")?.as_str()?.to_owned();
        let run = fields.remove("run").and_then(|run| serde_json::from_value(run).ok());
        let step = fields.remove("step").and_then(|step| serde_json::from_value(step).ok());
        let actor = serde_json::from_value(fields.remove("actor")?).ok()?;
        Some(Self { v, seq, t, boot, run, step, actor, body: Body::Other { kind, fields } })
    }
}
