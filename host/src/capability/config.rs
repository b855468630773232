//! The hand on configuration files: does a file match its baseline, and make it match.
//!
//! What it guards: a playbook names a configuration of the inventory and nothing else; paths stay on this side, and what
//! stands in a file never passes here, not even in an error. What it stops: being led out of the opened folder by `..`, a
//! link, a rename or a mount ([`place`]); losing an edit that somebody makes at the same moment, or has made since
//! ([`exchange`]); installing a baseline that somebody else than the operator can write.
//!
//! [`ConfigHand::prepare`] keeps what lies there, whole, and refuses what could not be put back. [`ConfigHand::perform`]
//! acts only if that still lies there. [`ConfigHand::put_back`] undoes exactly the restore it belongs to: if the file is no
//! longer what was installed, somebody has worked on it, and it stays as it is. After a crash the file itself says what
//! happened: it is what was kept, or what was to be installed.
//!
//! What it does not do: reload the service that reads the file, or understand any configuration.

mod exchange;
mod kept;
mod owner;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::kept::{Installed, Kept, KeptFile, Seen, Stamp};
use self::place::{LARGEST, Place};
use super::deadline::Deadline;
use super::error::HandError;
use super::folder::shown;
use super::trusted::{self, quoted};
use super::undo::Reconciled;
use crate::inventory::{Config, Inventory};
use crate::model::{ConfigState, ConfigStatus, ConfigVerb, Digest, GuestError, Name, Outcome, Reading, Reply, Verdict};

/// What puts an act on config back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigUndo {
    /// What lay there before.
    was: Kept,
    /// What lies there if the restore happened.
    installed: Installed,
}

/// An act on config that may be done.
#[derive(Debug)]
#[must_use]
pub(super) struct PreparedConfig {
    verb: ConfigVerb,
    name: Name,
    /// None: it matches, and there is nothing to do.
    undo: Option<ConfigUndo>,
    /// The folder it was seen in; none in a plan that assumes it.
    which: Option<(u64, u64)>,
}

impl PreparedConfig {
    pub(super) const fn undo(&self) -> Option<&ConfigUndo> {
        self.undo.as_ref()
    }

    pub(super) const fn verb(&self) -> ConfigVerb {
        self.verb
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    /// A restore of what a plan assumes to match already.
    pub(super) fn assumed(name: &Name) -> Self {
        Self { verb: ConfigVerb::Restore, name: name.clone(), undo: None, which: None }
    }
}

/// The hand.
#[derive(Debug)]
pub struct ConfigHand {
    configs: BTreeMap<Name, Config>,
    /// One at a time: two acts on one file would find each other's new file waiting. An act takes milliseconds.
    acting: Mutex<()>,
}

impl ConfigHand {
    /// A hand on the configurations of `inventory`. Touches none of them.
    ///
    /// # Ambient Authority
    /// Later calls open the folders of the inventory's paths, each anew: a folder may be replaced while Guardian runs.
    #[must_use]
    pub fn new(inventory: &Inventory) -> Self {
        Self { configs: inventory.configs.clone(), acting: Mutex::new(()) }
    }

    /// Looks at everything a restore would need, and says in a line what it saw.
    ///
    /// # Errors
    /// The first thing that is wrong, with what mends it.
    pub fn touch(&self, name: &Name) -> Result<String, HandError> {
        let config = self.config(name)?;
        let baseline = baseline(config)?;
        let place = Place::open(&config.path)?;
        let status = judge(&place.look()?, &baseline);
        place.folder.writable(config.path.parent().unwrap_or(&config.path))?;
        let Stamp { uid, gid, mode } = baseline.stamp;
        let bytes = baseline.content.0.len();
        Ok(format!(
            "`{}` {}; baseline: {bytes} bytes, owner {uid}:{gid}, mode {mode:04o}",
            place.shown(),
            words(&status)
        ))
    }

