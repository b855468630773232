//! What a run did, call by call: for the screen, for the plan, and for the end of the run.
//!
//! It is not the authority, the trail is; it is what the gate tells whoever watches. Bounded by the call budget of a run.

use serde::Serialize;

use super::PlannedEffect;
use crate::capability::{Evidence, Hands};
use crate::model::{Action, EffectClass, ErrorCode, LimitHit};

/// How one call went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Passage {
    /// Policy said yes, and it was done.
    Done {
        /// The permits that decided.
        policies: Vec<String>,
        /// What came back, in a few words, escaped.
        seen: String,
    },
    /// Policy said yes, and it did not work.
    Failed {
        /// The permits that decided.
        policies: Vec<String>,
        /// The code that the guest got.
        code: ErrorCode,
        /// Why, escaped.
        message: String,
    },
    /// Policy said no.
    Denied {
        /// The rules that forbade it; none if no permit covers it.
        policies: Vec<String>,
        /// The code that the guest got.
        code: &'static str,
    },
    /// The trail could not take the call, so nothing was done.
    NotRecorded {
        /// Why, escaped.
        message: String,
    },
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its number in the run, from 1.
    pub step: u32,
    /// `service.restart`.
    pub action: &'static str,
    /// `service.web`, as the guest named it, escaped.
    pub resource: String,
    /// What it leaves behind.
    pub class: EffectClass,
    /// Arguments besides the resource, escaped, in a few words.
    pub arguments: String,
    /// Who would have to approve, in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// The record on the trail; none if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Where the undo material lies, if some was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// What a person would type to do the same, if it was refused or failed; found out once the run is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// How it went.
    #[serde(flatten)]
    pub passage: Passage,
    /// How long it took, gate and effect together, in microseconds.
    pub micros: u64,
}

/// Everything the gate saw of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// Set once the trail could not take a record: nothing acted after it.
    pub trail_lost: Option<String>,
    /// Set once an effect's outcome was not known.
    pub lost_track: Option<String>,
    /// Set once a gate asked for a person: approver roles and quorum.
    pub approval: Option<String>,
    /// Set once the daily trail budget of the playbook was spent.
    pub limit: Option<LimitHit>,
    /// The gates that asked for people, in a plan.
    pub gates: Vec<String>,
    /// Set once an effect was not in the plan that people approved.
    pub departed: bool,
    /// The effects that were tried, in order, as a plan has them.
    pub effects: Vec<PlannedEffect>,
    /// How the target looked before the first effect.
    pub evidence: Option<Evidence>,
    /// How many calls policy refused.
    pub denied: u64,
    /// Effects that were refused or failed, and where they stand in `calls`, until [`Transcript::by_hand`] has named what a
    /// person would type instead.
    pub refused: Vec<(usize, Action)>,
    /// Set once the glass that was broken for the run was over.
    pub glass_over: bool,
}

impl Transcript {
    /// Names what a person would type instead of each effect that was refused or failed. This may look at the disk, so it is
    /// for after the run, when no guest can tell by the time how far the look got.
    pub fn by_hand(&mut self, hands: &Hands) {
        for (at, action) in std::mem::take(&mut self.refused) {
            if let Some(call) = self.calls.get_mut(at) {
                call.by_hand = hands.by_hand(&action);
            }
        }
    }
}
