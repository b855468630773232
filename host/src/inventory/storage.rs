//! `[storage.NAME]`: a folder, how much must be free there, and the steps that make room.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use super::resource::{AfterFailure, Healed};
use crate::model::{Name, ResourceName};

/// A place where data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The folder; an absolute path.
    pub path: PathBuf,
    /// Groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// Whether hard rules may shield it.
    pub protected: bool,
    /// What it belongs to: policies see both in one `Target`.
    pub of: Option<ResourceName>,
    /// When it counts as healed.
    pub healed: Healed,
    /// What becomes of effects on it when the target is not healed.
    pub unhealed: AfterFailure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStorage {
    path: Spanned<PathBuf>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    protected: bool,
    of: Option<Spanned<String>>,
    healed: Option<Spanned<super::shape::RawHealed>>,
    unhealed: Option<Spanned<String>>,
}

impl File<'_> {
    pub(super) fn storage(&self, raw: RawStorage) -> Result<Storage, InventoryError> {
        Ok(Storage {
            path: raw.path.into_inner(),
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
            healed: self.healed_or_default(raw.healed)?,
            // Putting files back onto a full disk makes the outage worse.
            unhealed: self.after_failure(raw.unhealed.as_ref(), AfterFailure::Leave)?,
        })
    }
}
