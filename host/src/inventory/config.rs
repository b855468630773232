//! `[config.NAME]`: a file, and the baseline it is compared with.
//!
//! Both are absolute paths without `.` and `..`: what is opened is what stands in the file, letter by letter. The baseline
//! is the operator's word on what is right, so whoever can write it decides what is restored; the hand refuses one that
//! others can write. What this room does not do: open either of them, or look a user up. Those may change while Guardian
//! runs.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use super::resource::{AfterFailure, Healed};
use crate::model::{Name, ResourceName};

/// A configuration file with a baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The file; an absolute path.
    pub path: PathBuf,
    /// The file with the right content; an absolute path.
    pub baseline: PathBuf,
    /// Who owns it, as `user` or `user:group`, names or numbers; none: whoever owns the baseline.
    pub owner: Option<String>,
    /// Its permission bits; none: those of the baseline.
    pub mode: Option<u32>,
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
    owner: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
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
        let path = self.plain_path("path", &raw.path)?;
        let baseline = self.plain_path("baseline", &raw.baseline)?;
        if path == baseline {
            let problem = "`path` and `baseline` are the same file; keep the right content somewhere else";
            return Err(self.error(&raw.baseline.span(), problem));
        }
        Ok(Config {
            path,
            baseline,
            owner: raw.owner.map(|owner| self.owner(owner)).transpose()?,
            mode: raw.mode.map(|mode| self.mode(&mode)).transpose()?,
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
            healed: self.healed_or_default(raw.healed)?,
            // The baseline itself may be what is wrong.
            unhealed: self.after_failure(raw.unhealed.as_ref(), AfterFailure::Undo)?,
        })
    }

    /// The path of a file, with nothing in it that leads somewhere else than it says.
    fn plain_path(&self, key: &str, path: &Spanned<PathBuf>) -> Result<PathBuf, InventoryError> {
        let given = path.get_ref();
        let text = given.to_string_lossy();
        let wrong = |problem: &str| {
            let shown = crate::model::escape_to(&text, 80);
            Err(self.error(&path.span(), format!("`{key}` is `{shown}`, which {problem}")))
        };
        let mut parts = given.components();
        if parts.next() != Some(Component::RootDir) {
            return wrong("is not an absolute path; write it from `/` on");
        }
        if parts.any(|part| !matches!(part, Component::Normal(_))) || text.contains("/./") {
            return wrong("has `.` or `..` in it; write where that leads");
        }
        if text.contains('\0') || text.ends_with('/') || text.ends_with("/.") || given == Path::new("/") {
            return wrong("is not the path of a file");
        }
        Ok(given.clone())
    }

    fn owner(&self, owner: Spanned<String>) -> Result<String, InventoryError> {
        let text = owner.get_ref();
        // A name of passwd(5) has no colon; whether it is known is looked up when it is needed.
        let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
        let mut parts = text.splitn(2, ':');
        if !parts.all(|part| plain(part) && !part.contains(':')) {
            let shown = crate::model::escape_to(text, 80);
            let problem = format!("`owner` is a user, or a user and a group like root:root, not `{shown}`");
            return Err(self.error(&owner.span(), problem));
        }
        Ok(owner.into_inner())
    }

    fn mode(&self, mode: &Spanned<String>) -> Result<u32, InventoryError> {
        let text = mode.get_ref();
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        // Set-user-id and its like are for programs, and a configuration is none.
        match u32::from_str_radix(text, 8) {
            Ok(bits) if digits && bits <= 0o777 => Ok(bits),
            _ => {
                let shown = crate::model::escape_to(text, 32);
                let problem = format!("`mode` is octal permission bits like \"0644\", not `{shown}`");
                Err(self.error(&mode.span(), problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::inventory::{Config, Configuration, InventoryError};

    fn config(keys: &str) -> Result<Config, InventoryError> {
        let text = format!("[config.site]\n{keys}");
        let read = Configuration::parse(std::path::Path::new("guardian.toml"), &text)?;
        Ok(read.inventory.configs.into_values().next().unwrap())
    }

    #[test]
    fn owner_and_mode_are_read() {
        let read = config("path = '/etc/a.conf'\nbaseline = '/srv/a.conf'\nowner = 'root:0'\nmode = '0640'").unwrap();
        assert_eq!((read.owner.as_deref(), read.mode), (Some("root:0"), Some(0o640)));
        let bare = config("path = '/etc/a.conf'\nbaseline = '/srv/a.conf'").unwrap();
        assert_eq!((bare.owner, bare.mode), (None, None));
    }

    #[test]
    fn each_mistake_is_named() {
        for (keys, line, words) in [
            ("path = 'a.conf'\nbaseline = '/b'", 2, "absolute"),
            ("path = '/etc/../a.conf'\nbaseline = '/b'", 2, "`..`"),
            ("path = '/etc/./a.conf'\nbaseline = '/b'", 2, "`..`"),
            ("path = '/etc/'\nbaseline = '/b'", 2, "path of a file"),
            ("path = '/'\nbaseline = '/b'", 2, "path of a file"),
            ("path = '/a'\nbaseline = 'b'", 3, "`baseline`"),
            ("path = '/a'\nbaseline = '/a'", 3, "same file"),
            ("path = '/a'", 1, "baseline"),
            ("path = '/a'\nbaseline = '/b'\nmode = '644x'", 4, "octal"),
            ("path = '/a'\nbaseline = '/b'\nmode = '4755'", 4, "octal"),
            ("path = '/a'\nbaseline = '/b'\nmode = '+644'", 4, "octal"),
            ("path = '/a'\nbaseline = '/b'\nowner = 'a:b:c'", 4, "root:root"),
            ("path = '/a'\nbaseline = '/b'\nowner = ':root'", 4, "root:root"),
            ("path = '/a'\nbaseline = '/b'\nonwer = 'root'", 4, "did you mean `owner`"),
        ] {
            match config(keys).unwrap_err() {
                InventoryError::Content { line: found, problem, .. } => {
                    assert!(problem.contains(words) && !problem.contains('\n'), "{keys}: {problem}");
                    assert_eq!(found, line, "{keys}: {problem}");
                }
                other => panic!("{other}"),
            }
        }
    }
}
