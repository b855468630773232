//! The index of the store: which releases of a playbook lie there, and which one is current.
//!
//! One JSON file, replaced whole, read strictly: an unknown key or an impossible value refuses it rather than losing a
//! playbook in silence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, PlaybookId, Timestamp, escape_to};

/// The format of the file; another one is refused.
const FORMAT: u32 = 1;

/// One release that lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The digest of its component.
    pub digest: Digest,
    /// When it was added.
    pub added: Timestamp,
}

/// One playbook in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The release that runs.
    pub current: u64,
    /// Every release that lies there.
    pub releases: BTreeMap<u64, Release>,
}

impl Entry {
    /// The release that runs.
    #[must_use]
    pub fn current(&self) -> Option<&Release> {
        self.releases.get(&self.current)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    format: u32,
    pub(super) playbooks: BTreeMap<PlaybookId, Entry>,
}

impl Index {
    pub(super) const fn empty() -> Self {
        Self { format: FORMAT, playbooks: BTreeMap::new() }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let index: Self = serde_json::from_slice(bytes).map_err(|error| escape_to(&error.to_string(), 160))?;
        if index.format != FORMAT {
            return Err(format!("it has format {}, this is format {FORMAT}", index.format));
        }
        for (id, entry) in &index.playbooks {
            if entry.current().is_none() {
                return Err(format!("the current release {} of `{id}` is not among its releases", entry.current));
            }
        }
        Ok(index)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Whether any release of any playbook has this content.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.playbooks.values().flat_map(|entry| entry.releases.values()).any(|release| release.digest == *digest)
    }
}
