//! The hand on the run's own log.
//!
//! A line goes nowhere but into the record of the call itself, which is on the trail already; so there is nothing to write
//! here, and no file that a guest could fill.

use crate::model::{Outcome, Reply};

/// A line of the log: its record is the line.
pub(super) const fn write() -> Outcome {
    Outcome::Done { reply: Reply::Done }
}
