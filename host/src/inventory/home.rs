//! Where everything lies: the operator's folder apart from the daemon's.
//!
//! `etc` (configuration, policy, trust) is the operator's and only read; `var` (keys, store, cache, trail, state) is
//! Guardian's own. Keeping them apart is what lets a daemon run without the right to widen its own policy.

use std::path::{Path, PathBuf};

use crate::durable::Folder;
use crate::model::escape;

use super::InventoryError;

/// The two folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    etc: PathBuf,
    var: PathBuf,
    root: Option<PathBuf>,
}

/// The path without links in the part of it that exists: folders are made and opened step by step, and no step follows a
/// link.
fn resolved(root: &Path) -> PathBuf {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut missing = Vec::new();
    let mut at = absolute.as_path();
    loop {
        if let Ok(real) = at.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        let (Some(name), Some(parent)) = (at.file_name(), at.parent()) else { return absolute };
        missing.push(name.to_owned());
        at = parent;
    }
}

impl Home {
    /// Both under one directory, as `--home DIR` says.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        let root = &resolved(root);
        Self { etc: root.join("etc"), var: root.join("var"), root: Some(root.to_owned()) }
    }

    /// Where a machine-wide installation keeps them.
    #[must_use]
    pub fn of_the_machine() -> Self {
        Self { etc: "/etc/guardian".into(), var: "/var/lib/guardian".into(), root: None }
    }

    /// The operator's folder: `guardian.toml`, `guardian.d/`, `policy/`, `trust/`.
    #[must_use]
    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// Guardian's own folder: `keys/`, `store/`, `cache/`, `audit/`, `state/`.
    #[must_use]
    pub fn var(&self) -> &Path {
        &self.var
    }

    /// The flag that leads back here, for the commands that messages suggest: ` --home DIR`, or nothing.
    #[must_use]
    pub fn flag(&self) -> String {
        self.root.as_ref().map_or_else(String::new, |root| format!(" --home {}", escape(&root.display().to_string())))
    }

    /// Opens the operator's folder.
    ///
    /// # Errors
    /// When there is no home there.
    pub fn open_etc(&self) -> Result<Folder, InventoryError> {
        self.open(&self.etc)
    }

    /// Opens Guardian's own folder.
    ///
    /// # Errors
    /// When there is no home there.
    pub fn open_var(&self) -> Result<Folder, InventoryError> {
        self.open(&self.var)
    }

    fn open(&self, path: &Path) -> Result<Folder, InventoryError> {
        let folder = Folder::open(path).map_err(|error| {
            if !error.is_not_found() {
                return InventoryError::from(error);
            }
            let flag = self.flag();
            // A home that had its trail is not made anew by whoever happens to look: a person says what became of it.
            if path == self.var && Folder::open(&self.etc).is_ok_and(|etc| etc.dir().exists("guardian.toml")) {
                return InventoryError::NoVar { var: self.var.clone(), etc: self.etc.clone(), flag };
            }
            let or = if self.root.is_some() { "" } else { ", or name the one you mean with --home DIR" };
            InventoryError::NoHome { path: self.root.clone().unwrap_or_else(|| path.to_owned()), flag, or }
        })?;
        // Whoever can write the folder, or the one around both, can swap in another one with all its good modes inside.
        folder.trusted()?;
        if let Some(root) = &self.root {
            Folder::open(root)?.trusted()?;
        }
        Ok(folder)
    }
}
