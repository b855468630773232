//! `[command.NAME]`: a program with its arguments, as the operator wrote it down.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use crate::model::{Name, ResourceName};

/// A command of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<String>,
    /// Groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// Whether hard rules may shield it.
    pub protected: bool,
    /// What it belongs to: policies see both in one `Target`.
    pub of: Option<ResourceName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommand {
    run: Spanned<Vec<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    protected: bool,
    of: Option<Spanned<String>>,
}

impl File<'_> {
    pub(super) fn command_resource(&self, raw: RawCommand) -> Result<Command, InventoryError> {
        Ok(Command {
            argv: raw.run.into_inner(),
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
        })
    }
}
