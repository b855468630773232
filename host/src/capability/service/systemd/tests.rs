//! Against a real systemd, which `tests/lab/systemd.sh` starts in a namespace of its own. Needs root.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::capability::left_out::left_out;
use crate::capability::service::{ServiceHand, ServiceTools};
use crate::inventory::{Attempts, Healed, Inventory, Service, Supervisor as Supervised};
use crate::model::{ErrorCode, ExitStatus, GuestError, Outcome, Reply, ServiceState, ServiceVerb};

/// The units of the lab.
const UNITS: [(&str, &str); 7] = [
    ("plain", "ExecStart=/bin/sleep 1000\n"),
    ("back", "ExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=600ms\n"),
    ("reloads", "ExecStart=/bin/sleep 1000\nExecReload=/bin/true\n"),
    ("broken", "Type=oneshot\nExecStart=/bin/false\n"),
    ("stubborn", "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=2s\n"),
    // Ready once; from then on it dies before it has said so.
    (
        "fragile",
        "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'cd /run; [ -e fragile ] && exit 7; : >fragile; \
         systemd-notify --ready; exec sleep 1000'\n",
    ),
    ("grumpy", "ExecStart=/bin/sh -c 'trap \"exit 143\" TERM; while :; do sleep 0.05; done'\n"),
];

