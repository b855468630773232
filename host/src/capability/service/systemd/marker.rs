//! Guardian's own stops, remembered, so that they are not taken for a person's.
//!
//! The marker names one invocation of the unit (systemd gives each start a fresh id) and when the stop was asked for. It
//! explains a stop only of that invocation and only around that time: if the request never reached systemd and a person
//! stops the same invocation an hour later, the stop is the person's.
//!
//! systemd forgets a unit that is inactive, did not fail and is wanted by nobody (not enabled): its timestamps and its
//! invocation are gone with it. So the last invocation that was seen running is remembered as well ([`Seen`]). A unit
//! that was seen running in this boot and is forgotten now did not crash, for systemd keeps what failed: it was stopped,
//! and unless the marker says otherwise, by a person.

use serde::{Deserialize, Serialize};

use super::unit::UnitView;
use crate::capability::error::HandError;
use crate::capability::keeper::identity::boot;
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

    /// Whether this stop was asked for the invocation that was seen last, of a unit that systemd has forgotten since.
    pub(super) fn ended(&self, seen: &Seen) -> bool {
        self.invocation == seen.invocation
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

const SEEN: &str = "seen.json";

/// The invocation that was last seen running.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    invocation: String,
    boot: String,
}

impl Seen {
    /// Remembers an invocation. Written once for each: looks at a running unit are many.
    pub(super) fn remember(folder: &Folder, view: &UnitView) -> Result<(), HandError> {
        let Some(boot) = boot() else { return Ok(()) };
        let seen = Self { invocation: view.invocation.clone(), boot };
        if Self::read(folder)?.as_ref() == Some(&seen) {
            return Ok(());
        }
        Ok(folder.replace(SEEN, &serde_json::to_vec(&seen).unwrap_or_default())?)
    }

    /// What was last seen running, in this boot.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, HandError> {
        match folder.read_bounded(SEEN, LARGEST) {
            Ok(bytes) => {
                let seen: Option<Self> = serde_json::from_slice(&bytes).ok();
                Ok(seen.filter(|seen| boot().as_ref() == Some(&seen.boot)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
