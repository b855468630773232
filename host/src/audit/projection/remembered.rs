//! Which runs are remembered, and for how long.
//!
//! The last few hundred, because people ask what happened. Of those before them every run that something still hangs on: one
//! without an end (the next start gives it one), one whose plan waits for people, one with an effect whose fate nobody knows,
//! and one that did not heal and can still be undone. The first three are few: a start ends what it finds, a plan waits for
//! so long and no longer, and a doubt stops new effects on its resource. Runs that can be undone have bounds of their own,
//! [`UNDOABLE_RUNS`] and [`UNDOABLE_EFFECTS`]; past them the oldest is forgotten, its undo material is swept at the next
//! start, and what it did stands. `guardian status` says how many there are.
//!
//! And what a successor of the trail takes over of them.

use crate::audit::effects::{Effect, Fate};
use crate::audit::record::{Body, Record};
use crate::model::{PlaybookId, RunId, RunState};

use super::{RunSummary, State};

/// How many runs are remembered, whatever became of them: what people ask about, with room for a busy day.
pub const REMEMBERED_RUNS: usize = 256;
/// How many runs that ended without healing can be undone: two weeks of one that fails three times an hour.
pub const UNDOABLE_RUNS: usize = 1_024;
/// How many effects such runs have together: all of it is in memory, and in the snapshot, at half a KiB each.
pub const UNDOABLE_EFFECTS: usize = 16_384;

impl State {
    /// Runs that ended, did not heal, and can still be put back, in whole or in part; oldest first.
    pub fn undoable(&self) -> impl Iterator<Item = &RunSummary> {
        self.runs.iter().filter(|run| run.ended && self.effects.is_undoable(&run.id))
    }

    /// Whether nothing hangs on a run any more.
    fn is_over(&self, run: &RunSummary) -> bool {
        run.ended && !self.waiting.contains_key(&run.id) && !self.effects.is_undoable(&run.id)
    }

    /// Keeps the runs within their bounds, after a new one began.
    pub(super) fn forget_old_runs(&mut self) {
        let old = self.runs.len().saturating_sub(REMEMBERED_RUNS);
        if old == 0 {
            return;
        }
        let over = |run: &&RunSummary| self.is_over(run);
        let mut forgotten: Vec<RunId> = self.runs.iter().take(old).filter(over).map(|run| run.id.clone()).collect();
        let in_doubt = |run: &RunId| self.effects.of(run).iter().any(|effect| effect.fate == Fate::Open);
        let undoable: Vec<(&RunId, usize)> = self
            .undoable()
            .filter(|run| !in_doubt(&run.id))
            .map(|run| (&run.id, self.effects.of(&run.id).len()))
            .collect();
        let mut effects: usize = undoable.iter().map(|(_, effects)| effects).sum();
        let mut runs = undoable.len();
        // The newest stays, however much it did.
        for (run, of_it) in undoable.iter().take(runs.saturating_sub(1)) {
            if runs <= UNDOABLE_RUNS && effects <= UNDOABLE_EFFECTS {
                break;
            }
            runs -= 1;
            effects -= of_it;
            forgotten.push((*run).clone());
        }
        for run in &forgotten {
            self.effects.forget(run);
            self.waiting.remove(run);
        }
        self.runs.retain(|run| !forgotten.contains(&run.id));
    }

    /// What an earlier trail knew of a run.
    pub(super) fn take_over_run(&mut self, record: &Record) {
        let Some(id) = &record.run else { return };
        match &record.body {
            Body::EarlierRun { playbook, release, incident, target, state, started, millis, ended } => {
                self.runs.push_back(RunSummary {
                    id: id.clone(),
                    playbook: playbook.clone(),
                    release: *release,
                    incident: incident.clone(),
                    target: target.clone(),
                    state: *state,
                    started: *started,
                    millis: *millis,
                    ended: *ended,
                });
            }
            Body::EarlierEffect { action, playbook, class, undo, begun, fate, since, .. } => {
                let (action, undo, since) = (action.clone(), undo.clone(), since.clone());
                let (verb, resource) = (action.verb().id(), action.resource_as_given());
                if *fate == Fate::Open {
                    self.open(record, playbook, verb, &resource, (true, None));
                }
                let effect = Effect {
                    record: record.seq,
                    step: record.step.unwrap_or_default(),
                    action,
                    playbook: playbook.clone(),
                    class: *class,
                    undo,
                    t: *begun,
                    fate: *fate,
                    since,
                };
                self.effects.take_over(id, effect);
            }
            _ => {}
        }
    }