fn script() -> PathBuf {
    // Asked when it runs: another checkout that shares the target directory may have built the test.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs the test");
    Path::new(&package).join("../tests/lab/systemd.sh")
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn tools(home: &Path, bus: String) -> ServiceTools {
    ServiceTools { folder: home.join("keeper"), bus, keeper: "/nonexistent".into() }
}

fn inventory() -> Inventory {
    let service = |unit: String| Service {
        supervisor: Supervised::Systemd { unit },
        groups: Default::default(),
        protected: false,
        check: None,
        heal: Vec::new(),
        healed: Healed { successes: 1, grace: Duration::ZERO, deadline: Duration::from_secs(1) },
        unhealed: crate::inventory::AfterFailure::Leave,
        attempts: Attempts { attempts: 1, per: Duration::from_secs(1), cooldown: Duration::ZERO },
    };
    let mut services: std::collections::BTreeMap<Name, Service> =
        UNITS.iter().map(|(unit, _)| (name(unit), service(format!("{unit}.service")))).collect();
    services.insert(name("nosuch"), service("nosuch.service".to_owned()));
    Inventory { services, ..Inventory::default() }
}

/// A systemd with the units above.
struct Lab {
    folder: PathBuf,
    home: tempfile::TempDir,
}

impl Lab {
    /// None only where there is no root and whoever runs the tests allowed that: a test that did not run must not count
    /// as one that held.
    fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            left_out("starting a systemd in a namespace");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("lab");
        let units = folder.join("units");
        std::fs::create_dir_all(&units).unwrap();
        for (unit, text) in UNITS {
            let text = format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{text}");
            std::fs::write(units.join(format!("{unit}.service")), text).unwrap();
        }
        let output = Command::new(script()).arg("start").arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Self { folder, home })
    }

    fn address(&self) -> String {
        format!("unix:path={}/dbus/system_bus_socket", self.folder.display())
    }

    fn hand(&self) -> ServiceHand {
        ServiceHand::new(&inventory(), &tools(self.home.path(), self.address())).unwrap()
    }

    /// A person at the machine.
    fn person(&self, method: &str, arguments: &[&str]) {
        let manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
        let address = format!("--address={}", self.address());
        let output =
            Command::new("busctl").args([&address, "call"]).args(manager).arg(method).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn status(&self, unit: &str) -> ServiceStatus {
        self.hand().status(&name(unit), soon()).unwrap()
    }

    fn act(&self, verb: ServiceVerb, unit: &str) -> Result<ServiceStatus, GuestError> {
        self.act_by(verb, unit, soon())
    }

    fn act_by(&self, verb: ServiceVerb, unit: &str, deadline: Deadline) -> Result<ServiceStatus, GuestError> {
        let hand = self.hand();
        let prepared = hand.prepare(verb, &name(unit), deadline)?;
        match hand.perform(prepared, deadline).into_reply()? {
            Reply::Service(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    fn becomes(&self, unit: &str, state: ServiceState) -> ServiceStatus {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let status = self.status(unit);
            if status.state == state {
                return status;
            }
            assert!(Instant::now() < until, "{unit} is {status:?} and not {state:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&self, unit: &str) {
        self.person("KillUnit", &["ssi", &format!("{unit}.service"), "main", "9"]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("stop").arg(&self.folder).status();
    }
}

#[test]
fn every_verb_does_what_it_says() {
    let Some(lab) = Lab::start() else { return };
    let fresh = lab.status("plain");
    assert!(fresh.state == ServiceState::Stopped && !fresh.stopped_by_person && fresh.last_exit.is_none(), "{fresh:?}");
    assert_eq!(lab.act(ServiceVerb::Start, "plain").unwrap().state, ServiceState::Running);
    assert_eq!(lab.act(ServiceVerb::Start, "plain").unwrap().state, ServiceState::Running);
    assert_eq!(lab.act(ServiceVerb::Restart, "plain").unwrap().state, ServiceState::Running);
    assert_eq!(lab.act(ServiceVerb::Reload, "plain").unwrap_err().code, ErrorCode::Unavailable);
    let stopped = lab.act(ServiceVerb::Stop, "plain").unwrap();
    assert!(stopped.state == ServiceState::Stopped && !stopped.stopped_by_person, "our own stop: {stopped:?}");
    assert_eq!(lab.act(ServiceVerb::Stop, "plain").unwrap().state, ServiceState::Stopped);
    assert_eq!(lab.act(ServiceVerb::Start, "plain").unwrap().state, ServiceState::Running);

    assert_eq!(lab.act(ServiceVerb::Reload, "reloads").unwrap_err().code, ErrorCode::Failed, "it does not run");
    lab.act(ServiceVerb::Start, "reloads").unwrap();
    assert_eq!(lab.act(ServiceVerb::Reload, "reloads").unwrap().state, ServiceState::Running);

    let broken = lab.act(ServiceVerb::Start, "broken").unwrap_err();
    assert!(broken.code == ErrorCode::Failed && broken.message.contains("failed"), "{broken}");
    assert_eq!(lab.status("broken").last_exit, Some(ExitStatus::Code(1)));
    assert_eq!(lab.act(ServiceVerb::ResetFailed, "broken").unwrap().state, ServiceState::Stopped);

    let nosuch = lab.act(ServiceVerb::Start, "nosuch").unwrap_err();
    assert!(nosuch.code == ErrorCode::NotFound && nosuch.message.contains("nosuch.service"), "{nosuch}");
}

#[test]
fn a_crash_is_healed_and_a_persons_stop_is_not() {
    let Some(lab) = Lab::start() else { return };
    lab.act(ServiceVerb::Start, "plain").unwrap();
    lab.kill("plain");
    let crashed = lab.becomes("plain", ServiceState::Failed);
    assert!(!crashed.stopped_by_person && crashed.last_exit == Some(ExitStatus::Signal(9)), "{crashed:?}");
    assert_eq!(lab.act(ServiceVerb::Restart, "plain").unwrap().state, ServiceState::Running);

    // `grumpy` leaves with 143, which systemd calls failed; a person stopped it all the same.
    for unit in ["plain", "grumpy"] {
        lab.act(ServiceVerb::Start, unit).unwrap();
        lab.person("StopUnit", &["ss", &format!("{unit}.service"), "replace"]);
        let stopped = lab.becomes(unit, ServiceState::Stopped);
        assert!(stopped.stopped_by_person, "{unit}: {stopped:?}");
        for verb in [ServiceVerb::Start, ServiceVerb::Restart] {
            let refused = lab.act(verb, unit).unwrap_err();
            assert!(refused.code == ErrorCode::Failed && refused.message.contains("by a person"), "{refused}");
        }
        lab.person("StartUnit", &["ss", &format!("{unit}.service"), "replace"]);
        lab.becomes(unit, ServiceState::Running);
        assert_eq!(lab.act(ServiceVerb::Restart, unit).unwrap().state, ServiceState::Running, "handed back");
    }

    // A person's stop after our own, of another invocation, is theirs again.
    lab.act(ServiceVerb::Stop, "plain").unwrap();
    lab.act(ServiceVerb::Start, "plain").unwrap();
    lab.person("StopUnit", &["ss", "plain.service", "replace"]);
    assert!(lab.becomes("plain", ServiceState::Stopped).stopped_by_person);
}

#[test]
fn a_start_that_fails_after_an_earlier_life_is_no_persons_stop() {
    let Some(lab) = Lab::start() else { return };
    lab.act(ServiceVerb::Start, "fragile").unwrap();
    lab.kill("fragile");
    lab.becomes("fragile", ServiceState::Failed);
    for _ in 0..2 {
        let error = lab.act(ServiceVerb::Restart, "fragile").unwrap_err();
        assert!(error.code == ErrorCode::Failed && error.message.contains("systemd ended"), "{error}");
        let dead = lab.status("fragile");
        assert!(dead.state == ServiceState::Failed && !dead.stopped_by_person, "{dead:?}");
        assert_eq!(dead.last_exit, Some(ExitStatus::Code(7)));
    }
}

#[test]
fn auto_restart_is_waited_for_and_not_fought() {
    let Some(lab) = Lab::start() else { return };
    lab.act(ServiceVerb::Start, "back").unwrap();
    lab.kill("back");
    assert_eq!(lab.becomes("back", ServiceState::Restarting).state, ServiceState::Restarting);
    let late = lab.act_by(ServiceVerb::Restart, "back", Deadline::after(Duration::from_millis(150))).unwrap_err();
    assert_eq!(late.code, ErrorCode::Timeout, "nothing was asked of systemd: {late}");
    let after = lab.act(ServiceVerb::Restart, "back").unwrap();
    assert_eq!(after.state, ServiceState::Running);
    assert_eq!(after.restarts, 1, "systemd did it; a restart of ours would have set this to 0");
}

#[test]
fn an_answer_that_is_late_is_not_known_and_a_persons_job_is_not_replaced() {
    let Some(lab) = Lab::start() else { return };
    lab.act(ServiceVerb::Start, "stubborn").unwrap();
    let hand = lab.hand();
    let prepared = hand.prepare(ServiceVerb::Stop, &name("stubborn"), soon()).unwrap();
    let outcome = hand.perform(prepared, Deadline::after(Duration::from_millis(400)));
    assert!(matches!(outcome, Outcome::Indeterminate { .. }), "{outcome:?}");
    lab.becomes("stubborn", ServiceState::Failed);
    lab.act(ServiceVerb::Start, "stubborn").unwrap();
    lab.person("StopUnit", &["ss", "stubborn.service", "replace"]);
    lab.becomes("stubborn", ServiceState::Stopping);
    let unit = SystemdUnit::new(
        &name("stubborn"),
        "stubborn.service",
        &Bus::new(&lab.address()),
        Folder::open(lab.home.path()).unwrap(),
    );
    assert!(matches!(unit.start(soon()), Err(HandError::Busy { .. })), "a person's stop is under way");
}

#[test]
fn a_bus_that_never_answers_holds_nobody() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("bus");
    // It takes the connection and says nothing.
    let _listener = UnixListener::bind(&socket).unwrap();
    let bus = format!("unix:path={}", socket.display());
    let hand = ServiceHand::new(&inventory(), &tools(home.path(), bus)).unwrap();
    let begun = Instant::now();
    let error = hand.prepare(ServiceVerb::Restart, &name("plain"), Deadline::after(Duration::from_millis(200)));
    assert_eq!(error.unwrap_err().code, ErrorCode::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_machine_without_systemd_is_told_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let bus = format!("unix:path={}/nothing", home.path().display());
    let hand = ServiceHand::new(&inventory(), &tools(home.path(), bus)).unwrap();
    let error = hand.prepare(ServiceVerb::Restart, &name("plain"), soon()).unwrap_err();
    assert!(error.code == ErrorCode::Unavailable && error.message.contains("command"), "{error}");
}
