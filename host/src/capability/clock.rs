//! The hand on the host's clock.

use std::time::Duration;

use super::Deadline;
use crate::model::{Clock, ErrorCode, GuestError, Outcome, Reply};

/// The time.
pub(super) fn now(clock: &dyn Clock) -> Outcome {
    Outcome::Done { reply: Reply::Time { unix_ms: clock.now().millis() } }
}

/// Waits, if the deadline of the call allows it; a wait that would be cut short is refused at once instead, so that a
/// playbook that waits too long hears of it and can do something better.
pub(super) fn sleep(clock: &dyn Clock, milliseconds: u64, deadline: Deadline) -> Outcome {
    let wait = Duration::from_millis(milliseconds);
    if wait > deadline.remaining() {
        let message = format!("{milliseconds} ms are longer than what is left of this call");
        return Outcome::Failed { error: GuestError::new(ErrorCode::Timeout, message) };
    }
    clock.sleep(wait);
    now(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    #[test]
    fn waiting_moves_the_clock_and_too_long_is_refused() {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let deadline = Deadline::after(Duration::from_secs(1));
        assert_eq!(sleep(&clock, 500, deadline), Outcome::Done { reply: Reply::Time { unix_ms: 1_500 } });
        assert!(matches!(sleep(&clock, 5_000, deadline), Outcome::Failed { error } if error.code == ErrorCode::Timeout));
        assert_eq!(clock.now().millis(), 1_500);
    }
}
