//! One gated read: policy with full context and schema, the record of the read, the hand, the record of the outcome.
//!
//! The hand is that of a plan, which answers from memory, so that the gate is measured and not `/proc` or a socket; the
//! trail is on the disk and written as always: reads wait for no sync, a batch goes out every 256 KiB.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use guardian::audit::Trail;
use guardian::capability::{Hands, SimulatedHands};
use guardian::gate::{Gate, Parts, Pass};
use guardian::model::{
    Action, Clock as _, Incident, IncidentSource, PlaybookId, RunId, ServiceVerb, SystemClock, Timestamp,
};
use guardian::run::Site;

use crate::house::House;
use crate::report::{Bar, Report};
use crate::timing::{Pair, in_turns, median, micros};
use crate::{crowd, guest, peers};

/// What a reporter attached: policies see them as claims.
pub(crate) const LABELS: [(&str, &str); 4] =
    [("alert", "HttpDown"), ("cluster", "fra1"), ("job", "web"), ("reporter", "alertmanager")];

/// Calls of one run: a run of a thousand is the limit.
const CALLS: u32 = 1_000;
const PASSES: u32 = 15;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let hundred = Stage::new(100)?;
    let thousand = Stage::new(1_000)?;
    let pair = in_turns(PASSES, || hundred.read(), || thousand.read())?;
    report.alone("gate.read", "us", pair.reference, Bar::MedianAtMost(30.0));
    report.pair("gate.read.1000_policies", "us", pair, "the same with 100 policies", Bar::RatioAtMost(1.2));
    let moving = in_turns(PASSES, || hundred.read(), || hundred.decide())?;
    report.pair("policy.decide.fresh", "us", moving, "gate.read; here no fact is as before", Bar::Shown);
    match peers::agentmesh()? {
        Some(peer) => {
            let ours = Pair { subject: peer, reference: pair.reference, ratio: peer / pair.reference };
            report.pair("peer.agentmesh", "us", ours, "gate.read; no sandbox, no disk", Bar::Shown);
        }
        None => eprintln!("peer.agentmesh is not installed; see scripts/bench-packages"),
    }
    hundred.close()?;
    thousand.close()
}

/// A home with a policy of some size, opened, with everything that a gate needs.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) trail: Arc<Trail>,
    pub(crate) parts: Parts,
    pub(crate) playbook: PlaybookId,
    pub(crate) incident: Incident,
    second: std::cell::Cell<u64>,
    /// Last, so that it outlives what is open in it.
    _house: House,
}

impl Stage {
    /// `policies` policies; `service.web` and its check answer from memory.
    pub(crate) fn new(policies: usize) -> Result<Self> {
        let house = House::new(&crowd::configuration(policies, 0, 9), &crowd::policies(policies), &[guest::LOOK])?;
        let site = house.site()?;
        let trail = Arc::new(house.trail()?);
        let hands = Arc::new(Hands::simulated(SimulatedHands::new(site.hands()?, [].into())));
        let parts = parts(&site, &trail, hands)?;
        let playbook = "bench/look".parse().map_err(|error| anyhow!("{error}"))?;
        let stage = Self {
            site,
            trail,
            parts,
            playbook,
            incident: incident("web")?,
            second: std::cell::Cell::new(0),
            _house: house,
        };
        // From here on the hand answers from what it assumes.
        let mut gate = stage.gate();
        gate.call(Action::Service { verb: ServiceVerb::Restart, name: "web".to_owned() })
            .map_err(|halt| anyhow!("{halt:?}"))?;
        Ok(stage)
    }

    /// The gate of one run.
    pub(crate) fn gate(&self) -> Gate {
        let id = RunId::new(SystemClock::default().now(), 7);
        gate(&self.parts, id, self.playbook.clone(), self.incident.clone())
    }

    /// The median of one run's calls, in microseconds.
    fn read(&self) -> Result<f64> {
        let mut gate = self.gate();
        micros(CALLS, || {
            let action = Action::Service { verb: ServiceVerb::Status, name: "web".to_owned() };
            gate.call(action).map(|_| ()).map_err(|halt| anyhow!("{halt:?}"))
        })
    }

    /// The decision alone, each a second later than the one before, so that nothing of the context is used again.
    fn decide(&self) -> Result<f64> {
        use guardian::policy::{Decision, Facts, Question, Used};
        let action = Action::Service { verb: ServiceVerb::Status, name: "web".to_owned() };
        let resource = action.resource().map_err(|error| anyhow!("{error}"))?;
        let mut all = Vec::new();
        for _ in 0..CALLS {
            let second = self.second.get() + 1;
            self.second.set(second);
            let facts = Facts {
                now: Timestamp::from_millis(1_700_000_000_000 + second * 1_000),
                kind: self.incident.kind.clone(),
                severity: self.incident.severity,
                target: self.incident.target.clone(),
                used: Used::default(),
                windows: ["office".to_owned()].into(),
                approvals: ["sre".to_owned()].into(),
                labels: Arc::new(LABELS.map(|(key, value)| format!("{key}={value}")).into()),
                glass: None,
            };
            let question = Question { playbook: &self.playbook, action: &action, resource: &resource, facts: &facts };
            let begun = std::time::Instant::now();
            let decision = self.site.policy.decide(&question);
            all.push(begun.elapsed().as_secs_f64() * 1e6);
            anyhow::ensure!(matches!(decision, Decision::Permitted(_)), "{decision:?}");
        }
        Ok(median(all))
    }

    /// Lets go of the trail.
    pub(crate) fn close(self) -> Result<()> {
        let Self { trail, parts, .. } = self;
        drop(parts);
        Ok(Arc::into_inner(trail).context("the trail is still in use")?.close()?)
    }
}

/// What a run gives its gate, with these hands.
pub(crate) fn parts(site: &Site, trail: &Arc<Trail>, hands: Arc<Hands>) -> Result<Parts> {
    Ok(site.parts(Arc::clone(trail), hands, site.kept()?, guardian::gate::Approvals::Required))
}

/// The gate of one run, as a run makes it.
pub(crate) fn gate(parts: &Parts, run: RunId, playbook: PlaybookId, incident: Incident) -> Gate {
    let leases = Arc::new(parts.leases.of(run.clone(), std::time::Duration::from_secs(3_600)));
    let pass = Pass { run, playbook, incident, leases, approved: None, glass: None };
    Gate::new(parts.clone(), pass, Box::new(|_| ()))
}

/// An incident about one service.
pub(crate) fn incident(service: &str) -> Result<Incident> {
    Ok(Incident {
        id: "i-1".to_owned(),
        kind: "service_crashed".parse().map_err(|error| anyhow!("{error}"))?,
        target: format!("service.{service}").parse().map_err(|error| anyhow!("{error}"))?,
        severity: 5,
        source: IncidentSource::Operator,
        opened_at: Timestamp::from_millis(1_700_000_000_000),
        labels: LABELS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        bindings: BTreeMap::from([("target".to_owned(), service.to_owned())]),
    })
}
