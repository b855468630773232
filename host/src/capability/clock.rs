//! The hand on the host's clock: the time, and waiting, which may not outlast the deadline of its call.

use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::error::HandError;
use crate::model::{Clock, Outcome, Reply};

/// The hand on time.
pub struct ClockHand {
    clock: Arc<dyn Clock>,
}

impl ClockHand {
    /// A hand that reads `clock`, and waits by it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Outcome {
        Outcome::Done { reply: Reply::Time { unix_ms: self.clock.now().millis() } }
    }

    /// Waits, and tells the time after it. A wait that would outlast its deadline is refused at once: waiting first and
    /// failing then would cost the run its time twice.
    pub(crate) fn sleep(&self, milliseconds: u64, deadline: Deadline) -> Outcome {
        if let Err(error) = bounded(milliseconds, deadline) {
            return error.into_outcome();
        }
        self.clock.sleep(Duration::from_millis(milliseconds));
        self.now()
    }
}

/// Whether a wait fits before its deadline.
pub(super) fn bounded(milliseconds: u64, deadline: Deadline) -> Result<(), HandError> {
    let left = deadline.remaining();
    if Duration::from_millis(milliseconds) > left {
        return Err(HandError::Invalid {
            what: format!(
                "a sleep of {milliseconds} ms does not end before its deadline in {} ms; sleep in shorter steps or raise \
                 `call_seconds` under [limits]",
                left.as_millis()
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    #[test]
    fn a_sleep_is_bounded_by_its_deadline() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let hand = ClockHand::new(Arc::<ManualClock>::clone(&clock));
        let deadline = Deadline::after(Duration::from_secs(10));
        assert_eq!(hand.sleep(500, deadline), Outcome::Done { reply: Reply::Time { unix_ms: 1_500 } });
        assert!(matches!(hand.sleep(u64::MAX, deadline), Outcome::Failed { .. }));
        assert_eq!(clock.now().millis(), 1_500, "the refused one did not wait");
    }
}
