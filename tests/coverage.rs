//! Every WIT function, through the real gate: denied, allowed, and on the trail both times.
//!
//! The hands are those of a plan: real looks, simulated effects, so that no row of this table starts a service. A verb
//! without a row fails the structure test.

use std::collections::BTreeSet;
use std::sync::Arc;

use guardian::audit::{Body, MemoryLog, State, Trail};
use guardian::capability::{Hands, RealHands, ServiceTools, SimulatedHands};
use guardian::gate::{
    Approvals, Approved, EvidenceFolder, Gate, Halt, Leases, Ledger, Parts, Pass, Passage, UndoJournal,
};
use guardian::inventory::{Configuration, Inventory};
use guardian::model::{
    Action, Clock, ConfigVerb, Digest, ErrorCode, Glass, Incident, IncidentSource, Limits, LogLevel, ManualClock,
    Outcome, ResourceName, RunId, ServiceVerb, StorageVerb, Timestamp, Verb,
};
use guardian::orders::Orders;
use guardian::policy::{PolicySet, ResourceFact, Source, World};

const INVENTORY: &str = "[service.web]\ncommand = ['/bin/sleep', '1000']\ncheck = { supervisor = true }\n\
                         [service.vault]\ncommand = ['/bin/sleep', '1000']\n";

fn rows() -> Vec<(&'static str, Action)> {
    let service = |verb| Action::Service { verb, name: "web".to_owned() };
    vec![
        ("service.status", service(ServiceVerb::Status)),
        ("service.start", service(ServiceVerb::Start)),
        ("service.stop", service(ServiceVerb::Stop)),
        ("service.restart", service(ServiceVerb::Restart)),
        ("service.reload", service(ServiceVerb::Reload)),
        ("service.reset-failed", service(ServiceVerb::ResetFailed)),
        ("storage.usage", Action::Storage { verb: StorageVerb::Usage, name: "logs".to_owned() }),
        ("storage.reclaim", Action::Storage { verb: StorageVerb::Reclaim, name: "logs".to_owned() }),
        ("storage.purge", Action::Storage { verb: StorageVerb::Purge, name: "logs".to_owned() }),
        ("config.check", Action::Config { verb: ConfigVerb::Check, name: "site".to_owned() }),
        ("config.restore", Action::Config { verb: ConfigVerb::Restore, name: "site".to_owned() }),
        ("command.run", Action::Command { name: "rebuild".to_owned() }),
        ("probe.run", Action::Probe { name: "service.web".to_owned() }),
        ("log.write", Action::Log { level: LogLevel::Info, message: "a line".to_owned() }),
        ("clock.now", Action::Now),
        ("clock.sleep", Action::Sleep { milliseconds: 1 }),
    ]
}

/// A gate over a trail in memory, with the given permits.
pub(crate) struct Bench {
    pub(crate) gate: Gate,
    pub(crate) log: MemoryLog,
    pub(crate) trail: Arc<Trail>,
    pub(crate) parts: Parts,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    /// The gate of another run on the same host.
    pub(crate) fn gate_of(&self, playbook: &str, run: u32) -> Gate {
        gate(&self.parts, playbook, run, None, None)
    }
}

fn facts(inventory: &Inventory) -> Vec<ResourceFact> {
    let fact = |name: ResourceName| {
        let target = inventory.target_of(&name);
        ResourceFact { name, groups: BTreeSet::new(), protected: false, target }
    };
    inventory.names().into_iter().map(fact).collect()
}

/// What stands in the configuration before it is restored.
const SECRET: &str = "password swordfish";

/// What lies in a folder: a configuration that differs from its baseline, a command that would leave a trace, and a storage
/// that never has enough.
fn on_disk(folder: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, baseline) = (folder.join("site.conf"), folder.join("baseline.conf"));
    std::fs::write(&path, SECRET).expect("a configuration");
    std::fs::write(&baseline, "right").expect("a baseline");
    std::fs::set_permissions(&baseline, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let logs = folder.join("logs");
    std::fs::create_dir(&logs).expect("a folder of logs");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    for name in ["a.log", "b.tmp"] {
        std::fs::write(logs.join(name), SECRET.repeat(1_000)).expect("an old file");
        std::fs::File::open(logs.join(name)).and_then(|file| file.set_modified(old)).expect("an age");
    }
    format!(
        "[config.site]\npath = '{}'\nbaseline = '{}'\n[command.rebuild]\nrun = ['/usr/bin/touch', '{}/acted']\n\
         [storage.logs]\npath = '{}'\nfree = '1024TiB'\nsteps = [\n\
         {{ compress = '.', match = '*.log', older_than = '1h' }}, {{ purge = '.', match = '*.tmp', older_than = '1h' }} ]\n",
        path.display(),
        baseline.display(),
        folder.display(),
        logs.display()
    )
}

