//! One call as data: verb, resource, arguments.
//!
//! An action is what a guest asks for, before anybody has judged it. The resource is still the string the guest gave:
//! whether it is a name at all is the gate's to find out, so that even nonsense stands on the trail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{InvalidName, ResourceName};
use super::verb::{ConfigVerb, LogLevel, ServiceVerb, StorageVerb, Verb};

/// One call of one host function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "interface", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// A function of `service`.
    Service {
        /// Which one.
        verb: ServiceVerb,
        /// The service, as the guest named it.
        name: String,
    },
    /// A function of `storage`.
    Storage {
        /// Which one.
        verb: StorageVerb,
        /// The storage, as the guest named it.
        name: String,
    },
    /// A function of `config`.
    Config {
        /// Which one.
        verb: ConfigVerb,
        /// The configuration, as the guest named it.
        name: String,
    },
    /// `command.run`.
    Command {
        /// The command, as the guest named it.
        name: String,
    },
    /// `probe.run`.
    Probe {
        /// The probe, as the guest named it.
        name: String,
    },
    /// `log.write`.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line, as the guest wrote it.
        message: String,
    },
    /// `clock.now`.
    Now,
    /// `clock.sleep`.
    Sleep {
        /// How long.
        milliseconds: u64,
    },
}

impl Action {
    /// Which function was called.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Service { verb, .. } => Verb::Service(*verb),
            Self::Storage { verb, .. } => Verb::Storage(*verb),
            Self::Config { verb, .. } => Verb::Config(*verb),
            Self::Command { .. } => Verb::CommandRun,
            Self::Probe { .. } => Verb::ProbeRun,
            Self::Log { .. } => Verb::LogWrite,
            Self::Now => Verb::ClockNow,
            Self::Sleep { .. } => Verb::ClockSleep,
        }
    }

    /// The name of the resource, as the guest gave it; none if it acts on the run itself.
    #[must_use]
    pub const fn named(&self) -> Option<&String> {
        match self {
            Self::Service { name, .. }
            | Self::Storage { name, .. }
            | Self::Config { name, .. }
            | Self::Command { name }
            | Self::Probe { name } => Some(name),
            Self::Log { .. } | Self::Now | Self::Sleep { .. } => None,
        }
    }

    /// What it acts on.
    ///
    /// # Errors
    /// When the guest's string is no resource name.
    pub fn resource(&self) -> Result<ResourceName, InvalidName> {
        match self.named() {
            Some(name) => ResourceName::new(self.verb().resource_kind(), name),
            None => Ok(ResourceName::this_run()),
        }
    }

    /// The resource as the guest wrote it, for records and messages: not escaped, not checked.
    #[must_use]
    pub fn resource_as_given(&self) -> String {
        match self.named() {
            Some(name) => format!("{}.{name}", self.verb().resource_kind().word()),
            None => ResourceName::this_run().to_string(),
        }
    }

    /// Everything else that was passed, by name.
    #[must_use]
    pub fn arguments(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::Service { .. }
            | Self::Storage { .. }
            | Self::Config { .. }
            | Self::Command { .. }
            | Self::Probe { .. }
            | Self::Now => BTreeMap::new(),
            Self::Log { level, message } => {
                let level = match level {
                    LogLevel::Debug => "debug",
                    LogLevel::Info => "info",
                    LogLevel::Warn => "warn",
                    LogLevel::Error => "error",
                };
                BTreeMap::from([("level", level.to_owned()), ("message", message.clone())])
            }
            Self::Sleep { milliseconds } => BTreeMap::from([("milliseconds", milliseconds.to_string())]),
        }
    }

    /// How many bytes the guest passed in strings.
    #[must_use]
    pub fn argument_bytes(&self) -> usize {
        match self {
            Self::Log { message, .. } => message.len(),
            named => named.named().map_or(0, String::len),
        }
    }
}
