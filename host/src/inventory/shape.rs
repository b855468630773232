//! The shape of `guardian.toml` as it is written, for serde. Unknown keys are refused; values are judged in `file`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::command::RawCommand;
use super::config::RawConfig;
use super::person::RawPerson;
use super::storage::RawStorage;
use crate::model::Limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMain {
    #[serde(default)]
    pub(super) limits: Option<Spanned<Limits>>,
    #[serde(default)]
    pub(super) audit: Option<Spanned<RawAudit>>,
    #[serde(default)]
    pub(super) systemd: Option<Spanned<RawSystemd>>,
    #[serde(default)]
    pub(super) service: BTreeMap<Spanned<String>, Spanned<RawService>>,
    #[serde(default)]
    pub(super) storage: BTreeMap<Spanned<String>, Spanned<RawStorage>>,
    #[serde(default)]
    pub(super) config: BTreeMap<Spanned<String>, Spanned<RawConfig>>,
    #[serde(default)]
    pub(super) command: BTreeMap<Spanned<String>, Spanned<RawCommand>>,
    #[serde(default)]
    pub(super) probe: BTreeMap<Spanned<String>, Spanned<RawProbe>>,
    #[serde(default)]
    pub(super) playbook: BTreeMap<Spanned<String>, Spanned<RawPlaybook>>,
    #[serde(default)]
    pub(super) approval: Option<Spanned<RawApproval>>,
    #[serde(default)]
    pub(super) person: BTreeMap<Spanned<String>, Spanned<RawPerson>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMore {
    #[serde(default)]
    pub(super) service: BTreeMap<Spanned<String>, Spanned<RawService>>,
    #[serde(default)]
    pub(super) storage: BTreeMap<Spanned<String>, Spanned<RawStorage>>,
    #[serde(default)]
    pub(super) config: BTreeMap<Spanned<String>, Spanned<RawConfig>>,
    #[serde(default)]
    pub(super) command: BTreeMap<Spanned<String>, Spanned<RawCommand>>,
    #[serde(default)]
    pub(super) probe: BTreeMap<Spanned<String>, Spanned<RawProbe>>,
    #[serde(default)]
    pub(super) playbook: BTreeMap<Spanned<String>, Spanned<RawPlaybook>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) segment_mib: Option<u64>,
    pub(super) reserve_mib: Option<u64>,
    pub(super) wait: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSystemd {
    pub(super) bus: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApproval {
    pub(super) wait: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlaybook {
    #[serde(default)]
    pub(super) bind: BTreeMap<Spanned<String>, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) unit: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<Vec<String>>>,
    pub(super) user: Option<String>,
    pub(super) directory: Option<PathBuf>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    pub(super) stop_time: Option<Spanned<String>>,
    pub(super) settle_time: Option<Spanned<String>>,
    pub(super) reload_signal: Option<Spanned<String>>,
    pub(super) output_kib: Option<u64>,
    pub(super) open_files: Option<u64>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) protected: bool,
    pub(super) check: Option<Spanned<RawCheck>>,
    #[serde(default)]
    pub(super) heal: Vec<Spanned<String>>,
    pub(super) healed: Option<Spanned<RawHealed>>,
    pub(super) unhealed: Option<Spanned<String>>,
    pub(super) limits: Option<Spanned<RawAttempts>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    pub(super) check: Spanned<RawCheck>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    pub(super) of: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheck {
    pub(super) tcp: Option<String>,
    pub(super) http: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) supervisor: Option<bool>,
    pub(super) every: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) slow: Option<String>,
    pub(super) fail_after: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealed {
    pub(super) successes: Option<u32>,
    pub(super) grace: Option<String>,
    pub(super) deadline: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttempts {
    pub(super) attempts: Option<u32>,
    pub(super) per: Option<String>,
    pub(super) cooldown: Option<String>,
}
