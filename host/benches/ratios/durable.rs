//! Durable intents and whole gated effects, against the least that durability costs.
//!
//! The reference writes as many bytes per record as the trail does, measured on the trail itself. The effects are real:
//! 64 threads, each with a run of its own on a service of its own, ask for `reset-failed` of a service that has not
//! failed, through policy, preparation, durable intent, hand and outcome.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use guardian::audit::{Body, IntentDraft, Trail};
use guardian::capability::Hands;
use guardian::gate::{Gate, Parts};
use guardian::model::{
    Action, Clock as _, EffectClass, Outcome, PlaybookId, Reply, RunId, RunState, ServiceVerb, SystemClock,
};

use crate::floor::Floor;
use crate::house::{self, House};
use crate::report::{Bar, Report};
use crate::timing::{in_turns, micros};
use crate::{crowd, guest, reading};

/// Callers at once.
const CALLERS: usize = 64;
/// Records per caller and pass: a pass takes about a third of a second.
const EACH: u32 = 150;
const PASSES: u32 = 9;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let house = || House::new(&crowd::configuration(20, CALLERS, 9), &crowd::policies(20), &[guest::RESET]);
    let alone = house()?;
    let trail = alone.trail()?;
    let playbook: PlaybookId = "bench/reset".parse().map_err(|error| anyhow!("{error}"))?;
    let caller = Caller { trail: &trail, playbook: &playbook, run: RunId::new(SystemClock::default().now(), 1) };

    // What one lonely intent takes on the disk: its record and the end of its batch.
    let (single_bytes, bytes) = (caller.record_bytes(1)?, caller.record_bytes(CALLERS)?);
    let place = house::folder()?;
    let floor = Floor::new(place.path())?;
    let record = vec![b'x'; single_bytes];
    let single =
        in_turns(PASSES, || micros(400, || floor.commit(&record)), || caller.pass(|| micros(400, || caller.begin())))?;
    report.pair("audit.begin.1", "us", single, "write + fdatasync loop", Bar::RatioAtMost(1.5));

    let record = vec![b'x'; bytes];
    let many = in_turns(PASSES, || rate(|_| floor.commit(&record)), || caller.pass(|| rate(|_| caller.begin())))?;
    report.pair("audit.begin.64", "1/s", many, "write + fdatasync loop, 64 callers", Bar::RatioAtLeast(0.8));

    trail.close()?;

    let house = house()?;
    let site = house.site()?;
    let trail = Arc::new(house.trail()?);
    let hands = Arc::new(Hands::real(site.hands()?));
    let parts = reading::parts(&site, &trail, hands)?;
    let effects = in_turns(PASSES, || rate(|_| floor.commit(&record)), || effects(&parts, &playbook))?;
    report.pair("gate.effects.64", "1/s", effects, "write + fdatasync loop, 64 callers", Bar::RatioAtLeast(0.4));

    drop(parts);
    Ok(Arc::into_inner(trail).context("the trail is still in use")?.close()?)
}

struct Caller<'a> {
    trail: &'a Trail,
    playbook: &'a PlaybookId,
    run: RunId,
}

impl Caller<'_> {
    /// Begins one effect and leaves it there: what follows is not measured here.
    fn begin(&self) -> Result<()> {
        let draft = IntentDraft {
            action: Action::Service { verb: ServiceVerb::ResetFailed, name: "web".to_owned() },
            playbook: self.playbook.clone(),
            class: EffectClass::Transient,
            policies: vec!["reset".to_owned()],
            key: format!("{}/1", self.run),
            undo: None,
            undoes: None,
        };
        let intent = self.trail.begin(&self.run, 1, draft)?;
        drop(intent);
        Ok(())
    }

    /// A pass of beginnings, all ended afterwards and unmeasured: a trail of intents that never end is nobody's real one.
    fn pass(&self, measured: impl FnOnce() -> Result<f64>) -> Result<f64> {
        let figure = measured()?;
        let open: Vec<u64> = self.trail.state(|state| state.open_intents().keys().copied().collect());
        for seq in open {
            self.trail.finish(seq, Outcome::Done { reply: Reply::Done }, 0)?;
        }
        self.trail.flush()?;
        self.trail.publish()?;
        Ok(figure)
    }

    /// Bytes per record on the disk with that many callers.
    fn record_bytes(&self, callers: usize) -> Result<usize> {
        let before = self.trail.status();
        if callers == 1 {
            (0..100).try_for_each(|_| self.begin())?;
        } else {
            rate(|_| self.begin())?;
        }
        let after = self.trail.status();
        let bytes = before.left_bytes.checked_sub(after.left_bytes).context("a new segment in the middle")?;
        let bytes = usize::try_from(bytes / (after.records - before.records))?;
        ensure!(bytes > 100, "a record of {bytes} bytes");
        Ok(bytes)
    }
}

/// Acts per second of all callers together.
fn rate(act: impl Fn(usize) -> Result<()> + Sync) -> Result<f64> {
    threads(|caller| (0..EACH).try_for_each(|_| act(caller)))
}

/// Each run has acted once before: what a run keeps of its target before its first effect is a cost of the run. And each ends
/// afterwards, or thousands would stay open that no machine has.
fn effects(parts: &Parts, playbook: &PlaybookId) -> Result<f64> {
    let begun = |caller: usize| {
        let service = format!("u{caller}");
        let id = RunId::new(SystemClock::default().now(), u32::try_from(caller)?);
        let mut gate = reading::gate(parts, id.clone(), playbook.clone(), reading::incident(&service)?);
        act(&mut gate, caller)?;
        Ok((id, Mutex::new(gate)))
    };
    let gates = (0..CALLERS).map(begun).collect::<Result<Vec<_>>>()?;
    let rate = threads(|caller| {
        let (_, gate) = gates.get(caller).context("a caller too many")?;
        let mut gate = gate.lock().map_err(|_| anyhow!("a caller panicked"))?;
        (0..EACH).try_for_each(|_| act(&mut gate, caller))
    })?;
    for (id, _) in &gates {
        let end = Body::RunEnd {
            state: RunState::Healed,
            reason: "measured".to_owned(),
            report: None,
            limit: None,
            millis: 0,
        };
        parts.trail.append(Some(id), None, end)?;
    }
    parts.trail.flush()?;
    Ok(rate)
}

fn act(gate: &mut Gate, caller: usize) -> Result<()> {
    let action = Action::Service { verb: ServiceVerb::ResetFailed, name: format!("u{caller}") };
    gate.call(action).map(drop).map_err(|halt| anyhow!("{halt:?}"))
}

fn threads(each: impl Fn(usize) -> Result<()> + Sync) -> Result<f64> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let each = &each;
        let callers: Vec<_> = (0..CALLERS).map(|caller| scope.spawn(move || each(caller))).collect();
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?)
    })?;
    let acts = f64::from(EACH) * f64::from(u32::try_from(CALLERS)?);
    Ok(acts / begun.elapsed().as_secs_f64())
}
