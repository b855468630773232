//! Heeding people: what they ordered is looked at before every call, and put on the trail by whoever first sees it.
//!
//! The one who orders may not be able to write the trail, because a run holds it; so the run that sees the order writes it
//! down. An order that has ended and stands on the trail is cleared away.

use std::sync::Arc;

use crate::audit::{AuditError, Body};
use crate::model::{Given, RunId, Timestamp};
use crate::orders::Standing;

use super::{Approvals, Parts};

impl Parts {
    /// What people ordered, as of now. What is new is recorded, and what has ended is cleared away.
    ///
    /// # Errors
    /// When the trail cannot take the record.
    pub(super) fn heed(&self, run: &RunId) -> Result<Arc<Standing>, AuditError> {
        let now = self.clock.now();
        let standing = self.orders.standing(now);
        if self.approvals == Approvals::Required {
            for given in standing.written() {
                self.write_down(Some(run), given, now)?;
            }
        }
        Ok(standing)
    }

    /// The same before a run: every order that is not on the trail yet is put there.
    ///
    /// # Errors
    /// When the trail cannot take the record.
    pub fn take_down(&self) -> Result<(), AuditError> {
        let now = self.clock.now();
        for given in self.orders.standing(now).written() {
            self.write_down(None, given, now)?;
        }
        Ok(())
    }

    /// Records an order unless it stands on the trail, and then clears it away if it has ended: the trail remembers only what
    /// holds, so one that stayed would be new to it again.
    fn write_down(&self, run: Option<&RunId>, given: &Given, now: Timestamp) -> Result<(), AuditError> {
        if !self.trail.state(|state| state.order(&given.what) == Some(given)) {
            // The projection speaks of what is durable, and the next call asks it again.
            self.trail.append_durable(run, Body::Order(given.clone()))?;
        }
        if !given.holds(now)
            && let Err(error) = self.orders.clear(given)
        {
            tracing::warn!("an order that has ended was not cleared away: {error}");
        }
        Ok(())
    }
}
