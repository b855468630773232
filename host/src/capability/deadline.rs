//! When a hand has to be done.
//!
//! Guest code is ended by its own deadline, but that deadline does not fire while the host works for the guest. So every
//! act of a hand carries its own, and every wait inside the act (a connection, a bus call, a process going down) is cut
//! to what is left of it. There is no way to ask for "no deadline".

use std::time::{Duration, Instant};

/// The longest any act may take: an hour. A larger duration is a mistake in a configuration, not a wish, and would
/// overflow the machine's clock in the worst case.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The moment by which an act is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now, and at most an hour.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time.min(LONGEST))
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits for `step`, or less if the deadline is nearer. Returns whether there is still time.
    pub(crate) fn pause(self, step: Duration) -> bool {
        let left = self.remaining();
        std::thread::sleep(step.min(left));
        !self.passed()
    }
}
