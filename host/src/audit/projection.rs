//! What the trail says about now: a fold over its records.
//!
//! High-water marks, quota counts, open intents and the last runs are not kept anywhere else; this is what they are, and
//! it can always be made again from the segments. It is kept in memory as the trail grows, and on disk as a snapshot
//! that is bound to the tree (see [`super::snapshot`]), so that a start need not read everything.
//!
//! Every map here is bounded (INVARIANT 7): by the operator's own data (playbooks accepted, resources of the inventory:
//! only permitted calls count), by a day (counts, daily bytes) or by a number (runs, see [`remembered`]).

mod remembered;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use self::remembered::{REMEMBERED_RUNS, UNDOABLE_EFFECTS, UNDOABLE_RUNS};

use super::effects::{Effect, Effects, Fate, Later};
use super::record::{Body, Found, Record, StoreChange};
use crate::model::{Digest, Given, Glass, Name, Order, Outcome, PlaybookId, ResourceName, RunId, RunState, Timestamp};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How far a playbook has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// The highest release that was ever accepted.
    pub release: u64,
    /// Its digest.
    pub component: Digest,
    /// What the operator went back to, on record, and has not gone forward from since.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub went_back: Option<Digest>,
    /// Every release that was ever accepted, with its digest.
    pub accepted: BTreeMap<u64, Digest>,
}

/// How often something was done lately, as policies see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// In the last five minutes.
    pub m5: u64,
    /// In the last hour.
    pub h1: u64,
    /// In the last 24 hours.
    pub d1: u64,
}

/// An intent without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// Its run.
    pub run: Option<RunId>,
    /// Its step within the run.
    pub step: Option<u32>,
    /// Who asked for it.
    pub playbook: PlaybookId,
    /// The verb.
    pub verb: String,
    /// On what.
    pub resource: String,
    /// When.
    pub t: Timestamp,
    /// The start of Guardian that wrote it.
    pub boot: String,
    /// Whether a recovery has put it on the trail as being in doubt.
    pub listed: bool,
    /// The intent whose effect this one puts back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undoes: Option<u64>,
}

/// One run, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Which.
    pub id: RunId,
    /// Of what.
    pub playbook: PlaybookId,
    /// Which release of it.
    pub release: u64,
    /// What went wrong.
    pub incident: Name,
    /// With what.
    pub target: ResourceName,
    /// How it stands: `executing` until the record of its end; `indeterminate` if the process went away before that.
    pub state: RunState,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in milliseconds; 0 until its end.
    pub millis: u64,
    /// Whether the record of its end is on the trail.
    pub ended: bool,
}

/// A plan that waits for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The digest of what it would do.
    pub plan: Digest,
    /// Until when people may approve.
    pub until: Timestamp,
}

/// Seconds and how many effects fell into each, oldest first.
pub(super) type Seconds = VecDeque<(u64, u32)>;

/// What the trail says about now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    high_water: BTreeMap<PlaybookId, HighWater>,
    last_seen: u64,
    /// By playbook, then `verb resource`.
    used: BTreeMap<PlaybookId, BTreeMap<String, Seconds>>,
    /// By playbook: the day (since 1970) and the bytes written on it.
    bytes: BTreeMap<PlaybookId, (u64, u64)>,
    open: BTreeMap<u64, OpenIntent>,
    effects: Effects,
    /// Orders as they were last given; those that have ended leave with the next one.
    orders: Vec<Given>,
    /// Plans that wait for people.
    waiting: BTreeMap<RunId, Waiting>,
    /// Glass that people broke, the last of each; what has ended leaves with the next one.
    glass: Vec<Glass>,
    runs: VecDeque<RunSummary>,
    policy: Option<Digest>,
    /// After a successor of a trail of which records were lost: runs from before this may have left undo material that
    /// nothing here speaks of.
    blind_until: u64,
}