    /// What a restore would install, as bytes that are the same only if content, owner and mode are. May be guessed from its
    /// content: for a keyed digest, and for nothing else.
    ///
    /// # Errors
    /// When the baseline cannot be used.
    pub(super) fn installs(&self, name: &Name) -> Result<Vec<u8>, HandError> {
        let Installed { digest, stamp } = installed(&baseline(self.config(name)?)?);
        Ok(format!("{digest} {}:{} {:o}", stamp.uid, stamp.gid, stamp.mode).into_bytes())
    }

    pub(super) fn observe(&self, name: &Name, deadline: Deadline) -> Outcome {
        match self.status(name, deadline) {
            Ok(status) => Outcome::Done { reply: Reply::Config(status) },
            Err(error) => error.into_outcome(),
        }
    }

    /// Gets a restore ready: keeps what lies there. Changes nothing.
    ///
    /// # Errors
    /// When the configuration is not known, or what lies there could not be put back.
    pub(super) fn prepare(
        &self,
        verb: ConfigVerb,
        name: &Name,
        deadline: Deadline,
    ) -> Result<PreparedConfig, GuestError> {
        self.ready(verb, name, deadline).map_err(HandError::into_guest_error)
    }

    fn ready(&self, verb: ConfigVerb, name: &Name, deadline: Deadline) -> Result<PreparedConfig, HandError> {
        let config = self.config(name)?;
        in_time(name, deadline)?;
        let baseline = baseline(config)?;
        let place = Place::open(&config.path)?;
        let kept = match place.look()? {
            Seen::Plain(kept) => kept,
            Seen::Large(_) => {
                let what = format!("`{}` is larger than {LARGEST} bytes and could not be put back", place.shown());
                return Err(HandError::Failed { what });
            }
            Seen::Other(what) => {
                let what = format!("{what} lies at `{}`, which could not be put back; move it away", place.shown());
                return Err(HandError::Failed { what });
            }
        };
        let installed = installed(&baseline);
        let undo = (!installed.is(&kept)).then_some(ConfigUndo { was: kept, installed });
        Ok(PreparedConfig { verb, name: name.clone(), undo, which: Some(place.folder.which) })
    }

    /// Acts, if what was kept still lies there.
    pub(super) fn perform(&self, prepared: PreparedConfig, deadline: Deadline) -> Outcome {
        match self.restore(&prepared, deadline) {
            Ok(status) => Outcome::Done { reply: Reply::Config(status) },
            Err(error) => error.into_outcome(),
        }
    }

    fn restore(&self, prepared: &PreparedConfig, deadline: Deadline) -> Result<ConfigStatus, HandError> {
        let config = self.config(&prepared.name)?;
        in_time(&prepared.name, deadline)?;
        let _alone = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        let baseline = baseline(config)?;
        let place = Place::open(&config.path)?;
        let changed = || HandError::Busy {
            what: format!("`{}` was changed by somebody else meanwhile; nothing was done", place.shown()),
        };
        if prepared.which != Some(place.folder.which) {
            return Err(changed());
        }
        let Some(undo) = &prepared.undo else {
            let status = judge(&place.look()?, &baseline);
            return if status.state == ConfigState::Matches { Ok(status) } else { Err(changed()) };
        };
        if installed(&baseline) != undo.installed {
            let what = format!("the baseline of config `{}` was changed meanwhile; nothing was done", prepared.name);
            return Err(HandError::Busy { what });
        }
        if !matches!(place.look()?, Seen::Plain(now) if now == undo.was) {
            return Err(changed());
        }
        let known = baseline.content.0.clone();
        place.replace(&undo.was, &Kept::File(baseline), &[&known, undo.was.bytes()])?;
        self.seen_after(&prepared.name, place.folder.which)
    }

    /// How it stands after a restore, by its path: who follows it must find what was written.
    fn seen_after(&self, name: &Name, which: (u64, u64)) -> Result<ConfigStatus, HandError> {
        let unsure = |why: String| HandError::Unsure { what: format!("config `{name}` was written, but {why}") };
        let config = self.config(name)?;
        let place = Place::open(&config.path).map_err(|error| unsure(error.to_string()))?;
        if place.folder.which != which {
            return Err(unsure("somebody has replaced its folder meanwhile".to_owned()));
        }
        let seen = place.look().map_err(|error| unsure(error.to_string()))?;
        let baseline = baseline(config).map_err(|error| unsure(error.to_string()))?;
        Ok(judge(&seen, &baseline))
    }

