//! Broken glass: who broke it, when, and until when.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::name::Name;

/// Glass that a person broke, as it stands on the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glass {
    /// Who broke it.
    pub person: Name,
    /// Why, in their words.
    pub reason: String,
    /// When that was recorded.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Glass {
    /// Whether it counts. What was broken up to the moment `ended` was ended by a person.
    #[must_use]
    pub fn holds(&self, ended: Option<Timestamp>, now: Timestamp) -> bool {
        now < self.until && ended.is_none_or(|ended| ended < self.at)
    }
}
