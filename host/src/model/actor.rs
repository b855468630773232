//! Who acted: stands on every record.

use serde::{Deserialize, Serialize};

/// The person or service account behind a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user the process ran as.
    pub uid: u32,
    /// The user who logged in, whatever `su` or `sudo` made of it since; none for a process that no login began. The
    /// kernel sets it once per login (`/proc/self/loginuid`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub login_uid: Option<u32>,
}