    /// What the act would come to, for a plan.
    pub(super) fn imagine(&self, _prepared: &PreparedConfig) -> Outcome {
        let status = ConfigStatus { state: ConfigState::Matches, differs: Vec::new(), assumed: true };
        Outcome::Done { reply: Reply::Config(status) }
    }

    /// Says whether a restore happened that nobody saw end. The file itself tells.
    pub(super) fn reconcile(
        &self,
        verb: ConfigVerb,
        name: &Name,
        undo: Option<&ConfigUndo>,
        deadline: Deadline,
    ) -> Reconciled {
        if verb != ConfigVerb::Restore {
            return Reconciled::Unknown;
        }
        let Some(undo) = undo else {
            // Nothing was kept because there was nothing to do.
            return match self.status(name, deadline) {
                Ok(status) if status.state == ConfigState::Matches => Reconciled::Done,
                _ => Reconciled::Unknown,
            };
        };
        let seen = self.config(name).and_then(|config| Place::open(&config.path)).and_then(|place| place.look());
        match seen {
            Ok(Seen::Plain(now)) if undo.installed.is(&now) => Reconciled::Done,
            Ok(Seen::Plain(now)) if now.is_alike(&undo.was) => Reconciled::NotDone,
            _ => Reconciled::Unknown,
        }
    }

    /// Puts back what was kept, if what was installed is what lies there. Doing it twice is doing it once.
    pub(super) fn put_back(&self, name: &Name, undo: &ConfigUndo, deadline: Deadline) -> Outcome {
        match self.undo(name, undo, deadline) {
            Ok(reply) => Outcome::Done { reply },
            Err(error) => error.into_outcome(),
        }
    }

    fn undo(&self, name: &Name, undo: &ConfigUndo, deadline: Deadline) -> Result<Reply, HandError> {
        let config = self.config(name)?;
        in_time(name, deadline)?;
        let _alone = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place::open(&config.path)?;
        // Only to know what an act that was killed left beside the file; it may be another one by now, or gone.
        let known = baseline(config).map(|baseline| baseline.content.0).unwrap_or_default();
        let known = [known.as_slice(), undo.was.bytes()];
        let since = || HandError::Failed {
            what: format!("`{}` was changed since it was restored; it stays as it is", place.shown()),
        };
        match place.look()? {
            Seen::Plain(now) if now.is_alike(&undo.was) => place.sweep(&known)?,
            Seen::Plain(now) if undo.installed.is(&now) => {
                place.replace(&now, &undo.was, &known).map_err(|error| match error {
                    HandError::Busy { .. } => since(),
                    error => error,
                })?;
            }
            _ => return Err(since()),
        }
        Ok(self.status(name, deadline).map_or(Reply::Done, Reply::Config))
    }

    pub(super) fn check(&self, name: &Name, deadline: Deadline) -> Reading {
        let begun = Instant::now();
        let (verdict, seen) = match self.status(name, deadline) {
            Ok(status) if status.state == ConfigState::Matches => (Verdict::Healthy, words(&status)),
            Ok(status) => (Verdict::Failed, words(&status)),
            Err(error) => (Verdict::Unknown, error.to_string()),
        };
        let latency_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Reading { verdict, latency_us, seen, assumed: false }
    }

    /// What a person would type to do the same.
    pub(super) fn by_hand(&self, verb: ConfigVerb, name: &Name) -> Option<String> {
        let config = self.configs.get(name)?;
        let (from, to) = (config.baseline.to_str()?, config.path.to_str()?);
        let from = quoted(from);
        let to = quoted(to);
        if verb == ConfigVerb::Check {
            return Some(format!("diff {from} {to}"));
        }
        // A baseline that cannot be read says neither owner nor mode, and then there is nothing to type.
        let (owner, group) = config.owner.as_deref().map_or((None, None), |owner| {
            owner.split_once(':').map_or((Some(owner), None), |(owner, group)| (Some(owner), Some(group)))
        });
        let stamp = baseline(config).ok()?.stamp;
        let owner = owner.map_or_else(|| stamp.uid.to_string(), str::to_owned);
        let group = group.map_or_else(|| stamp.gid.to_string(), str::to_owned);
        Some(format!("install -o {} -g {} -m {:04o} {from} {to}", quoted(&owner), quoted(&group), stamp.mode))
    }