impl State {
    /// How far a playbook has come; none if no release of it was ever accepted.
    #[must_use]
    pub fn high_water(&self, playbook: &PlaybookId) -> Option<&HighWater> {
        self.high_water.get(playbook)
    }

    /// Every playbook that was ever accepted.
    pub fn playbooks(&self) -> impl Iterator<Item = (&PlaybookId, &HighWater)> {
        self.high_water.iter()
    }

    /// The latest time on the trail; a clock well behind it was set back.
    #[must_use]
    pub const fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen)
    }

    /// How often the playbook had this effect on this resource lately: durable intents, whatever became of them.
    #[must_use]
    pub fn used(&self, playbook: &PlaybookId, verb: &str, resource: &str, now: Timestamp) -> Used {
        let Some(seconds) = self.used.get(playbook).and_then(|keys| keys.get(&used_key(verb, resource))) else {
            return Used::default();
        };
        // A second counts until all of it is past; one that lies ahead of a clock that was set back counts as now.
        let within = |window: u64| {
            let first = now.millis().saturating_sub(window) / 1000;
            seconds.iter().rev().take_while(|(second, _)| *second >= first).map(|(_, count)| u64::from(*count)).sum()
        };
        Used { m5: within(5 * MINUTE_MS), h1: within(HOUR_MS), d1: within(DAY_MS) }
    }

    /// What the playbook has added to the trail today (UTC), in bytes.
    #[must_use]
    pub fn bytes_today(&self, playbook: &PlaybookId, now: Timestamp) -> u64 {
        self.bytes.get(playbook).filter(|(day, _)| *day >= now.millis() / DAY_MS).map_or(0, |(_, bytes)| *bytes)
    }

    /// The most that any playbook has added in its latest day, in bytes.
    pub(super) fn busiest(&self) -> u64 {
        self.bytes.values().map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }

    /// Intents without an outcome, by record number. After a start, those of earlier starts are in doubt.
    #[must_use]
    pub const fn open_intents(&self) -> &BTreeMap<u64, OpenIntent> {
        &self.open
    }

    /// The runs that are remembered, oldest first: the last [`REMEMBERED_RUNS`], and of those before them whatever has no end
    /// yet, waits for people, or can still be put back.
    #[must_use]
    pub const fn runs(&self) -> &VecDeque<RunSummary> {
        &self.runs
    }

    /// What a run did that is neither committed nor put back, in order.
    #[must_use]
    pub fn effects(&self, run: &RunId) -> &[Effect] {
        self.effects.of(run)
    }

    /// The runs that [`State::effects`] knows something of.
    pub fn runs_with_effects(&self) -> impl Iterator<Item = &RunId> {
        self.effects.runs()
    }

    /// What stands on an effect of a run, so that it must not be put back.
    #[must_use]
    pub fn later(&self, run: &RunId, effect: &Effect) -> Option<Later> {
        self.effects.later(run, effect)
    }

    /// Whether the intent of this record has had an effect that something stands on by now.
    #[must_use]
    pub fn is_overtaken(&self, of: u64) -> bool {
        self.effects.later_than(of).is_some()
    }

    /// Runs from before this may have left undo material that no record here speaks of, because records were lost. 1970 if
    /// there are none.
    #[must_use]
    pub const fn blind_until(&self) -> Timestamp {
        Timestamp::from_millis(self.blind_until)
    }

    /// A run, if it is remembered.
    #[must_use]
    pub fn run(&self, id: &RunId) -> Option<&RunSummary> {
        self.runs.iter().rev().find(|run| run.id == *id)
    }

    /// An order as it was last recorded.
    #[must_use]
    pub fn order(&self, order: &Order) -> Option<&Given> {
        self.orders.iter().find(|given| given.what == *order)
    }

    /// The plans that wait for people.
    #[must_use]
    pub const fn waiting(&self) -> &BTreeMap<RunId, Waiting> {
        &self.waiting
    }

    /// Glass that people broke on this trail, the last of each person; some of it may have ended.
    #[must_use]
    pub fn glass(&self) -> &[Glass] {
        &self.glass
    }

    /// The policy set that was loaded last.
    #[must_use]
    pub const fn policy(&self) -> Option<Digest> {
        self.policy
    }

    /// Goes on by one record of `length` bytes.
    pub(super) fn apply(&mut self, record: &Record, length: usize) {
        self.last_seen = self.last_seen.max(record.t.millis());
        self.charge(record, length);
        match &record.body {
            Body::Boot { .. } => self.runs_are_over(),
            Body::Recovery { in_doubt, .. } => {
                for seq in in_doubt {
                    if let Some(open) = self.open.get_mut(seq) {
                        open.listed = true;
                    }
                }
            }
            Body::Policy { digest, .. } => self.policy = Some(*digest),
            Body::Trust { change: super::record::TrustChange::ClockReset, .. } => self.clock_reset(record.t),
            Body::Store { change, playbook, release, component, .. } => {
                self.store(*change, playbook, *release, *component)
            }
            Body::Successor { last_seen, blind_until, .. } => {
                self.last_seen = self.last_seen.max(last_seen.millis());
                self.blind_until = self.blind_until.max(blind_until.map_or(0, Timestamp::millis));
            }
            Body::HighWater { .. } => self.take_over(&record.body),
            Body::EarlierRun { .. } | Body::EarlierEffect { .. } => self.take_over_run(record),
            Body::Person { resource, .. } => self.effects.person_acted(resource.to_string(), record.seq, record.t),
            Body::Order(given) => {
                self.orders.retain(|earlier| earlier.what != given.what && earlier.holds(record.t));
                self.orders.push(given.clone());
            }
            Body::BreakGlass { person, reason, until } => {
                self.glass.retain(|earlier| earlier.person != *person && record.t < earlier.until);
                let (person, reason) = (person.clone(), reason.clone());
                self.glass.push(Glass { person, reason, at: record.t, until: *until });
            }
            _ => {
                self.apply_to_runs(record);
                self.apply_to_effects(record);
            }
        }
    }

    fn apply_to_runs(&mut self, record: &Record) {
        match &record.body {
            Body::RunStart { playbook, release, incident, .. } => {
                self.run_started(record, playbook, *release, incident)
            }
            Body::RunEnd { state, millis, .. } => {
                let of = |run: &&mut RunSummary| record.run.as_ref() == Some(&run.id);
                if let Some(run) = self.runs.iter_mut().rev().find(of) {
                    run.state = *state;
                    run.millis = *millis;
                    run.ended = state.is_end();
                }
                if let Some(run) = &record.run {
                    self.waiting.remove(run);
                }
                match &record.run {
                    Some(run) if *state == RunState::Healed => {
                        let target = self.run(run).map(|run| run.target.to_string());
                        self.effects.commit(run, target, (record.seq, record.t));
                    }
                    Some(run) if state.is_end() => self.effects.leave(run),
                    _ => {}
                }
            }
            Body::Waiting { plan, until, .. } => {
                if let Some(run) = &record.run {
                    self.waiting.insert(run.clone(), Waiting { plan: *plan, until: *until });
                    self.set_state(run, RunState::AwaitingApproval);
                }
            }
            Body::Approved { .. } => {
                if let Some(run) = &record.run {
                    self.waiting.remove(run);
                    self.set_state(run, RunState::Executing);
                }
            }
            _ => {}
        }
    }

    fn apply_to_effects(&mut self, record: &Record) {
        match &record.body {
            Body::Intent { action, playbook, class, undo, undoes, .. } => {
                let (verb, resource) = (action.verb().id(), action.resource_as_given());
                // Quotas are about what playbooks do; putting it back is the host's.
                if undoes.is_none() {
                    self.count(playbook, verb, &resource, record.t);
                }
                let effect = |step| Effect {
                    record: record.seq,
                    step,
                    action: action.clone(),
                    playbook: playbook.clone(),
                    class: *class,
                    undo: undo.clone(),
                    t: record.t,
                    fate: Fate::Open,
                    since: None,
                };
                self.effects.begun(record, effect, *undoes);
                self.open(record, playbook, verb, &resource, (false, *undoes));
            }
            Body::InDoubt { playbook, verb, resource, .. } => self.open(record, playbook, verb, resource, (true, None)),
            // INVARIANT 9: what may or may not have happened stays open until a hand or a person says what became of it.
            Body::Outcome { of, outcome, .. } => {
                self.effects.ended(record.run.as_ref(), *of, outcome);
                if !matches!(outcome, Outcome::Indeterminate { .. }) {
                    self.open.remove(of);
                }
            }
            Body::Reconciled { of, found } => {
                self.effects.found(record.run.as_ref(), *of, *found);
                if *found != Found::Unknown {
                    self.open.remove(of);
                }
            }
            Body::Settled { of, .. } => {
                self.effects.settled(*of, record.t);
                self.open.remove(of);
            }
            _ => {}
        }
    }

    fn set_state(&mut self, run: &RunId, state: RunState) {
        if let Some(run) = self.runs.iter_mut().rev().find(|known| known.id == *run) {
            run.state = state;
        }
    }

    fn open(
        &mut self,
        record: &Record,
        playbook: &PlaybookId,
        verb: &str,
        resource: &str,
        (listed, undoes): (bool, Option<u64>),
    ) {
        let open = OpenIntent {
            run: record.run.clone(),
            step: record.step,
            playbook: playbook.clone(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            t: record.t,
            boot: record.boot.clone(),
            listed,
            undoes,
        };
        self.open.insert(record.seq, open);
    }

    /// The clock had been ahead: what was counted in a future that will not come counts as of now, and ages from here.
    fn clock_reset(&mut self, now: Timestamp) {
        self.last_seen = now.millis();
        let (second, day) = (now.millis() / 1_000, now.millis() / DAY_MS);
        for seconds in self.used.values_mut().flat_map(BTreeMap::values_mut) {
            for (at, _) in seconds.iter_mut() {
                *at = (*at).min(second);
            }
        }
        for (at, _) in self.bytes.values_mut() {
            *at = (*at).min(day);
        }
    }

    fn store(&mut self, change: StoreChange, playbook: &PlaybookId, release: u64, component: Digest) {
        match change {
            StoreChange::Removed => {}
            StoreChange::Added | StoreChange::RolledBack => {
                let fresh = || HighWater { release, component, went_back: None, accepted: BTreeMap::new() };
                let mark = self.high_water.entry(playbook.clone()).or_insert_with(fresh);
                mark.accepted.insert(release, component);
                // Going back does not lower the mark: what lies between was superseded and stays so.
                mark.went_back = (change == StoreChange::RolledBack).then_some(component);
                if release >= mark.release {
                    mark.release = release;
                    mark.component = component;
                }
            }
        }
    }

    /// There is one writer, and it has just started: no run of an earlier one can be under way. One that waits for people
    /// is not: its process has recorded that and left.
    fn runs_are_over(&mut self) {
        let under_way = |run: &&mut RunSummary| !run.state.is_end() && run.state != RunState::AwaitingApproval;
        for run in self.runs.iter_mut().filter(under_way) {
            run.state = RunState::Indeterminate;
        }
    }

    fn run_started(&mut self, record: &Record, playbook: &PlaybookId, release: u64, incident: &crate::model::Incident) {
        let Some(id) = record.run.clone() else { return };
        self.runs.push_back(RunSummary {
            id,
            playbook: playbook.clone(),
            release,
            incident: incident.kind.clone(),
            target: incident.target.clone(),
            state: RunState::Executing,
            started: record.t,
            millis: 0,
            ended: false,
        });
        self.forget_old_runs();
    }

    fn count(&mut self, playbook: &PlaybookId, verb: &str, resource: &str, t: Timestamp) {
        let keys = self.used.entry(playbook.clone()).or_default();
        let seconds = keys.entry(used_key(verb, resource)).or_default();
        let second = t.millis() / 1000;
        match seconds.back_mut() {
            // A clock that was set back must not make room: it counts into the latest second.
            Some((last, count)) if *last >= second => *count = count.saturating_add(1),
            _ => seconds.push_back((second, 1)),
        }
        let oldest = t.millis().saturating_sub(DAY_MS) / 1000;
        while seconds.front().is_some_and(|(second, _)| *second < oldest) {
            seconds.pop_front();
        }
    }

    fn charge(&mut self, record: &Record, length: usize) {
        let running = |run: &RunId| self.runs.iter().rev().find(|known| known.id == *run).map(|run| &run.playbook);
        let playbook = record.body.playbook().or_else(|| record.run.as_ref().and_then(running));
        let Some(playbook) = playbook.cloned() else { return };
        let day = record.t.millis() / DAY_MS;
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let spent = self.bytes.entry(playbook).or_insert((day, 0));
        if spent.0 < day {
            *spent = (day, 0);
        }
        spent.1 = spent.1.saturating_add(length);
    }

    /// What an earlier trail knew of a playbook.
    fn take_over(&mut self, body: &Body) {
        let Body::HighWater { playbook, release, component, went_back, accepted, used } = body else { return };
        self.store(StoreChange::Added, playbook, *release, *component);
        if let Some(mark) = self.high_water.get_mut(playbook) {
            mark.accepted.extend(accepted.iter().copied());
            mark.went_back = *went_back;
        }
        for (key, seconds) in used {
            self.raise_counts(playbook, key, seconds);
        }
    }

    /// What the playbook has used, by `verb resource`.
    pub(super) fn counts(&self, playbook: &PlaybookId) -> impl Iterator<Item = (&String, &Seconds)> {
        self.used.get(playbook).into_iter().flatten()
    }

    /// Takes over counts that are higher, or known only there.
    fn raise_counts<'a>(&mut self, playbook: &PlaybookId, key: &str, theirs: impl IntoIterator<Item = &'a (u64, u32)>) {
        let ours = self.used.entry(playbook.clone()).or_default().entry(key.to_owned()).or_default();
        let mut raised: BTreeMap<u64, u32> = ours.iter().copied().collect();
        for (second, count) in theirs {
            let known = raised.entry(*second).or_default();
            *known = (*known).max(*count);
        }
        *ours = raised.into_iter().collect();
    }

    /// Takes over marks, counts, doubts and runs of an earlier place in the same trail, as far as they are known only there.
    /// An intent whose outcome stands on records that are lost is in doubt again: a person looks once more.
    pub(super) fn raise(&mut self, other: &Self) {
        for (playbook, counts) in &other.used {
            for (key, seconds) in counts {
                self.raise_counts(playbook, key, seconds);
            }
        }
        for (seq, open) in &other.open {
            self.open.entry(*seq).or_insert_with(|| open.clone());
        }
        self.raise_runs(other);
        self.raise_marks(other);
    }

    /// Takes over high-water marks that are higher, or known only there.
    fn raise_marks(&mut self, other: &Self) {
        for (playbook, theirs) in &other.high_water {
            let ours = self.high_water.entry(playbook.clone()).or_insert_with(|| theirs.clone());
            ours.accepted.extend(theirs.accepted.iter().map(|(digest, release)| (*digest, *release)));
            if theirs.release > ours.release {
                ours.release = theirs.release;
                ours.component = theirs.component;
            }
        }
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    /// The numbers of the open intents, for one record.
    pub(super) fn open_numbers(&self) -> Vec<u64> {
        // A thousand fit into one record with room to spare; more is a fault by itself.
        self.open.keys().copied().take(1000).collect()
    }
}

fn used_key(verb: &str, resource: &str) -> String {
    format!("{verb} {resource}")
}
