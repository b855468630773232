//! The verbs: everything a playbook can ask for, in one table.
//!
//! The schema of the policies, the linker, the coverage test and the documentation are all made from this table. A verb
//! that is not here cannot be asked for; a verb that is here has an effect class and a resource kind, and is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::ResourceKind;

/// What a verb leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// Changes nothing.
    Read,
    /// Has an effect, but leaves nothing to put back.
    Transient,
    /// Leaves a change that the host can put back.
    Reversible,
    /// Leaves a change that nothing can put back.
    Irreversible,
}

impl EffectClass {
    /// The word in policies, plans and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Transient => "transient",
            Self::Reversible => "reversible",
            Self::Irreversible => "irreversible",
        }
    }

    /// Whether the world is changed at all.
    #[must_use]
    pub const fn is_effect(self) -> bool {
        !matches!(self, Self::Read)
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// An interface that the host offers: the unit of linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// `guardian:playbook/service`.
    Service,
    /// `guardian:playbook/storage`.
    Storage,
    /// `guardian:playbook/config`.
    Config,
    /// `guardian:playbook/command`.
    Command,
    /// `guardian:playbook/probe`.
    Probe,
    /// `guardian:playbook/log`.
    Log,
    /// `guardian:playbook/clock`.
    Clock,
}

impl Interface {
    /// Every interface, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Service, Self::Storage, Self::Config, Self::Command, Self::Probe, Self::Log, Self::Clock];

    /// The word in WIT, in manifests and in policies.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Storage => "storage",
            Self::Config => "config",
            Self::Command => "command",
            Self::Probe => "probe",
            Self::Log => "log",
            Self::Clock => "clock",
        }
    }

    /// The interface of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.word() == word)
    }

    /// What it lets a playbook do, for the person who decides whether to trust one.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Service => "look at, start, stop, restart and reload services that the policy names",
            Self::Storage => "look at storage, and reclaim or purge space there by the steps that you declared",
            Self::Config => "compare configuration files with your baseline, and restore them to it",
            Self::Command => "run commands that you wrote down, as they stand",
            Self::Probe => "look at resources through probes that the policy names",
            Self::Log => "write lines into its own run's log",
            Self::Clock => "read the time and wait",
        }
    }

    /// The verbs of this interface.
    pub fn verbs(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| verb.interface() == self)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// What can be asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceVerb {
    /// What it is doing.
    Status,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop it if it runs, and start it.
    Restart,
    /// Let it read its configuration again.
    Reload,
    /// Forget its past failures.
    ResetFailed,
}

/// What can be asked of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageVerb {
    /// How full it is.
    Usage,
    /// Make room by steps that can be put back.
    Reclaim,
    /// Make room by removing for good.
    Purge,
}

/// What can be asked of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigVerb {
    /// Whether it is as the baseline says.
    Check,
    /// Make it so.
    Restore,
}

/// How much a line of a guest's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author of the playbook.
    Debug,
    /// For the reader of the run.
    Info,
    /// Not as expected.
    Warn,
    /// Did not work.
    Error,
}

/// One WIT function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// A function of `service`.
    Service(ServiceVerb),
    /// A function of `storage`.
    Storage(StorageVerb),
    /// A function of `config`.
    Config(ConfigVerb),
    /// `command.run`.
    CommandRun,
    /// `probe.run`.
    ProbeRun,
    /// `log.write`.
    LogWrite,
    /// `clock.now`.
    ClockNow,
    /// `clock.sleep`.
    ClockSleep,
}

/// A named set of verbs that a policy can grant as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionGroup {
    /// Its name in policies.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
}

