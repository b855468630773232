//! What it costs to put an effect back, against the effect: the same hand, the same bytes, the same trail.
//!
//! One run restores a configuration through the gate; then the host puts it back, from the material it kept: material read
//! and checked, intent durable, hand, outcome. A bar of one means that undoing is not the expensive half.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use guardian::capability::Hands;
use guardian::gate::{Parts, PutBack};
use guardian::model::{Action, Clock as _, ConfigVerb, RunId, SystemClock};
use guardian::policy::Source;

use crate::house::{self, House};
use crate::reading;
use crate::report::{Bar, Report};
use crate::timing::in_turns;

/// Effects per pass; each is on a run of its own, as a heal would have it.
const EACH: u32 = 40;
const PASSES: u32 = 9;

const PERMIT: &str = "@id(\"restore\") permit (principal == Guardian::Playbook::\"bench/reset\", \
                      action == Guardian::Action::\"config.restore\", resource == Guardian::Config::\"site\");\n";

/// One effect to put back.
struct Stage<'a> {
    parts: &'a Parts,
    next: std::cell::Cell<u32>,
}

impl Stage<'_> {
    /// Microseconds per effect: the file differs before each, because each is put back at once afterwards.
    fn act(&self) -> Result<f64> {
        self.pass(true)
    }

    /// Microseconds per effect put back.
    fn put_back(&self) -> Result<f64> {
        self.pass(false)
    }

    /// Acts and puts back in turns, and times the one half or the other.
    fn pass(&self, acting: bool) -> Result<f64> {
        let mut spent = 0.0;
        for _ in 0..EACH {
            let begun = Instant::now();
            let run = self.restore()?;
            let acted = begun.elapsed();
            // The projection speaks of what is durable; a run does this once at its end.
            self.parts.trail.flush()?;
            let effects = self.parts.trail.state(|state| state.effects(&run).to_vec());
            let effect = effects.first().context("an effect")?;
            let begun = Instant::now();
            let leases = self.parts.leases.of(run.clone(), std::time::Duration::from_secs(60));
            let back = self.parts.put_back(&run, &leases, effect)?;
            let undone = begun.elapsed();
            ensure!(matches!(back, PutBack::Done { .. }), "{back:?}");
            self.parts.trail.flush()?;
            self.parts.undo.commit(&run)?;
            spent += if acting { acted } else { undone }.as_secs_f64() * 1e6;
        }
        Ok(spent / f64::from(EACH))
    }

    fn restore(&self) -> Result<RunId> {
        self.next.set(self.next.get() + 1);
        let run = RunId::new(SystemClock::default().now(), self.next.get());
        let playbook = "bench/reset".parse().map_err(|error| anyhow!("{error}"))?;
        let mut gate = reading::gate(self.parts, run.clone(), playbook, reading::incident("u0")?);
        let action = Action::Config { verb: ConfigVerb::Restore, name: "site".to_owned() };
        let _status = gate.call(action).map_err(|halt| anyhow!("{halt:?}"))?;
        Ok(run)
    }
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let place = house::folder()?;
    std::fs::write(place.path().join("site.conf"), "as it was\n".repeat(100))?;
    std::fs::write(place.path().join("baseline.conf"), "as it should be\n".repeat(100))?;
    let shown = place.path().display();
    let configuration = format!(
        "{}\n[config.site]\npath = '{shown}/site.conf'\nbaseline = '{shown}/baseline.conf'\n",
        crate::crowd::configuration(20, 1, 9)
    );
    let permit = Source { path: "permits/restore.cedar".to_owned(), text: PERMIT.to_owned() };
    let house = House::new(&configuration, &[permit], &[])?;
    let site = house.site()?;
    let trail = Arc::new(house.trail()?);
    let parts = reading::parts(&site, &trail, Arc::new(Hands::real(site.hands()?)))?;
    let stage = Stage { parts: &parts, next: Default::default() };
    let pairs = in_turns(PASSES, || stage.act(), || stage.put_back())?;
    report.pair("gate.undo", "us", pairs, "the effect it puts back, through the gate", Bar::RatioAtMost(1.0));
    drop(parts);
    Ok(Arc::into_inner(trail).context("the trail is still in use")?.close()?)
}
