//! The contract as Rust: bindings made from wit/, and pure translation between them and the vocabulary.
//!
//! One file per interface, each a list of functions that say which action was asked for and what its reply looks like
//! to a guest. Nothing in here decides, records, waits or touches the world; the one way on is `HostSide::call`. A reply
//! that does not fit its action is the host's own mistake, and ends the run instead of telling a guest something untrue.

mod clock;
mod command;
mod config;
mod log;
mod probe;
mod service;
mod storage;

use wasmtime::component::{HasSelf, Linker};

use super::execute::{HostSide, Stop};
use crate::model::{ErrorCode, GuestError, Incident, Interface, Report};

/// Generated from wit/ by wasmtime.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::indexing_slicing, clippy::unwrap_used)]
mod contract {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "playbook",
        imports: { default: trappable },
    });
}

use contract::guardian::playbook as wit;
pub(super) use contract::{PlaybookPre, guardian::playbook::types::Incident as WitIncident};

/// Offers one interface to a guest.
pub(super) fn link(interface: Interface, linker: &mut Linker<HostSide>) -> wasmtime::Result<()> {
    match interface {
        Interface::Service => wit::service::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Storage => wit::storage::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Config => wit::config::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Command => wit::command::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Probe => wit::probe::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Log => wit::log::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
        Interface::Clock => wit::clock::add_to_linker::<_, HasSelf<_>>(linker, |host| host),
    }
}

impl wit::types::Host for HostSide {}

/// A reply of the wrong kind: the host's mistake.
fn wrong_reply(verb: &str) -> wasmtime::Error {
    Stop::Host(format!("the host answered {verb} with a reply of another kind; this is a defect of guardian")).into()
}

fn error(error: GuestError) -> wit::types::Error {
    wit::types::Error {
        code: error.code.word().to_owned(),
        retryable: error.code.retryable(),
        denial: error.denial.map(|denial| wit::types::Denial {
            action: denial.action,
            resource: denial.resource,
            code: denial.code.word().to_owned(),
            record: denial.record,
            extra: Vec::new(),
        }),
        message: error.message,
    }
}

/// What `remediate` answered. A denial inside its error is dropped: a guest may pass one on, but only the host's own
/// record of it counts.
pub(super) fn answer(answer: Result<wit::types::Report, wit::types::Error>) -> Result<Report, GuestError> {
    match answer {
        Ok(report) => Ok(Report { summary: report.summary, extra: report.extra.into_iter().collect() }),
        Err(error) => Err(GuestError::new(ErrorCode::from_word(&error.code), error.message)),
    }
}

/// The incident, as the guest sees it.
pub(super) fn incident(incident: &Incident) -> WitIncident {
    WitIncident {
        id: incident.id.clone(),
        kind: incident.kind.to_string(),
        target: wit::types::Resource {
            kind: incident.target.kind().word().to_owned(),
            name: incident.target.name().to_owned(),
        },
        severity: incident.severity,
        opened_at: incident.opened_at.millis(),
        labels: pairs(&incident.labels),
        bindings: pairs(&incident.bindings),
        extra: Vec::new(),
    }
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
