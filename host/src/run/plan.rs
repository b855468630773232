//! A plan: the same signed bytes, the same gate, effects simulated.
//!
//! A plan is judged as live: there is no fact that tells a policy, or a guest, that this is one. The hands look at the
//! real world, do nothing, and answer with what would be; from then on reads of that resource and of its check answer
//! what was assumed, marked so. The trail is one in memory that begins where the real one stands, so that what is
//! already used up counts. A gate that asks for people is noted and taken as granted. Nothing is written; a writer beside it is not in the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::{MemoryLog, Reader, Trail};
use crate::capability::{Hands, SimulatedHands};
use crate::gate::Approvals;

use super::site::Kept;

use super::course::{Leave, course};
use super::execute::{Watcher, ready};
use super::{Request, RunError, RunReport, Site, actor};

/// Plans a run. `fails` are the numbers (from 1) of the effects that are assumed to fail.
///
/// # Errors
/// As for a run: refused, or a request that makes no sense.
pub fn plan(site: &Site, request: &Request, fails: BTreeSet<u32>, watcher: Watcher) -> Result<RunReport, RunError> {
    let state = Reader::open(site.home.var())?.state()?;
    let in_doubt = site.in_doubt(&state, state.open_intents(), &request.target);
    let trail = Arc::new(Trail::in_memory(MemoryLog::default(), state, actor(), Arc::clone(&site.clock)));
    let hands = Arc::new(Hands::simulated(SimulatedHands::new(site.hands()?, fails)));
    let parts = site.parts(trail, hands, Kept::of_a_plan(site.keyed_digest()), Approvals::Assumed);
    let mut report = course(site, &parts, &ready(site, &parts, request, false)?, Leave::default(), watcher);
    // A run beside this plan is under way, or one ended before its outcome was known: a plan cannot tell.
    report.notes.extend(in_doubt.map(|(record, intent)| {
        format!("{} {} in record {record} has no outcome; a run would be refused until it has one, or `guardian audit settle {record} --reason` says what became of it", intent.verb, intent.resource)
    }));
    Ok(report)
}
