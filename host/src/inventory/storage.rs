//! `[storage.NAME]`: a folder, how much must be free there, and the steps that make room.
//!
//! The steps are the whole authority of the hand: it takes regular files of these folders that match and are old enough, and
//! nothing else. So each of them is strict: a folder lies below `path` and says so without `.` and `..`, a pattern is about a
//! file's own name, and an age must be given, because a file that is young is a file in use. The order is that of harm
//! (compress, holders, trash, purge), whatever the order in the file; only within one kind the file decides.
//!
//! What this room does not do: look at any of the folders. They may come, go and be mounted while Guardian runs.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use super::resource::{AfterFailure, Healed};
use crate::model::{Name, ResourceKind, ResourceName};

/// As many steps as an operator can oversee; each costs a walk through its folder.
const STEPS: usize = 32;
/// The largest share that can be asked for, in percent: above it the disk is simply too large.
const LARGEST_SHARE: u64 = 90;
/// The longest folder or pattern: a name may have 255 bytes on Linux, and a step is named in records.
const LONGEST: usize = 255;
/// Younger files are being written.
const YOUNGEST: Duration = Duration::from_secs(60);

/// A place where data lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The folder; an absolute path.
    pub path: PathBuf,
    /// How many bytes must be free.
    pub free: Share,
    /// How many inodes must be free.
    pub inodes: Share,
    /// Where files are moved to; an absolute path, on another file system.
    pub trash: Option<PathBuf>,
    /// What makes room, in order of harm.
    pub steps: Vec<Step>,
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

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Share {
    /// Percent of all there is.
    Percent(u64),
    /// So many.
    Exactly(u64),
}

/// One way to make room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Step {
    /// Old files are compressed where they are.
    Compress(Files),
    /// Services close files that were deleted, by a reload.
    Holders(Vec<Name>),
    /// Old files are moved to the trash.
    Trash(Files),
    /// Old files are removed for good.
    Purge(Files),
}

/// Which files a step takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Files {
    /// Where, below the storage's path; `.` is the path itself. Folders in it count as well.
    pub folder: PathBuf,
    /// What their names look like: `*` is any text, `?` any character.
    pub matching: String,
    /// How long ago they must have been changed last.
    pub older_than: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStorage {
    path: Spanned<PathBuf>,
    free: Option<Spanned<String>>,
    inodes: Option<Spanned<String>>,
    trash: Option<Spanned<PathBuf>>,
    #[serde(default)]
    steps: Vec<Spanned<RawStep>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    protected: bool,
    of: Option<Spanned<String>>,
    healed: Option<Spanned<super::shape::RawHealed>>,
    unhealed: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    compress: Option<Spanned<String>>,
    holders: Option<Vec<Spanned<String>>>,
    trash: Option<Spanned<String>>,
    purge: Option<Spanned<String>>,
    #[serde(rename = "match")]
    matching: Option<Spanned<String>>,
    older_than: Option<Spanned<String>>,
}

impl Step {
    /// How much harm it does: the order in which steps are taken.
    const fn harm(&self) -> u8 {
        match self {
            Self::Compress(_) => 0,
            Self::Holders(_) => 1,
            Self::Trash(_) => 2,
            Self::Purge(_) => 3,
        }
    }
}

impl Share {
    /// How many that is of `total`.
    #[must_use]
    pub const fn of(self, total: u64) -> u64 {
        match self {
            // In this order, so that the product stays in range; a byte per percent is nobody's loss.
            Self::Percent(percent) => (total / 100).saturating_mul(percent),
            Self::Exactly(count) => count,
        }
    }
}