pub(crate) fn bench(permits: &str) -> Bench {
    bench_of(&[("permits/p.cedar", permits)], "")
}

/// With a whole policy, and `more` in the table of the configuration `site`.
pub(crate) fn bench_of(policies: &[(&str, &str)], more: &str) -> Bench {
    bench_with(policies, &|text| text.replace("[config.site]\n", &format!("[config.site]\n{more}\n")))
}

/// With a whole policy and a configuration that `edit` made of the usual one.
pub(crate) fn bench_with(policies: &[(&str, &str)], edit: &dyn Fn(String) -> String) -> Bench {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = edit(format!("{INVENTORY}{}", on_disk(folder.path())));
    let configuration = Configuration::parse(std::path::Path::new("guardian.toml"), &text).expect("an inventory");
    let inventory = configuration.inventory;
    let world = World::build(&facts(&inventory)).expect("a world");
    let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    let sources: Vec<Source> = policies.iter().map(source).collect();
    let policy = Arc::new(PolicySet::from_sources(&sources, &world).expect("a policy set"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(1_800_000_000_000)));
    let actor = guardian::model::Actor { uid: 0, login_uid: None };
    let log = MemoryLog::default();
    let trail = Arc::new(Trail::in_memory(log.clone(), State::default(), actor, Arc::clone(&clock)));
    let tools =
        ServiceTools { folder: folder.path().join("keeper"), bus: String::new(), keeper: guardian_tests::program() };
    let real = RealHands::on(&inventory, &tools, Arc::clone(&clock)).expect("hands");
    let parts = Parts {
        policy,
        trail: Arc::clone(&trail),
        hands: Arc::new(Hands::simulated(SimulatedHands::new(real, BTreeSet::new()))),
        ledger: Arc::new(Ledger::default()),
        leases: Arc::new(Leases::default()),
        orders: Arc::new(Orders::none()),
        inventory: Arc::new(inventory),
        evidence: Arc::new(EvidenceFolder::nowhere()),
        interrupted: Arc::default(),
        undo: Arc::new(UndoJournal::of_a_plan(Arc::new(Digest::of))),
        clock,
        limits: Limits::default(),
        approvals: Approvals::Required,
    };
    let gate = gate(&parts, "acme/healer", 1, None, None);
    Bench { gate, log, trail, parts, folder }
}

pub(crate) fn run_id(run: u32) -> RunId {
    RunId::new(Timestamp::from_millis(1_800_000_000_000), run)
}

pub(crate) fn gate(parts: &Parts, playbook: &str, run: u32, approved: Option<Approved>, glass: Option<Glass>) -> Gate {
    let incident = Incident {
        id: "i-1".to_owned(),
        kind: "service_crashed".parse().expect("a name"),
        target: "service.web".parse().expect("a resource"),
        severity: 5,
        source: IncidentSource::Operator,
        opened_at: Timestamp::from_millis(1_800_000_000_000),
        labels: Default::default(),
        bindings: Default::default(),
    };
    let run = run_id(run);
    let pass = Pass {
        leases: Arc::new(parts.leases.of(run.clone(), std::time::Duration::from_secs(60))),
        run,
        playbook: playbook.parse().expect("a playbook"),
        incident,
        approved,
        glass,
    };
    Gate::new(parts.clone(), pass, Box::new(|_| ()))
}

/// The narrowest permit for one verb.
fn permit(verb: Verb) -> String {
    let resource = match verb.interface().word() {
        "service" => "resource == Guardian::Service::\"web\"",
        "storage" => "resource == Guardian::Storage::\"logs\"",
        "config" => "resource == Guardian::Config::\"site\"",
        "command" => "resource == Guardian::Command::\"rebuild\"",
        "probe" => "resource == Guardian::Probe::\"service.web\"",
        _ => "resource == Guardian::Run::\"self\"",
    };
    format!(
        "@id(\"one\") permit (principal == Guardian::Playbook::\"acme/healer\", action == Guardian::Action::\"{verb}\", {resource});"
    )
}

/// A permit that is for something else than `verb`.
fn other(verb: Verb) -> String {
    permit(if verb == Verb::ClockNow { Verb::LogWrite } else { Verb::ClockNow })
}

