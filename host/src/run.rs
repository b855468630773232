//! One run: admit, execute, check, and the end: healed, not healed, refused, or a person is needed.
//!
//! A run takes a playbook from the store, verifies it again from the bytes it read, links what the policy grants and
//! nothing else, lets it call through the gate, and then asks the target's own check whether anything is healed; what
//! the playbook says of itself is kept and not believed. If it is not healed, things are left as they are and a person
//! is called: stopping what is slowly coming up would make an outage worse.
//!
//! The same line with simulated hands and a trail in memory is a plan. What this room does not do: decide when to run
//! (a person or a monitor does), or believe a playbook about what has to be put back.

mod accept;
mod admit;
mod answers;
mod approval;
mod asked;
mod check;
mod course;
mod definitions;
mod error;
mod execute;
mod glass;
mod people;
mod plan;
mod recover;
mod report;
mod request;
mod resume;
mod site;
mod undo;
mod unwind;

pub use accept::{Accepted, accept, refuse_unsigned, roll_back, verify};
pub use admit::{Admitted, admit};
pub use answers::Answers;
pub use approval::Approvals;
pub use asked::Asked;
pub use definitions::Defined;
pub use error::RunError;
pub use execute::{Watcher, execute};
pub use glass::LONGEST_GLASS;
pub use people::People;
pub use plan::plan;
pub use recover::Recovered;
pub use report::RunReport;
pub use request::Request;
pub use resume::{close_waiting, resume};
pub use site::{Kept, Site, actor, audit_options};
pub use undo::{UndoReport, undo};
pub use unwind::{UndoStep, Undone, Wanted};
