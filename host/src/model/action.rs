//! One call as data: verb, resource, arguments.
//!
//! An action is what a guest asks for, before anybody has judged it. The resource is still the string the guest gave:
//! whether it is a name at all is the gate's to find out, so that even nonsense stands on the trail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{InvalidName, ResourceName};
use super::verb::{LogLevel, ServiceVerb, Verb};

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
            Self::Probe { .. } => Verb::ProbeRun,
            Self::Log { .. } => Verb::LogWrite,
            Self::Now => Verb::ClockNow,
            Self::Sleep { .. } => Verb::ClockSleep,
        }
    }

    /// What it acts on.
    ///
    /// # Errors
    /// When the guest's string is no resource name.
    pub fn resource(&self) -> Result<ResourceName, InvalidName> {
        match self {
            Self::Service { name, .. } | Self::Probe { name } => ResourceName::new(self.verb().resource_kind(), name),
            Self::Log { .. } | Self::Now | Self::Sleep { .. } => Ok(ResourceName::this_run()),
        }
    }

    /// The resource as the guest wrote it, for records and messages: not escaped, not checked.
    #[must_use]
    pub fn resource_as_given(&self) -> String {
        match self {
            Self::Service { name, .. } | Self::Probe { name } => {
                format!("{}.{name}", self.verb().resource_kind().word())
            }
            Self::Log { .. } | Self::Now | Self::Sleep { .. } => ResourceName::this_run().to_string(),
        }
    }

    /// Everything else that was passed, by name.
    #[must_use]
    pub fn arguments(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::Service { .. } | Self::Probe { .. } | Self::Now => BTreeMap::new(),
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
            Self::Service { name, .. } | Self::Probe { name } => name.len(),
            Self::Log { message, .. } => message.len(),
            Self::Now | Self::Sleep { .. } => 0,
        }
    }
}
