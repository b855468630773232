//! `probe`: one look, one reading.

use super::super::execute::HostSide;
use super::wit::probe::{Error, Host, Reading, Verdict};
use crate::model;

impl Host for HostSide {
    fn run(&mut self, name: String) -> wasmtime::Result<Result<Reading, Error>> {
        match self.call(model::Action::Probe { name })? {
            Ok(model::Reply::Probe(reading)) => Ok(Ok(seen(reading))),
            Ok(_) => Err(super::wrong_reply("probe")),
            Err(error) => Ok(Err(super::error(error))),
        }
    }
}

/// `assumed` stays behind: a plan must look to the guest like a run.
fn seen(reading: model::Reading) -> Reading {
    Reading {
        verdict: match reading.verdict {
            model::Verdict::Healthy => Verdict::Healthy,
            model::Verdict::Degraded => Verdict::Degraded,
            model::Verdict::Failed => Verdict::Failed,
            model::Verdict::Unknown => Verdict::Unknown,
        },
        latency_us: reading.latency_us,
        seen: reading.seen,
        extra: Vec::new(),
    }
}
