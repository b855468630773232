//! Guardian's own stops, remembered, so that they are not taken for a person's.
//!
//! The marker names one invocation of the unit (systemd gives each start a fresh id) and when the stop was asked for. It
//! explains a stop only of that invocation and only around that time: if the request never reached systemd and a person
//! stops the same invocation an hour later, the stop is the person's.

use serde::{Deserialize, Serialize};

use super::unit::UnitView;
use crate::capability::error::HandError;
use crate::durable::Folder;
use crate::model::Timestamp;

const FILE: &str = "stopped.json";
/// A marker is under 100 bytes.
const LARGEST: u64 = 4 * 1024;
/// How long after the request the unit may leave its active state: it does so at once unless other jobs are queued
/// before. In milliseconds.
const AFTER: u64 = 120_000;
/// The two clocks are one and the same, but systemd's reading of it may be rounded. In milliseconds.
const BEFORE: u64 = 1_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    invocation: String,
    asked: Timestamp,
}

impl Marker {
    pub(super) fn of(view: &UnitView, now: Timestamp) -> Self {
        Self { invocation: view.invocation.clone(), asked: now }
    }

    /// Whether this stop is the reason why the unit is inactive.
    pub(super) fn explains(&self, view: &UnitView) -> bool {
        let left = view.active_exit / 1_000;
        let asked = self.asked.millis();
        self.invocation == view.invocation
            && left >= asked.saturating_sub(BEFORE)
            && left <= asked.saturating_add(AFTER)
    }

    /// The last marker. One that cannot be understood explains nothing: then the stop counts as a person's.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, HandError> {
        match folder.read_bounded(FILE, LARGEST) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&self, folder: &Folder) -> Result<(), HandError> {
        Ok(folder.replace(FILE, &serde_json::to_vec(self).unwrap_or_default())?)
    }

    pub(super) fn forget(folder: &Folder) -> Result<(), HandError> {
        Ok(folder.remove(FILE)?)
    }
}
