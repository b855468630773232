//! Evidence: how a target looked before anything was done to it, for whoever asks afterwards what had happened.
//!
//! A heal destroys what a post-mortem needs: the failed state, the last words of a service, what was full. So before the
//! first effect of a run the host looks once and keeps what it saw, bounded, outside the trail, because log lines can hold
//! anything. What cannot be seen is missing from it and stops nothing: evidence is worth less than the heal.

pub(super) mod sockets;

use serde::{Deserialize, Serialize};

use crate::model::{ConfigStatus, Name, Reading, ResourceName, ServiceStatus, StorageUsage};

/// How a target looked before the first effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is about.
    pub target: ResourceName,
    /// What its own check said.
    pub check: Reading,
    /// What its supervisor said, of a service.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<ServiceStatus>,
    /// The last lines that it wrote, oldest first. Written by the service: escape before showing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lines: Vec<String>,
    /// The sockets that it had open: `tcp 127.0.0.1:8080 listen`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sockets: Vec<String>,
    /// How full the storage was that belongs to the target.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub storage: Vec<(Name, StorageUsage)>,
    /// How the configurations stood that belong to the target.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub configs: Vec<(Name, ConfigStatus)>,
}
