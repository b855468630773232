//! The hand that looks: is it there, does it answer, how long did that take?
//!
//! What it guards: a probe names a check of the inventory; the guest gives neither address nor URL, so a playbook cannot use
//! the host to scan a network. A look changes nothing, follows no redirect (the thing probed could point it anywhere), reads
//! at most a few kilobytes and is over at its time-out. What was seen is text that somebody else wrote: it is bounded here
//! and escaped at every door.
//!
//! A thing that does not answer is a reading, `FAILED`, and no error. `UNKNOWN` says that the look itself was not possible,
//! which says nothing about the thing: a full table of open files must not restart a healthy service.

mod http;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::error::HandError;
use super::service::ServiceHand;
use crate::inventory::{Check, Inventory, Look};
use crate::model::{Name, Outcome, Reading, Reply, ResourceKind, ResourceName, ServiceState, Verdict};

/// The most that is told of what was seen, in characters: one line on a screen.
const SEEN: usize = 200;

/// What one way of looking found, before the time it took is judged.
struct Finding {
    verdict: Verdict,
    seen: String,
}

impl Finding {
    fn new(verdict: Verdict, seen: impl Into<String>) -> Self {
        Self { verdict, seen: seen.into() }
    }

    /// What an error of the operating system says of the thing probed, or only of this process.
    fn of_error(error: &std::io::Error) -> Self {
        use rustix::io::Errno;
        let ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::ACCESS, Errno::PERM];
        let is_ours = error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code));
        let seen = match error.kind() {
            ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            ErrorKind::ConnectionReset => "connection reset".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
            _ => error.to_string(),
        };
        Self::new(if is_ours { Verdict::Unknown } else { Verdict::Failed }, seen)
    }
}

/// The hand on every check of an inventory.
pub struct ProbeHand {
    checks: BTreeMap<ResourceName, (Check, Option<ResourceName>)>,
    services: Arc<ServiceHand>,
}

impl ProbeHand {
    /// A hand on the probes of `inventory` and on the checks of its services. Touches none of them.
    #[must_use]
    pub fn new(inventory: &Inventory, services: Arc<ServiceHand>) -> Self {
        let named = |kind, name: &Name| ResourceName::new(kind, name.as_str()).ok();
        let probes = inventory.probes.iter().filter_map(|(name, probe)| {
            Some((named(ResourceKind::Probe, name)?, (probe.check.clone(), probe.of.clone())))
        });
        let checks = inventory.services.iter().filter_map(|(name, service)| {
            let of = named(ResourceKind::Service, name)?;
            Some((of.check_of()?, (service.check.clone()?, Some(of))))
        });
        Self { checks: probes.chain(checks).collect(), services }
    }

    fn find(&self, probe: &ResourceName) -> Result<&(Check, Option<ResourceName>), HandError> {
        self.checks.get(probe).ok_or_else(|| HandError::NotFound {
            what: format!("probe `{}`", probe.name()),
            remedy: match probe.name().strip_prefix("service.") {
                Some(service) => format!("give [service.{service}] a `check` in guardian.toml"),
                None => format!("name it in guardian.toml as [probe.{}]", probe.name()),
            },
        })
    }

    /// What a probe tells about: the service it is the check of, or what `of` says.
    ///
    /// # Errors
    /// When there is no such probe.
    pub fn of(&self, probe: &ResourceName) -> Result<Option<&ResourceName>, HandError> {
        Ok(self.find(probe)?.1.as_ref())
    }

    /// Looks once, for at most the check's own time-out.
    ///
    /// # Errors
    /// When there is no such probe.
    pub fn look(&self, probe: &ResourceName, deadline: Deadline) -> Result<Reading, HandError> {
        let (check, of) = self.find(probe)?;
        let deadline = deadline.min(Deadline::after(check.timeout));
        let begun = Instant::now();
        let finding = match &check.look {
            Look::Supervisor => self.ask_supervisor(of.as_ref(), deadline),
            Look::Tcp { address } => connect(address, deadline),
            Look::Http { url, status } => http::get(url, *status, deadline),
        };
        Ok(reading(finding, begun.elapsed(), check.slow))
    }

    pub(crate) fn observe(&self, probe: &ResourceName, deadline: Deadline) -> Outcome {
        match self.look(probe, deadline) {
            Ok(reading) => Outcome::Done { reply: Reply::Probe(reading) },
            Err(error) => error.into_outcome(),
        }
    }

    fn ask_supervisor(&self, of: Option<&ResourceName>, deadline: Deadline) -> Finding {
        let service = of.filter(|of| of.kind() == ResourceKind::Service).and_then(|of| of.name().parse::<Name>().ok());
        let Some(service) = service else { return Finding::new(Verdict::Unknown, "the probe belongs to no service") };
        match self.services.status(&service, deadline) {
            Ok(status) => Finding::new(verdict_of(status.state), status.state.word()),
            Err(error) => Finding::new(Verdict::Unknown, error.to_string()),
        }
    }
}

/// What a supervisor's word says of health.
pub(super) const fn verdict_of(state: ServiceState) -> Verdict {
    match state {
        ServiceState::Running => Verdict::Healthy,
        ServiceState::Unknown => Verdict::Unknown,
        ServiceState::Starting
        | ServiceState::Stopping
        | ServiceState::Stopped
        | ServiceState::Failed
        | ServiceState::Restarting => Verdict::Failed,
    }
}

fn connect(address: &SocketAddr, deadline: Deadline) -> Finding {
    let time = deadline.remaining();
    if time.is_zero() {
        return Finding::new(Verdict::Unknown, "no time was left to look");
    }
    match TcpStream::connect_timeout(address, time) {
        Ok(_) => Finding::new(Verdict::Healthy, "connected"),
        Err(error) => Finding::of_error(&error),
    }
}

fn reading(finding: Finding, took: Duration, slow: Option<Duration>) -> Reading {
    let Finding { verdict, seen } = finding;
    let verdict = match verdict {
        Verdict::Healthy if slow.is_some_and(|slow| took > slow) => Verdict::Degraded,
        other => other,
    };
    let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    Reading { verdict, latency_us, seen: seen.chars().take(SEEN).collect(), assumed: false }
}

#[cfg(test)]
mod tests;