impl File<'_> {
    pub(super) fn storage(&self, raw: RawStorage) -> Result<Storage, InventoryError> {
        let path = self.folder("path", &raw.path)?;
        let trash = raw.trash.as_ref().map(|trash| self.folder("trash", trash)).transpose()?;
        if let (Some(trash), Some(given)) = (&trash, &raw.trash)
            && (trash.starts_with(&path) || path.starts_with(trash))
        {
            let problem = "`trash` and `path` lie in each other; the trash is on another file system";
            return Err(self.error(&given.span(), problem));
        }
        if let Some(step) = raw.steps.get(STEPS) {
            return Err(self.error(&step.span(), format!("a storage has at most {STEPS} steps")));
        }
        let mut steps = Vec::new();
        for step in raw.steps {
            let at = step.span();
            let step = self.step(step)?;
            if matches!(step, Step::Trash(_)) && trash.is_none() {
                return Err(self.error(&at, "a `trash` step needs `trash = \"/FOLDER\"` on another file system"));
            }
            steps.push(step);
        }
        // Stable: within one kind the operator's order holds.
        steps.sort_by_key(Step::harm);
        Ok(Storage {
            path,
            // A tenth is what most monitoring warns at; file systems get slow, and logs rotate, well before the end.
            free: self.share("free", raw.free.as_ref(), Share::Percent(10), bytes)?,
            inodes: self.share("inodes", raw.inodes.as_ref(), Share::Percent(5), |text| text.parse().ok())?,
            trash,
            steps,
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
            healed: self.healed_or_default(raw.healed)?,
            // Putting files back onto a full disk makes the outage worse.
            unhealed: self.after_failure(raw.unhealed.as_ref(), AfterFailure::Leave)?,
        })
    }

    /// The path of a folder, with nothing in it that leads somewhere else than it says.
    fn folder(&self, key: &str, path: &Spanned<PathBuf>) -> Result<PathBuf, InventoryError> {
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
        if parts.any(|part| !matches!(part, Component::Normal(_))) || dotted(&text) {
            return wrong("has `.` or `..` in it; write where that leads");
        }
        if text.contains('\0') {
            return wrong("has a NUL byte in it");
        }
        Ok(given.components().collect())
    }

    fn share(
        &self,
        key: &str,
        text: Option<&Spanned<String>>,
        default: Share,
        exactly: impl Fn(&str) -> Option<u64>,
    ) -> Result<Share, InventoryError> {
        let Some(text) = text else { return Ok(default) };
        let given = text.get_ref().as_str();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        let share = match given.strip_suffix('%') {
            Some(percent) if digits(percent) => percent.parse().ok().map(Share::Percent),
            Some(_) => None,
            None if given.starts_with(|c: char| c.is_ascii_digit()) => exactly(given).map(Share::Exactly),
            None => None,
        };
        match share {
            Some(Share::Percent(percent)) if percent > LARGEST_SHARE => {
                Err(self.error(&text.span(), format!("`{key}` must be at most {LARGEST_SHARE}%, not {percent}%")))
            }
            Some(share) => Ok(share),
            None => {
                let shown = crate::model::escape_to(given, 32);
                let example = if key == "free" { "\"10%\", \"500MiB\" or \"2GiB\"" } else { "\"5%\" or \"10000\"" };
                Err(self
                    .error(&text.span(), format!("`{key}` is how much must be free, like {example}, not `{shown}`")))
            }
        }
    }

    fn step(&self, step: Spanned<RawStep>) -> Result<Step, InventoryError> {
        let at = step.span();
        let raw = step.into_inner();
        let kinds = [raw.compress.is_some(), raw.holders.is_some(), raw.trash.is_some(), raw.purge.is_some()];
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            return Err(self.error(&at, "a step has exactly one of `compress`, `holders`, `trash` and `purge`"));
        }
        if let Some(holders) = raw.holders {
            if raw.matching.is_some() || raw.older_than.is_some() {
                return Err(self.error(&at, "`holders` names services; `match` and `older_than` are for files"));
            }
            return self.holders(&holders, &at);
        }
        let make = if raw.compress.is_some() {
            Step::Compress
        } else if raw.trash.is_some() {
            Step::Trash
        } else {
            Step::Purge
        };
        let Some(folder) = raw.compress.or(raw.trash).or(raw.purge) else {
            return Err(self.error(&at, "a step of files needs a folder"));
        };
        let Some(matching) = raw.matching else {
            return Err(self.error(&at, "a step of files needs `match`, like \"*.log.*\""));
        };
        let Some(older_than) = raw.older_than else {
            return Err(self.error(&at, "a step of files needs `older_than`, like \"1d\": a young file is in use"));
        };
        let age = self.own_time(Some(&older_than), YOUNGEST)?;
        if age < YOUNGEST {
            return Err(self.error(&older_than.span(), "`older_than` must be at least 1m: a young file is in use"));
        }
        Ok(make(Files { folder: self.below(&folder)?, matching: self.pattern(&matching)?, older_than: age }))
    }

    fn holders(&self, names: &[Spanned<String>], at: &std::ops::Range<usize>) -> Result<Step, InventoryError> {
        if names.is_empty() {
            return Err(self.error(at, "`holders` names at least one service, like [\"service.web\"]"));
        }
        let mut services = Vec::new();
        for given in names {
            let resource: ResourceName = self.parsed(given)?;
            match (resource.kind(), resource.name().parse::<Name>()) {
                (ResourceKind::Service, Ok(name)) => services.push(name),
                _ => return Err(self.error(&given.span(), "`holders` names services, like \"service.web\"")),
            }
        }
        Ok(Step::Holders(services))
    }

    /// A folder below the storage's path.
    fn below(&self, folder: &Spanned<String>) -> Result<PathBuf, InventoryError> {
        let text = folder.get_ref().as_str();
        let shown = crate::model::escape_to(text, 80);
        let plain = Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
        if text == "." {
            return Ok(PathBuf::from("."));
        }
        if text.is_empty() || !plain || dotted(text) || text.contains('\0') || text.len() > LONGEST {
            let problem = format!(
                "the folder `{shown}` of a step is not one below `path`; write it without `/` at the front, `.` or `..`, \
                 or `.` for `path` itself"
            );
            return Err(self.error(&folder.span(), problem));
        }
        Ok(Path::new(text).components().collect())
    }

    fn pattern(&self, pattern: &Spanned<String>) -> Result<String, InventoryError> {
        let text = pattern.get_ref();
        // Brackets and backslashes mean one thing to `find` and another to the next shell, so they mean nothing here.
        let plain = |c: char| !c.is_control() && !"/[]\\".contains(c);
        if text.is_empty() || text.len() > LONGEST || !text.chars().all(plain) {
            let shown = crate::model::escape_to(text, 80);
            let problem =
                format!("`match` is about a file's own name, with `*` and `?`, like \"*.log.*\", not `{shown}`");
            return Err(self.error(&pattern.span(), problem));
        }
        Ok(text.clone())
    }
}

/// Whether `.` or `..` stands in it as a part; `Path::components` passes over the first.
fn dotted(text: &str) -> bool {
    text.split('/').any(|part| part == "." || part == "..")
}

/// `500MiB`: one number, one unit of 1,024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
