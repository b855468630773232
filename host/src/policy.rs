//! The operator's word on every call: may this playbook do this, to this resource, now?
//!
//! Policies are Cedar texts in three folders. `hard/` forbids, whoever asks. `permits/` permits; what no permit covers is
//! denied. `gates/` forbids until named people have approved. A call is judged against hard rules and permits first, so that
//! nobody is ever asked to approve what would be denied anyway, and an approval never lifts a hard rule.
//!
//! What this room stops:
//! * a policy that says less than it seems to. The load is strict and all or nothing: unknown annotations, a wrong effect,
//!   a misspelt resource, a permit without a scope, an empty set or a warning of the validator refuse it ([`PolicyError`]);
//! * a policy that somebody else wrote: files and folders that others can write refuse the load, as sshd does;
//! * a policy that believes what it is told: `context.claimed` holds words of guests and reporters, and no permit or gate
//!   may read it;
//! * Cedar's own choice to skip a policy that fails to evaluate, forbids included: here any such failure denies;
//! * a forged permit: only [`PolicySet::decide`] makes a [`Permit`], it can be neither copied nor built, and the gate
//!   accepts nothing else.
//!
//! What it does not do: count (`used` is handed in by the gate, from the trail), collect approvals, or know the world
//! beyond the names of the inventory. It has no default that permits: without a permit the answer is no.

mod decide;
mod defaults;
mod explain;
mod facts;
mod finding;
mod load;
mod policy_text;
mod reads;
mod rules;
mod schema;
mod scope;
mod slice;
#[cfg(test)]
mod sliced_equals_full;
mod statement;
mod world;

pub use decide::{Decision, GateTerms, Permit, Question, Refusal};
pub use defaults::{DEFAULT_BASICS, DEFAULT_HARD};
pub use explain::{Condition, Explanation, NearMiss, PolicyNote, Ruling};
pub use facts::{Facts, Used};
pub use finding::{Finding, PolicyError};
pub use load::{PolicySet, Source};
pub use schema::schema_text;
pub use world::{ResourceFact, World};