    /// The runs and their effects, for a successor: each run first, and then all effects in the order they were begun in, so
    /// that what came later still does.
    pub(in crate::audit) fn earlier_runs(&self) -> Vec<(RunId, Option<u32>, Body)> {
        let summary = |run: &RunSummary| {
            // An approval that was used up may stand on a record that is lost, or be used on the machine that this one was
            // cloned from: what waited is asked anew.
            let waited = run.state == RunState::AwaitingApproval;
            let state = match run.state {
                RunState::AwaitingApproval => RunState::NotHealed,
                state if state.is_end() => state,
                _ => RunState::Indeterminate,
            };
            let RunSummary { playbook, release, incident, target, started, millis, ended, .. } = run.clone();
            let ended = ended || waited;
            let body = Body::EarlierRun { playbook, release, incident, target, state, started, millis, ended };
            (run.id.clone(), None, body)
        };
        let mut records: Vec<_> = self.runs.iter().map(summary).collect();
        let mut effects: Vec<_> = self.effects.all().collect();
        effects.sort_by_key(|(_, effect)| effect.record);
        let mut unknown: Vec<&RunId> = Vec::new();
        for (run, effect) in &effects {
            // Its beginning is on a record that is lost: what it did says what can be said of it.
            if self.run(run).is_none() && !unknown.contains(run) {
                unknown.push(run);
                records.extend(unknown_run(run, effect));
            }
        }
        records.extend(effects.into_iter().map(|(run, effect)| {
            let Effect { record: of, step, action, playbook, class, undo, t: begun, fate, since } = effect.clone();
            (run.clone(), Some(step), Body::EarlierEffect { of, action, playbook, class, undo, begun, fate, since })
        }));
        records
    }

    /// Intents that the effects do not speak of and that no successor has to take over: each was putting back an effect
    /// that is handed on, and is begun anew.
    pub(in crate::audit) fn is_handed_on(&self, record: u64) -> bool {
        self.effects.puts_back(record) || self.effects.all().any(|(_, effect)| effect.record == record)
    }

    /// Takes over what `other`, an earlier place in the same trail, knows of runs. A run that had ended there has ended; one
    /// that was forgotten there was over.
    pub(super) fn raise_runs(&mut self, other: &Self) {
        for theirs in &other.runs {
            match self.runs.iter_mut().find(|run| run.id == theirs.id) {
                Some(ours) if ours.ended => {}
                Some(ours) => {
                    ours.clone_from(theirs);
                    self.effects.raise(&other.effects, &theirs.id, theirs.ended);
                }
                None => {
                    self.runs.push_back(theirs.clone());
                    self.effects.raise(&other.effects, &theirs.id, theirs.ended);
                }
            }
        }
        let over =
            |run: &RunSummary| !run.ended && run.started.millis() <= other.last_seen && other.run(&run.id).is_none();
        let forgotten: Vec<RunId> = self.runs.iter().filter(|run| over(run)).map(|run| run.id.clone()).collect();
        for run in &forgotten {
            self.effects.forget(run);
        }
        self.runs.retain(|run| !forgotten.contains(&run.id));
        self.runs.make_contiguous().sort_by_key(|run| run.started);
        self.blind_until = self.blind_until.max(other.blind_until);
    }
}

/// A run of which only an effect is known: it has no end as far as anybody knows.
fn unknown_run(run: &RunId, effect: &Effect) -> Option<(RunId, Option<u32>, Body)> {
    let playbook: PlaybookId = effect.playbook.clone();
    let body = Body::EarlierRun {
        playbook,
        release: 0,
        incident: "unknown".parse().ok()?,
        target: effect.action.resource().ok()?,
        state: RunState::Indeterminate,
        started: run.begun(),
        millis: 0,
        ended: false,
    };
    Some((run.clone(), None, body))
}
