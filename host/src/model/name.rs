//! Names: of publishers, playbooks, resources and runs.
//!
//! Names travel from manifests, guests and command lines into policies, paths and terminals, so their alphabet is the
//! smallest that people need: lower-case ASCII letters, digits, `_` and `-`, starting with a letter or digit, at most 64
//! bytes. No dots (no `..`), no slashes, no colons, no look-alikes from other scripts. A name that does not fit is
//! refused where it enters; nothing is normalized, so two different byte strings are never the same name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name in bytes: long enough for every unit name seen in practice, short enough for one line and one path.
const LONGEST: usize = 64;

/// A string that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a {what}: {rule}")]
pub struct InvalidName {
    shown: String,
    what: &'static str,
    rule: &'static str,
}

impl InvalidName {
    fn new(given: &str, what: &'static str, rule: &'static str) -> Self {
        let head: String = given.chars().take(LONGEST).collect();
        Self { shown: super::escape(&head), what, rule }
    }
}

const NAME_RULE: &str = "use 1 to 64 lower-case letters, digits, `_` or `-`, starting with a letter or a digit";

/// One plain name: of a publisher, a playbook, a service, a group, a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        let starts = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
        if starts && text.len() <= LONGEST && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new(text, "name", NAME_RULE))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A playbook as people and policies name it: `publisher/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaybookId {
    /// Who signs it.
    pub publisher: Name,
    /// Its name among the publisher's playbooks.
    pub name: Name,
}

impl FromStr for PlaybookId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const RULE: &str = "write publisher/name, each a plain name";
        let (publisher, name) = text.split_once('/').ok_or_else(|| InvalidName::new(text, "playbook", RULE))?;
        let plain = |part: &str| part.parse().map_err(|_| InvalidName::new(text, "playbook", RULE));
        Ok(Self { publisher: plain(publisher)?, name: plain(name)? })
    }
}

impl TryFrom<String> for PlaybookId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<PlaybookId> for String {
    fn from(id: PlaybookId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for PlaybookId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.publisher, self.name)
    }
}

/// The kinds of resource that an inventory can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A service: `[service.NAME]`.
    Service,
    /// A place where data lies: `[storage.NAME]`.
    Storage,
    /// A configuration file with a baseline: `[config.NAME]`.
    Config,
    /// A command of the operator's: `[command.NAME]`.
    Command,
    /// Something to look at: `[probe.NAME]`, or the check of a service, whose name is `service.NAME`.
    Probe,
    /// The run itself, as the resource of its own log and clock: always `run.self`.
    Run,
}

impl ResourceKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Service, Self::Storage, Self::Config, Self::Command, Self::Probe, Self::Run];

    /// The word in `service.web`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Storage => "storage",
            Self::Config => "config",
            Self::Command => "command",
            Self::Probe => "probe",
            Self::Run => "run",
        }
    }

    /// The entity type in policies.
    #[must_use]
    pub const fn entity(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Storage => "Storage",
            Self::Config => "Config",
            Self::Command => "Command",
            Self::Probe => "Probe",
            Self::Run => "Run",
        }
    }
}

/// One resource: `service.web`, `probe.login`, `probe.service.web` (the check of `service.web`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName {
    kind: ResourceKind,
    name: String,
}

const RESOURCE_RULE: &str = "write kind.name, as in service.web or probe.login";

impl ResourceName {
    /// A resource of `kind`; `name` is a plain name, or for a probe also `service.NAME`.
    ///
    /// # Errors
    /// When `name` is neither.
    pub fn new(kind: ResourceKind, name: &str) -> Result<Self, InvalidName> {
        let plain = match (kind, name.strip_prefix("service.")) {
            (ResourceKind::Probe, Some(service)) => service,
            _ => name,
        };
        plain.parse::<Name>().map_err(|_| InvalidName::new(name, "resource", NAME_RULE))?;
        Ok(Self { kind, name: name.to_owned() })
    }

    /// The service of that name.
    #[must_use]
    pub fn service(name: &Name) -> Self {
        Self { kind: ResourceKind::Service, name: name.as_str().to_owned() }
    }

    /// The run itself.
    #[must_use]
    pub fn this_run() -> Self {
        Self { kind: ResourceKind::Run, name: "self".to_owned() }
    }

    /// The check of a service, as the probe it is.
    #[must_use]
    pub fn check_of(&self) -> Option<Self> {
        match self.kind {
            ResourceKind::Service => Some(Self { kind: ResourceKind::Probe, name: format!("service.{}", self.name) }),
            ResourceKind::Storage
            | ResourceKind::Config
            | ResourceKind::Command
            | ResourceKind::Probe
            | ResourceKind::Run => None,
        }
    }

    /// What kind of thing it is.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Its name within the kind: what the verbs of that kind take.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `text` is this resource, as it is written: without making a resource of it.
    #[must_use]
    pub fn is_written(&self, text: &str) -> bool {
        text.split_once('.').is_some_and(|(word, name)| word == self.kind.word() && name == self.name)
    }
}

impl FromStr for ResourceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new(text, "resource", RESOURCE_RULE);
        let (word, name) = text.split_once('.').ok_or_else(invalid)?;
        let kind = ResourceKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(invalid)?;
        Self::new(kind, name)
    }
}

impl TryFrom<String> for ResourceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ResourceName> for String {
    fn from(resource: ResourceName) -> Self {
        resource.to_string()
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.kind.word(), self.name)
    }
}

/// One run: `r-` and sixteen lower-case hexadecimal digits, eleven of them the millisecond it began, so that runs sort
/// by time, and five at random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The run that begins at `now`; `salt` (its low 20 bits) keeps two runs of one millisecond apart.
    #[must_use]
    pub fn new(now: super::Timestamp, salt: u32) -> Self {
        Self(format!("r-{:011x}{:05x}", now.millis() & 0xfff_ffff_ffff, salt & 0xf_ffff))
    }

    /// The run as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it began, by the clock of then.
    #[must_use]
    pub fn begun(&self) -> super::Timestamp {
        // Eleven digits always are there: an id is made or parsed with sixteen.
        let millis = self.0.get(2..13).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        super::Timestamp::from_millis(millis.unwrap_or(0))
    }
}

impl FromStr for RunId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let hex = |digits: &str| digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match text.strip_prefix("r-") {
            Some(digits) if hex(digits) => Ok(Self(text.to_owned())),
            _ => Err(InvalidName::new(
                text,
                "run",
                "a run is `r-` and sixteen hexadecimal digits; see `guardian audit list`",
            )),
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_smuggle_are_refused() {
        for bad in [
            "",
            "-rf",
            "../x",
            "web; rm -rf",
            "Web",
            "wéb",
            "a.b",
            "a/b",
            "a::b",
            "a\"b",
            "a\0",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["web", "a", "0", "service_crashed", "acme-sre", &"a".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn resources_round_trip() {
        for good in ["service.web", "probe.login", "probe.service.web", "run.self"] {
            assert_eq!(good.parse::<ResourceName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["web", "service.", "service.service.web", "disk.root", "probe.service.", "service.a.b"] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn runs_sort_by_time() {
        let early = RunId::new(super::super::Timestamp::from_millis(1), u32::MAX);
        let late = RunId::new(super::super::Timestamp::from_millis(2), 0);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<RunId>(), Ok(early.clone()));
    }
}
