//! Incidents: what went wrong, and who says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::name::{Name, ResourceName};

/// Who opened an incident. Kind and severity count as facts only because these two may set them; what anybody else
/// says travels in `labels`, which are claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentSource {
    /// A person at the command line of this machine, who may read and write the home.
    Operator,
    /// A monitor of the operator's inventory.
    Monitor,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Names it on the trail.
    pub id: String,
    /// The operator's word for what happened.
    pub kind: Name,
    /// What it is about.
    pub target: ResourceName,
    /// 1 (a note) to 10 (everything is down).
    pub severity: u8,
    /// Who says so.
    pub source: IncidentSource,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Claims of whoever reported it. Never facts: no policy may grant anything on them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// What the operator bound to the roles and parameters of the manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub bindings: BTreeMap<String, String>,
}
