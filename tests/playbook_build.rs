//! A playbook from source to a run: built by cargo, made a component, compiled, linked, and asked to heal a service that
//! a closure plays. The longest way through the sandbox that needs no operator.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use guardian::cli::build::build;
use guardian::model::{
    Action, Digest, Incident, IncidentSource, Interface, Limits, Manifest, Reading, Reply, ServiceState, ServiceStatus,
    ServiceVerb, Timestamp, Verdict,
};
use guardian::sandbox::{Calls, Engine, GuestEnd, Program, compile, run, walk};

fn incident() -> Incident {
    Incident {
        id: "i-1".to_owned(),
        kind: "service_crashed".parse().unwrap(),
        target: "service.web".parse().unwrap(),
        severity: 5,
        source: IncidentSource::Monitor,
        opened_at: Timestamp::from_millis(1_700_000_000_000),
        labels: [].into(),
        bindings: [("target".to_owned(), "web".to_owned())].into(),
    }
}

/// A service that failed, and runs once it was started.
fn failed_service() -> (Calls, Arc<Mutex<Vec<&'static str>>>) {
    let called = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&called);
    let mut state = ServiceState::Failed;
    let calls: Calls = Box::new(move |action| {
        list.lock().unwrap().push(action.verb().id());
        Ok(match action {
            Action::Service { verb, name } => {
                assert_eq!(name, "web");
                match verb {
                    ServiceVerb::ResetFailed => state = ServiceState::Stopped,
                    ServiceVerb::Start => state = ServiceState::Running,
                    _ => {}
                }
                Reply::Service(ServiceStatus::of(state))
            }
            Action::Probe { name } => {
                assert_eq!(name, "service.web");
                let verdict = if state == ServiceState::Running { Verdict::Healthy } else { Verdict::Failed };
                Reply::Probe(Reading { verdict, latency_us: 900, seen: "HTTP 200".to_owned(), assumed: false })
            }
            Action::Storage { .. } | Action::Config { .. } | Action::Command { .. } | Action::Log { .. } => Reply::Done,
            Action::Now | Action::Sleep { .. } => Reply::Time { unix_ms: 1_700_000_000_000 },
        })
    });
    (calls, called)
}

#[test]
fn service_crashed_is_built_and_heals() {
    let out = tempfile::tempdir().unwrap();
    let built = build(&guardian_tests::workspace().join("playbooks/service_crashed"), Some(out.path())).unwrap();
    assert_eq!(built.path.file_name().unwrap(), "service_crashed-1.wasm");
    let shown = built.to_string();
    for line in ["built    guardian/service_crashed release 1", "digest   sha256:", "service  look at, start"] {
        assert!(shown.contains(line), "{shown}");
    }

    let component = std::fs::read(&built.path).unwrap();
    assert_eq!(Digest::of(&component), built.digest);
    assert!(component.len() < 64 * 1024, "{} bytes", component.len());
    assert_eq!(manifest_in(&component), built.manifest);
    // What it imports is what it uses, of everything that there is.
    let used = BTreeSet::from([Interface::Service, Interface::Probe, Interface::Log, Interface::Clock]);
    let all = BTreeSet::from(Interface::ALL);
    assert_eq!(walk(&component, &all, &Limits::default()).unwrap().interfaces, used);
    for path in [guardian_tests::workspace().to_str().unwrap(), "/.cargo/", "/home/", "/root/"] {
        let found = component.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!found, "the component tells where it was built: {path}");
    }

    let limits = Limits::default();
    let engine = Arc::new(Engine::new(&limits).unwrap());
    let program = Program::new(&engine, &compile(&component, &limits).unwrap(), &all).unwrap();
    for _ in 0..2 {
        let (calls, called) = failed_service();
        match run(&program, &incident(), &limits, calls) {
            GuestEnd::Returned(report) => assert_eq!(report.summary, "started web; it answers: HTTP 200"),
            other => panic!("{other:?}"),
        }
        let called = called.lock().unwrap();
        assert_eq!(*called, ["service.status", "log.write", "service.reset-failed", "service.start", "probe.run"]);
    }
}

#[test]
fn a_folder_without_a_manifest_is_refused_in_one_line() {
    let empty = tempfile::tempdir().unwrap();
    let error = format!("{:#}", build(empty.path(), None).unwrap_err());
    assert!(error.contains("playbook.toml") && !error.contains('\n'), "{error}");
}

fn manifest_in(component: &[u8]) -> Manifest {
    let sections = wasmparser::Parser::new(0).parse_all(component).filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CustomSection(section) if section.name() == Manifest::SECTION => Some(section.data()),
        _ => None,
    });
    let found: Vec<&[u8]> = sections.collect();
    assert_eq!(found.len(), 1);
    Manifest::from_json(found[0]).unwrap()
}
