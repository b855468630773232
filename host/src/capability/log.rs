//! The hand on the run's own log. The record of the call is the line; there is nothing else to write.

use crate::model::{Outcome, Reply};

/// Writes a line: it stands on the trail already.
pub(super) const fn write() -> Outcome {
    Outcome::Done { reply: Reply::Done }
}