    fn status(&self, name: &Name, deadline: Deadline) -> Result<ConfigStatus, HandError> {
        let config = self.config(name)?;
        in_time(name, deadline)?;
        let baseline = baseline(config)?;
        Ok(judge(&Place::open(&config.path)?.look()?, &baseline))
    }

    fn config(&self, name: &Name) -> Result<&Config, HandError> {
        self.configs.get(name).ok_or_else(|| HandError::NotFound {
            what: format!("config `{name}`"),
            remedy: format!("name it in guardian.toml as [config.{name}]"),
        })
    }
}

fn in_time(name: &Name, deadline: Deadline) -> Result<(), HandError> {
    if deadline.passed() { Err(HandError::Timeout { what: format!("config `{name}`") }) } else { Ok(()) }
}

/// The file as it should be: content of the baseline, owner and mode of the inventory or else of the baseline.
fn baseline(config: &Config) -> Result<KeptFile, HandError> {
    trusted::file(&config.baseline, None)?;
    let shown = shown(&config.baseline);
    let unusable = |what: String, remedy: &str| HandError::Unavailable { what, remedy: remedy.to_owned() };
    match Place::open(&config.baseline)?.look()? {
        Seen::Plain(Kept::File(file)) => {
            let (uid, gid) = config.owner.as_deref().map(owner::owner).transpose()?.unwrap_or((file.stamp.uid, None));
            let mode = config.mode.unwrap_or(file.stamp.mode & 0o777);
            let stamp = Stamp { uid, gid: gid.unwrap_or(file.stamp.gid), mode };
            // Written when it is installed, and without what the operator's own copy is labelled with.
            Ok(KeptFile { content: file.content, stamp, changed: None, attributes: BTreeMap::new() })
        }
        Seen::Large(_) => {
            Err(unusable(format!("the baseline `{shown}` is larger than {LARGEST} bytes"), "correct `baseline`"))
        }
        _ => Err(unusable(format!("the baseline `{shown}` is no regular file"), "put the file itself there")),
    }
}

fn installed(baseline: &KeptFile) -> Installed {
    Installed { digest: Digest::of(&baseline.content.0), stamp: baseline.stamp }
}

fn judge(seen: &Seen, baseline: &KeptFile) -> ConfigStatus {
    let of = |state, differs: BTreeSet<&str>| {
        let differs = differs.into_iter().map(str::to_owned).collect();
        ConfigStatus { state, differs, assumed: false }
    };
    let (stamp, content) = match seen {
        Seen::Plain(Kept::Absent) => return of(ConfigState::Missing, BTreeSet::new()),
        Seen::Plain(Kept::Link(_)) | Seen::Other(_) => return of(ConfigState::Replaced, BTreeSet::new()),
        Seen::Plain(Kept::File(file)) => (file.stamp, file.content == baseline.content),
        Seen::Large(stamp) => (*stamp, false),
    };
    let owner = (stamp.uid, stamp.gid) == (baseline.stamp.uid, baseline.stamp.gid);
    let mode = stamp.mode == baseline.stamp.mode;
    let differs: BTreeSet<&str> = [(content, "content"), (mode, "mode"), (owner, "owner")]
        .into_iter()
        .filter_map(|(same, word)| (!same).then_some(word))
        .collect();
    let state = if differs.is_empty() { ConfigState::Matches } else { ConfigState::Differs };
    of(state, differs)
}

fn words(status: &ConfigStatus) -> String {
    if status.differs.is_empty() {
        status.state.word().to_owned()
    } else {
        format!("{} in {}", status.state.word(), status.differs.join(", "))
    }
}
