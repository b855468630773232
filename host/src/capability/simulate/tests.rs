//! Plans over a real service that must not notice.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::capability::service::ServiceTools;
use crate::inventory::{Attempts, Check, CommandLine, Healed, Inventory, Look, Service, Supervisor};
use crate::model::{ErrorCode, ManualClock, Timestamp, Verdict};
use std::collections::BTreeSet;

struct Bench {
    home: tempfile::TempDir,
    real: RealHands,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let command = CommandLine {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("touch {}/acted", home.path().display())],
            user: None,
            directory: None,
            environment: BTreeMap::new(),
            stop_time: Duration::from_secs(1),
            settle_time: Duration::ZERO,
            reload_signal: Some(1),
            output_bytes: 1_000,
            open_files: 64,
        };
        let (look, second) = (Look::Supervisor, Duration::from_secs(1));
        let web = Service {
            supervisor: Supervisor::Process(command),
            groups: Default::default(),
            protected: false,
            check: Some(Check { look, every: second, timeout: second, slow: None, fail_after: 1 }),
            heal: Vec::new(),
            healed: Healed { successes: 1, grace: Duration::ZERO, deadline: second },
            unhealed: crate::inventory::AfterFailure::Leave,
            attempts: Attempts { attempts: 1, per: second, cooldown: Duration::ZERO },
        };
        let inventory = Inventory { services: [("web".parse().unwrap(), web)].into(), ..Inventory::default() };
        let tools =
            ServiceTools { folder: home.path().join("keeper"), bus: String::new(), keeper: "/nonexistent".into() };
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let real = RealHands::on(&inventory, &tools, clock).unwrap();
        Self { home, real }
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn service(verb: ServiceVerb) -> Action {
    Action::Service { verb, name: "web".to_owned() }
}

fn act(hands: &SimulatedHands, verb: ServiceVerb) -> Result<Reply, GuestError> {
    let prepared = hands.prepare(&service(verb), soon())?;
    hands.perform(prepared, soon()).into_reply()
}

fn state(hands: &SimulatedHands) -> (ServiceState, bool) {
    match hands.observe(&service(ServiceVerb::Status), soon()) {
        Outcome::Done { reply: Reply::Service(status) } => (status.state, status.assumed),
        other => panic!("{other:?}"),
    }
}