impl Verb {
    /// Every verb, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::Service(ServiceVerb::Status),
        Self::Service(ServiceVerb::Start),
        Self::Service(ServiceVerb::Stop),
        Self::Service(ServiceVerb::Restart),
        Self::Service(ServiceVerb::Reload),
        Self::Service(ServiceVerb::ResetFailed),
        Self::Storage(StorageVerb::Usage),
        Self::Storage(StorageVerb::Reclaim),
        Self::Storage(StorageVerb::Purge),
        Self::Config(ConfigVerb::Check),
        Self::Config(ConfigVerb::Restore),
        Self::CommandRun,
        Self::ProbeRun,
        Self::LogWrite,
        Self::ClockNow,
        Self::ClockSleep,
    ];

    /// Every group that a verb can be in.
    pub const GROUPS: [ActionGroup; 13] = [
        ActionGroup { name: "read", what: "everything that changes nothing" },
        ActionGroup { name: "transient", what: "every effect that leaves nothing to put back" },
        ActionGroup { name: "reversible", what: "every effect that the host can put back" },
        ActionGroup { name: "irreversible", what: "every effect that nothing can put back" },
        ActionGroup { name: "service", what: "everything that can be asked of a service" },
        ActionGroup { name: "service.revive", what: "what brings a dead service back: start, restart, reset-failed" },
        ActionGroup { name: "storage", what: "everything that can be asked of storage" },
        ActionGroup { name: "config", what: "everything that can be asked of configuration" },
        ActionGroup { name: "command", what: "every command that the operator wrote down" },
        ActionGroup { name: "probe", what: "every probe" },
        ActionGroup { name: "log", what: "the run's own log" },
        ActionGroup { name: "clock", what: "the host's clock" },
        ActionGroup { name: "basics", what: "what nearly every playbook needs and nobody is hurt by: log, clock" },
    ];

    /// The name in policies, records and messages: `service.restart`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Service(ServiceVerb::Status) => "service.status",
            Self::Service(ServiceVerb::Start) => "service.start",
            Self::Service(ServiceVerb::Stop) => "service.stop",
            Self::Service(ServiceVerb::Restart) => "service.restart",
            Self::Service(ServiceVerb::Reload) => "service.reload",
            Self::Service(ServiceVerb::ResetFailed) => "service.reset-failed",
            Self::Storage(StorageVerb::Usage) => "storage.usage",
            Self::Storage(StorageVerb::Reclaim) => "storage.reclaim",
            Self::Storage(StorageVerb::Purge) => "storage.purge",
            Self::Config(ConfigVerb::Check) => "config.check",
            Self::Config(ConfigVerb::Restore) => "config.restore",
            Self::CommandRun => "command.run",
            Self::ProbeRun => "probe.run",
            Self::LogWrite => "log.write",
            Self::ClockNow => "clock.now",
            Self::ClockSleep => "clock.sleep",
        }
    }

    /// The verb of that name.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.id() == id)
    }

    /// The interface it belongs to.
    #[must_use]
    pub const fn interface(self) -> Interface {
        match self {
            Self::Service(_) => Interface::Service,
            Self::Storage(_) => Interface::Storage,
            Self::Config(_) => Interface::Config,
            Self::CommandRun => Interface::Command,
            Self::ProbeRun => Interface::Probe,
            Self::LogWrite => Interface::Log,
            Self::ClockNow | Self::ClockSleep => Interface::Clock,
        }
    }

    /// The name of the WIT function within its interface.
    #[must_use]
    pub fn function(self) -> &'static str {
        self.id().split_once('.').map_or("", |(_, function)| function)
    }

    /// What it leaves behind.
    #[must_use]
    pub const fn class(self) -> EffectClass {
        match self {
            Self::Service(ServiceVerb::Start | ServiceVerb::Stop)
            | Self::Storage(StorageVerb::Reclaim)
            | Self::Config(ConfigVerb::Restore) => EffectClass::Reversible,
            // What a command does is not known to the host, so it counts as the worst.
            Self::Storage(StorageVerb::Purge) | Self::CommandRun => EffectClass::Irreversible,
            Self::Service(ServiceVerb::Restart | ServiceVerb::Reload | ServiceVerb::ResetFailed) => {
                EffectClass::Transient
            }
            Self::Service(ServiceVerb::Status)
            | Self::Storage(StorageVerb::Usage)
            | Self::Config(ConfigVerb::Check)
            | Self::ProbeRun
            | Self::LogWrite
            | Self::ClockNow
            | Self::ClockSleep => EffectClass::Read,
        }
    }

    /// The kind of resource it acts on.
    #[must_use]
    pub const fn resource_kind(self) -> ResourceKind {
        match self {
            Self::Service(_) => ResourceKind::Service,
            Self::Storage(_) => ResourceKind::Storage,
            Self::Config(_) => ResourceKind::Config,
            Self::CommandRun => ResourceKind::Command,
            Self::ProbeRun => ResourceKind::Probe,
            Self::LogWrite | Self::ClockNow | Self::ClockSleep => ResourceKind::Run,
        }
    }

    /// The groups it is in.
    #[must_use]
    pub fn groups(self) -> Vec<&'static str> {
        let mut groups = vec![self.class().word(), self.interface().word()];
        match self {
            Self::Service(ServiceVerb::Start | ServiceVerb::Restart | ServiceVerb::ResetFailed) => {
                groups.push("service.revive")
            }
            Self::LogWrite | Self::ClockNow | Self::ClockSleep => groups.push("basics"),
            Self::Service(_) | Self::Storage(_) | Self::Config(_) | Self::CommandRun | Self::ProbeRun => {}
        }
        groups
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id())
    }
}

impl Serialize for Verb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Verb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_id(&id).ok_or_else(|| serde::de::Error::custom("no such verb"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_id(verb.id()), Some(verb));
            assert!(verb.id().starts_with(verb.interface().word()));
            for group in verb.groups() {
                assert!(Verb::GROUPS.iter().any(|known| known.name == group), "{group}");
            }
        }
        assert!(Interface::ALL.into_iter().all(|interface| interface.verbs().next().is_some()));
    }
}