#[test]
fn every_function_is_denied_without_a_permit_and_that_is_on_the_trail() {
    let rows = rows();
    assert_eq!(rows.len(), Verb::ALL.len());
    for (id, action) in rows {
        assert_eq!(action.verb().id(), id);
        let mut bench = bench(&other(action.verb()));
        match bench.gate.call(action.clone()) {
            Err(Halt::Guest(error)) => {
                assert_eq!(error.code, ErrorCode::Denied, "{id}: {error}");
                assert!(error.denial.is_some(), "{id}");
            }
            answer => panic!("{id}: {answer:?}"),
        }
        bench.trail.flush().expect("a flush");
        let records = bench.log.records();
        assert!(
            records.iter().any(|record| matches!(&record.body, Body::Denied { action, .. } if action == id)),
            "{id}"
        );
        assert!(!records.iter().any(|record| matches!(&record.body, Body::Intent { .. } | Body::Read { .. })), "{id}");
    }
}

#[test]
fn every_function_is_allowed_by_its_own_permit_and_that_is_on_the_trail() {
    for (id, action) in rows() {
        let mut bench = bench(&permit(action.verb()));
        let answer = bench.gate.call(action.clone());
        // A reload of a service that does not run is permitted, recorded, and does not work.
        let works = id != "service.reload";
        assert_eq!(answer.is_ok(), works, "{id}: {answer:?}");
        bench.trail.flush().expect("a flush");
        let records = bench.log.records();
        // Undo material and what a file holds stay outside the trail, in the clear and as the journal writes it.
        let shown = format!("{records:?} {answer:?}");
        assert!(!shown.contains("swordfish") && !shown.contains("cGFzc3dvcmQ"), "{id}: {shown}");
        let begun = records.iter().find_map(|record| match &record.body {
            Body::Intent { action: recorded, .. } if action.verb().class().is_effect() => {
                Some((record.seq, recorded.clone()))
            }
            Body::Read { action: recorded, .. } => Some((record.seq, recorded.clone())),
            _ => None,
        });
        let (seq, recorded) = begun.unwrap_or_else(|| panic!("{id}: no record of the call"));
        assert_eq!(recorded, action);
        let ended = records.iter().any(|record| {
            matches!(&record.body, Body::Outcome { of, outcome, .. } if *of == seq && works == matches!(outcome, Outcome::Done { .. }))
        });
        assert!(ended, "{id}: {records:?}");
    }
}

#[test]
fn nonsense_the_unknown_and_the_forbidden_look_alike() {
    let mut answers = Vec::new();
    for name in ["vault", "no-such-service", "web; rm -rf /", "../web", "-H host", "", "wéb", "\u{1b}[2J"] {
        let mut bench = bench(&permit(Verb::ClockNow));
        let action = Action::Service { verb: ServiceVerb::Restart, name: name.to_owned() };
        let Err(Halt::Guest(error)) = bench.gate.call(action) else { panic!("{name:?} was not denied") };
        let denial = error.denial.expect("a denial");
        answers.push((error.code, denial.code, denial.action));
        assert!(!denial.resource.contains('\u{1b}'), "{name:?}");
        let transcript = bench.gate.transcript();
        let transcript = transcript.lock().expect("a transcript");
        assert!(matches!(&transcript.calls[..], [call] if matches!(call.passage, Passage::Denied { .. })));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn undo_material_of_a_stop_is_referenced_in_its_intent() {
    let permits = format!(
        "{}\n{}",
        permit(Verb::Service(ServiceVerb::Start)),
        permit(Verb::Service(ServiceVerb::Stop)).replace("\"one\"", "\"two\"")
    );
    let mut bench = bench(&permits);
    let act = |verb| Action::Service { verb, name: "web".to_owned() };
    bench.gate.call(act(ServiceVerb::Start)).expect("a start");
    bench.gate.call(act(ServiceVerb::Stop)).expect("a stop");
    bench.trail.flush().expect("a flush");
    let records = bench.log.records();
    let intent = records
        .iter()
        .find(|record| matches!(&record.body, Body::Intent { action, .. } if *action == act(ServiceVerb::Stop)))
        .expect("the intent of the stop");
    let mut shown = serde_json::to_value(intent).expect("JSON");
    for (key, value) in [("boot", "BOOT"), ("seq", "SEQ")] {
        shown[key] = value.into();
    }
    shown["undo"]["digest"] = "KEYED-DIGEST".into();
    crate::golden::same("intent_with_undo.json", &serde_json::to_string_pretty(&shown).expect("JSON"));
}