fn check(hands: &SimulatedHands) -> (Verdict, bool) {
    match hands.observe(&Action::Probe { name: "service.web".to_owned() }, soon()) {
        Outcome::Done { reply: Reply::Probe(reading) } => (reading.verdict, reading.assumed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_sees_what_it_assumed_and_the_world_sees_nothing() {
    let bench = Bench::new();
    let hands = SimulatedHands::new(bench.real.clone(), BTreeSet::new());
    assert_eq!((state(&hands), check(&hands)), ((ServiceState::Stopped, false), (Verdict::Failed, false)));
    act(&hands, ServiceVerb::Restart).unwrap();
    assert_eq!((state(&hands), check(&hands)), ((ServiceState::Running, true), (Verdict::Healthy, true)));
    let prepared = hands.prepare(&service(ServiceVerb::Stop), soon()).unwrap();
    assert_eq!(prepared.undo().map(|undo| undo.kind()), Some("service.start"), "undo follows what is assumed");
    let _ = hands.perform(prepared, soon());
    assert_eq!((state(&hands), check(&hands)), ((ServiceState::Stopped, true), (Verdict::Failed, true)));
    assert!(!bench.home.path().join("acted").exists());
    assert!(!bench.home.path().join("keeper/web/state.json").exists());
}

#[test]
fn the_effect_that_is_assumed_to_fail_fails_alone() {
    let hands = SimulatedHands::new(Bench::new().real, BTreeSet::from([2]));
    act(&hands, ServiceVerb::Start).unwrap();
    let error = act(&hands, ServiceVerb::Stop).unwrap_err();
    assert!(error.code == ErrorCode::Failed && error.message.contains("fail:2"), "{error}");
    assert_eq!(state(&hands).0, ServiceState::Running, "a failed effect leaves what was");
    act(&hands, ServiceVerb::Stop).unwrap();
    assert_eq!(state(&hands).0, ServiceState::Stopped);
}

#[test]
fn effects_and_reads_have_separate_doors() {
    let bench = Bench::new();
    let simulated = SimulatedHands::new(bench.real.clone(), BTreeSet::new());
    let hands: [&dyn Hand; 2] = [&bench.real, &simulated];
    for hand in hands {
        for verb in crate::model::Verb::ALL {
            let action = match verb {
                crate::model::Verb::Service(verb) => service(verb),
                // Their own tests have the real parts that these need.
                crate::model::Verb::Storage(_) | crate::model::Verb::Config(_) | crate::model::Verb::CommandRun => {
                    continue;
                }
                crate::model::Verb::ProbeRun => Action::Probe { name: "service.web".to_owned() },
                crate::model::Verb::LogWrite => {
                    Action::Log { level: crate::model::LogLevel::Info, message: "a".to_owned() }
                }
                crate::model::Verb::ClockNow => Action::Now,
                crate::model::Verb::ClockSleep => Action::Sleep { milliseconds: 1 },
            };
            let prepared = hand.prepare(&action, soon());
            let observed = hand.observe(&action, soon()).into_reply();
            assert_eq!(prepared.is_ok(), verb.class().is_effect(), "{verb}");
            assert_eq!(observed.is_ok(), !verb.class().is_effect(), "{verb}");
        }
        for name in ["nobody", "../web", ""] {
            let action = Action::Service { verb: ServiceVerb::Restart, name: name.to_owned() };
            assert!(hand.prepare(&action, soon()).is_err(), "{name}");
        }
    }
}

#[test]
fn a_plan_does_not_wait() {
    let hands = SimulatedHands::new(Bench::new().real, BTreeSet::new());
    let slept = hands.observe(&Action::Sleep { milliseconds: 4_000 }, soon());
    assert_eq!(slept, Outcome::Done { reply: Reply::Time { unix_ms: 5_000 } });
    assert_eq!(hands.observe(&Action::Now, soon()), slept);
    assert!(matches!(hands.observe(&Action::Sleep { milliseconds: 60_000 }, soon()), Outcome::Failed { .. }));
}

#[test]
fn a_plan_assumes_what_a_restore_would_leave() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let (path, baseline) = (home.path().join("a.conf"), home.path().join("right.conf"));
    std::fs::write(&path, "wrong").unwrap();
    std::fs::write(&baseline, "right").unwrap();
    std::fs::set_permissions(&baseline, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "[config.site]\npath = '{}'\nbaseline = '{}'\n[command.touch]\nrun = ['/usr/bin/touch', '{}/acted']\n",
        path.display(),
        baseline.display(),
        home.path().display()
    );
    let read = crate::inventory::Configuration::parse(std::path::Path::new("guardian.toml"), &text).unwrap();
    let tools = ServiceTools { folder: home.path().join("keeper"), bus: String::new(), keeper: "/nonexistent".into() };
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
    let hands = SimulatedHands::new(RealHands::on(&read.inventory, &tools, clock).unwrap(), BTreeSet::new());
    let restore = Action::Config { verb: ConfigVerb::Restore, name: "site".to_owned() };
    let check = Action::Config { verb: ConfigVerb::Check, name: "site".to_owned() };
    let state = |action: &Action| match hands.observe(action, soon()) {
        Outcome::Done { reply: Reply::Config(status) } => (status.state, status.assumed),
        other => panic!("{other:?}"),
    };
    assert_eq!(state(&check), (ConfigState::Differs, false));
    for kept in [true, false] {
        let prepared = hands.prepare(&restore, soon()).unwrap();
        // The second time there is nothing to do, so there is nothing to keep.
        assert_eq!(prepared.undo().is_some(), kept);
        assert!(matches!(hands.perform(prepared, soon()), Outcome::Done { .. }));
        assert_eq!(state(&check), (ConfigState::Matches, true));
    }
    assert_eq!(hands.check(&"config.site".parse().unwrap(), soon()).verdict, Verdict::Healthy);
    let run = hands.prepare(&Action::Command { name: "touch".to_owned() }, soon()).unwrap();
    match hands.perform(run, soon()) {
        Outcome::Done { reply: Reply::Command(result) } => assert!(result.assumed && result.success),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "wrong");
    assert!(!home.path().join("acted").exists());
}
