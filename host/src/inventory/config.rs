//! `[config.NAME]`: a file, and the baseline it is compared with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use super::resource::{AfterFailure, Healed};
use crate::model::{Name, ResourceName};

/// A configuration file with a baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file; an absolute path.
    pub path: PathBuf,
    /// The file with the right content; an absolute path.
    pub baseline: PathBuf,
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
pub(super) struct RawConfig {
    path: Spanned<PathBuf>,
    baseline: Spanned<PathBuf>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    protected: bool,
    of: Option<Spanned<String>>,
    healed: Option<Spanned<super::shape::RawHealed>>,
    unhealed: Option<Spanned<String>>,
}

impl File<'_> {
    pub(super) fn config(&self, raw: RawConfig) -> Result<Config, InventoryError> {
        Ok(Config {
            path: raw.path.into_inner(),
            baseline: raw.baseline.into_inner(),
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
            healed: self.healed_or_default(raw.healed)?,
            // The baseline itself may be what is wrong.
            unhealed: self.after_failure(raw.unhealed.as_ref(), AfterFailure::Undo)?,
        })
    }
}
