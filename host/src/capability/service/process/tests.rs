//! Real keepers and real services. The keeper is the program `guardian` beside this test: `cargo build -p guardian`.

mod trouble;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::*;
use crate::capability::left_out::left_out;
use crate::capability::service::{SYSTEM_BUS, ServiceHand, ServiceTools};
use crate::inventory::{Attempts, Healed, Inventory, Service, Supervisor as Supervised};
use crate::model::{ErrorCode, GuestError, Outcome, Reply, ServiceVerb};

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("guardian");
    assert!(program.exists(), "build the program first: cargo build -p guardian");
    program
}

fn sh(script: &str) -> CommandLine {
    CommandLine {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        user: None,
        directory: None,
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        stop_time: Duration::from_secs(5),
        settle_time: Duration::from_millis(50),
        reload_signal: None,
        output_bytes: 64 * 1024,
        open_files: 256,
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn inventory(command: CommandLine) -> Inventory {
    let service = Service {
        supervisor: Supervised::Process(command),
        groups: Default::default(),
        protected: false,
        check: None,
        heal: Vec::new(),
        healed: Healed { successes: 1, grace: Duration::ZERO, deadline: Duration::from_secs(1) },
        unhealed: crate::inventory::AfterFailure::Leave,
        attempts: Attempts { attempts: 1, per: Duration::from_secs(1), cooldown: Duration::ZERO },
    };
    Inventory { services: [(web(), service)].into(), ..Inventory::default() }
}

fn web() -> Name {
    "web".parse().unwrap()
}

/// A home with one service, which does not survive the test.
struct Bench {
    home: tempfile::TempDir,
    command: CommandLine,
}

impl Bench {
    fn new(command: CommandLine) -> Self {
        Self { home: tempfile::tempdir().unwrap(), command }
    }

    /// As a Guardian that was just started sees it.
    fn hand(&self) -> ServiceHand {
        self.hand_with(program())
    }

    fn hand_with(&self, keeper: PathBuf) -> ServiceHand {
        let tools = ServiceTools { folder: self.home.path().join("keeper"), bus: SYSTEM_BUS.to_owned(), keeper };
        ServiceHand::new(&inventory(self.command.clone()), &tools).unwrap()
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.home.path().join("keeper/web")).unwrap()
    }

    fn record(&self) -> Record {
        Record::read(&self.folder()).unwrap().unwrap()
    }

    fn act(&self, verb: ServiceVerb) -> Result<ServiceStatus, GuestError> {
        act(&self.hand(), verb, soon())
    }

    fn status(&self) -> ServiceStatus {
        self.hand().status(&web(), soon()).unwrap()
    }

    fn output(&self) -> String {
        String::from_utf8(self.hand().supervisor(&web()).unwrap().last_output(64 * 1024)).unwrap()
    }

    fn child(&self) -> Identity {
        self.record().child.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.hand().by_person(ServiceVerb::Stop, &web(), soon());
    }
}

fn act(hand: &ServiceHand, verb: ServiceVerb, deadline: Deadline) -> Result<ServiceStatus, GuestError> {
    let prepared = hand.prepare(verb, &web(), deadline)?;
    match hand.perform(prepared, deadline).into_reply()? {
        Reply::Service(status) => Ok(status),
        other => panic!("{other:?}"),
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(process: &Identity, signal: Signal) {
    process.open().expect("it lives").signal(signal);
}

fn pids_in(output: &str) -> Vec<i32> {
    output.lines().filter_map(|line| line.strip_prefix("pid ")?.parse().ok()).collect()
}

#[test]
fn a_service_outlives_the_hand_that_started_it_and_the_next_one_finds_it() {
    let bench = Bench::new(sh("echo pid $$; exec sleep 1000"));
    assert_eq!(bench.status().state, ServiceState::Stopped);
    let started = bench.act(ServiceVerb::Start).unwrap();
    assert_eq!(started.state, ServiceState::Running);
    let child = bench.child();
    // Left alone: the same process, not a second one.
    assert_eq!(bench.act(ServiceVerb::Start).unwrap().state, ServiceState::Running);
    assert_eq!(bench.child(), child);
    assert_eq!(bench.act(ServiceVerb::Restart).unwrap().state, ServiceState::Running);
    assert_ne!(bench.child(), child);
    assert!(!child.alive());
    let stopped = bench.act(ServiceVerb::Stop).unwrap();
    assert!(stopped.state == ServiceState::Stopped && !stopped.stopped_by_person, "{stopped:?}");
    assert_eq!(stopped.last_exit, Some(ExitStatus::Signal(15)));
    assert_eq!(bench.act(ServiceVerb::Stop).unwrap().state, ServiceState::Stopped);
    assert_eq!(bench.act(ServiceVerb::Start).unwrap().state, ServiceState::Running);
}

#[test]
fn a_crash_is_seen_with_its_reason_and_healed() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    signal(&bench.child(), Signal::KILL);
    eventually("the crash is seen", || bench.status().state == ServiceState::Failed);
    assert_eq!(bench.status().last_exit, Some(ExitStatus::Signal(9)));
    // A stranger's SIGTERM is a crash as well: nobody asked us.
    bench.act(ServiceVerb::Restart).unwrap();
    signal(&bench.child(), Signal::TERM);
    eventually("the crash is seen", || bench.status().state == ServiceState::Failed);
    assert!(!bench.status().stopped_by_person);
    bench.act(ServiceVerb::ResetFailed).unwrap();
    assert_eq!(bench.status(), ServiceStatus::of(ServiceState::Stopped));
    assert_eq!(bench.act(ServiceVerb::Start).unwrap().state, ServiceState::Running);
}

#[test]
fn what_a_person_stopped_is_not_healed_until_a_person_starts_it() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    let stopped = bench.hand().by_person(ServiceVerb::Stop, &web(), soon()).unwrap();
    assert!(stopped.stopped_by_person);
    for verb in [ServiceVerb::Start, ServiceVerb::Restart] {
        let refused = bench.act(verb).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Failed);
        assert!(refused.message.contains("stopped by a person"), "{refused}");
    }
    bench.act(ServiceVerb::ResetFailed).unwrap();
    assert!(bench.status().stopped_by_person, "that was no failure to forget");
    bench.hand().by_person(ServiceVerb::Start, &web(), soon()).unwrap();
    assert_eq!(bench.act(ServiceVerb::Restart).unwrap().state, ServiceState::Running);
}

#[test]
fn a_person_who_stops_between_look_and_act_wins() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    let hand = bench.hand();
    let prepared = hand.prepare(ServiceVerb::Restart, &web(), soon()).unwrap();
    hand.by_person(ServiceVerb::Stop, &web(), soon()).unwrap();
    assert!(matches!(hand.perform(prepared, soon()), Outcome::Failed { .. }));
    assert_eq!(bench.status().state, ServiceState::Stopped);
}

#[test]
fn a_killed_keeper_is_noticed_and_its_service_goes_on() {
    let bench = Bench::new(sh("echo pid $$; while :; do echo tick; sleep 0.02; done"));
    bench.act(ServiceVerb::Start).unwrap();
    let (keeper, child) = (bench.record().keeper, bench.child());
    signal(&keeper, Signal::KILL);
    eventually("the keeper is gone", || !keeper.alive());
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.alive(), "the service lives on, and writing does not kill it");
    assert_eq!(bench.status().state, ServiceState::Running);
    let adopted = bench.record();
    assert!(adopted.adopted && adopted.kept() && adopted.keeper != keeper && adopted.child == Some(child.clone()));
    let before = bench.output().len();
    eventually("its output goes on", || bench.output().len() > before);
    // The new keeper can do everything the old one could.
    assert_eq!(bench.act(ServiceVerb::Restart).unwrap().state, ServiceState::Running);
    assert!(!child.alive());
    assert!(!bench.record().adopted);
}

#[test]
fn keeper_and_service_both_killed_is_a_failure_and_healed() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    let (keeper, child) = (bench.record().keeper, bench.child());
    signal(&keeper, Signal::KILL);
    signal(&child, Signal::KILL);
    eventually("both are gone", || !keeper.alive() && !child.alive());
    assert_eq!(bench.status().state, ServiceState::Failed);
    assert_eq!(bench.act(ServiceVerb::Restart).unwrap().state, ServiceState::Running);
}

#[test]
fn a_recycled_pid_is_never_signalled() {
    let bench = Bench::new(sh("exec sleep 1000"));
    let mut innocent =
        Command::new("/bin/sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Start times are counted in ticks of 10 ms: it has to have another one than the service.
    std::thread::sleep(Duration::from_millis(50));
    bench.act(ServiceVerb::Start).unwrap();
    bench.act(ServiceVerb::Stop).unwrap();
    // A record as a power cut leaves it, whose pids have gone to somebody else since.
    let mut record = serde_json::to_value(bench.record()).unwrap();
    for process in ["keeper", "child"] {
        record[process]["pid"] = innocent.id().into();
    }
    record["phase"] = "running".into();
    record["stop"] = serde_json::Value::Null;
    bench.folder().replace("state.json", record.to_string().as_bytes()).unwrap();
    assert_eq!(bench.status().state, ServiceState::Failed);
    bench.act(ServiceVerb::Stop).unwrap();
    assert_eq!(bench.act(ServiceVerb::Restart).unwrap().state, ServiceState::Running);
    assert_eq!(bench.act(ServiceVerb::Stop).unwrap().state, ServiceState::Stopped);
    assert!(innocent.try_wait().unwrap().is_none(), "somebody else's process was signalled");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn what_ignores_sigterm_is_killed_after_its_stop_time_with_all_it_started() {
    let script = "trap '' TERM; echo pid $$; (trap '' TERM; setsid sh -c 'echo pid $$; sleep 1000' &) ; \
                  while :; do sleep 1; done";
    let bench = Bench::new(CommandLine { stop_time: Duration::from_millis(300), ..sh(script) });
    bench.act(ServiceVerb::Start).unwrap();
    eventually("both have spoken", || pids_in(&bench.output()).len() == 2);
    let family: Vec<Identity> = pids_in(&bench.output()).into_iter().filter_map(Identity::of).collect();
    assert_eq!(family.len(), 2);
    let begun = Instant::now();
    let stopped = bench.act(ServiceVerb::Stop).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "it had its time");
    assert_eq!(stopped.last_exit, Some(ExitStatus::Signal(9)));
    assert!(family.iter().all(|process| !process.alive()), "the whole family ended, in a session of its own or not");
}

#[test]
fn a_crash_takes_the_leftovers_with_it() {
    let bench = Bench::new(sh("sleep 1000 & echo pid $!; exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it has spoken", || pids_in(&bench.output()).len() == 1);
    let helper = Identity::of(pids_in(&bench.output())[0]).unwrap();
    signal(&bench.child(), Signal::KILL);
    eventually("the crash is seen", || bench.status().state == ServiceState::Failed);
    assert!(!helper.alive(), "a leftover would hold the port that the next start needs");
}

#[test]
fn a_stop_that_is_too_slow_is_not_known() {
    let bench = Bench::new(CommandLine {
        stop_time: Duration::from_millis(800),
        ..sh("trap '' TERM; while :; do sleep 0.1; done")
    });
    bench.act(ServiceVerb::Start).unwrap();
    let hand = bench.hand();
    let prepared = hand.prepare(ServiceVerb::Stop, &web(), soon()).unwrap();
    let outcome = hand.perform(prepared, Deadline::after(Duration::from_millis(100)));
    assert!(matches!(outcome, Outcome::Indeterminate { .. }), "{outcome:?}");
    eventually("it ends all the same", || bench.status().state == ServiceState::Stopped);
}

#[test]
fn a_service_that_does_not_settle_has_failed() {
    for (script, says) in [("exit 3", "status 3"), ("kill -9 $$", "signal 9")] {
        let bench = Bench::new(CommandLine { settle_time: Duration::from_millis(500), ..sh(script) });
        let error = bench.act(ServiceVerb::Start).unwrap_err();
        assert_eq!(error.code, ErrorCode::Failed);
        assert!(error.message.contains(says), "{error}");
        assert_eq!(bench.status().state, ServiceState::Failed);
    }
    let mut missing = sh("");
    missing.argv = vec!["/no/such/program".to_owned()];
    let error = Bench::new(missing.clone()).act(ServiceVerb::Start).unwrap_err();
    assert!(error.message.contains("/no/such/program"), "{error}");
    // A restart that got half way says so.
    let mut bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    bench.command = missing;
    let error = bench.act(ServiceVerb::Restart).unwrap_err();
    assert!(error.message.contains("was stopped for its restart") && error.code == ErrorCode::Failed, "{error}");
    let nobody = Bench::new(CommandLine { user: Some("no-such-user".to_owned()), ..sh("exec sleep 1000") });
    assert!(nobody.act(ServiceVerb::Start).unwrap_err().message.contains("no-such-user"));
}

#[test]
fn nothing_is_handed_down_by_accident() {
    let script = "env; ls -l /proc/self/fd | wc -l; umask; ulimit -n; pwd; echo end; \
                  exec sleep 1000";
    let environment = [("PATH", "/usr/bin:/bin"), ("COLOUR", "green")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let bench = Bench::new(CommandLine { environment: environment.into(), ..sh(script) });
    // A descriptor that a careless parent left open for its children.
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it has spoken", || bench.output().lines().any(|line| line == "end"));
    let output = bench.output();
    let lines: Vec<&str> = output.lines().collect();
    // PWD, OLDPWD, SHLVL and _ are the shell's own.
    let own = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let mut variables: Vec<&str> = lines[..lines.len() - 5].to_vec();
    variables.retain(|line| !own.iter().any(|own| line.starts_with(own)));
    variables.sort_unstable();
    assert_eq!(variables, ["COLOUR=green", "PATH=/usr/bin:/bin"]);
    // "total 0", standard input, output and error, and the directory that `ls` itself reads.
    assert_eq!(lines[lines.len() - 5..], ["5", "0022", "256", "/", "end"], "{output}");
}

#[test]
fn it_runs_as_its_own_user_and_with_no_group_more() {
    if !rustix::process::geteuid().is_root() {
        return left_out("running a service as another user (CAP_SETUID)");
    }
    let user = Some("65534:65534".to_owned());
    let script = "echo uid $(id -u) groups $(id -G); exec sleep 1000";
    let bench = Bench::new(CommandLine { user, ..sh(script) });
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it has spoken", || bench.output().lines().any(|line| line == "uid 65534 groups 65534"));
}

#[test]
fn output_that_floods_stays_bounded() {
    let bench = Bench::new(CommandLine {
        output_bytes: 10_000,
        ..sh("while :; do echo 0123456789012345678901234567890123456789; done")
    });
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it was turned over", || bench.folder().dir().exists("output.1"));
    std::thread::sleep(Duration::from_millis(200));
    for name in ["output", "output.1"] {
        let size = bench.folder().dir().metadata(name).map_or(0, |metadata| metadata.len());
        assert!(size <= 10_000, "{name} has {size} bytes");
    }
    // A flood does not keep a stop from being heard.
    assert_eq!(bench.act(ServiceVerb::Stop).unwrap().state, ServiceState::Stopped);
}

#[test]
fn reload_needs_a_running_service_with_a_way_to_do_it() {
    let script = "trap 'echo again' HUP; echo up; while :; do sleep 0.02; done";
    let bench = Bench::new(CommandLine { reload_signal: Some(1), ..sh(script) });
    assert_eq!(bench.act(ServiceVerb::Reload).unwrap_err().code, ErrorCode::Failed);
    bench.act(ServiceVerb::Start).unwrap();
    eventually("it is up", || bench.output().contains("up"));
    assert_eq!(bench.act(ServiceVerb::Reload).unwrap().state, ServiceState::Running);
    eventually("it has heard", || bench.output().contains("again"));
    let mut cannot = Bench::new(sh("exec sleep 1000"));
    cannot.command.reload_signal = None;
    cannot.act(ServiceVerb::Start).unwrap();
    assert_eq!(cannot.act(ServiceVerb::Reload).unwrap_err().code, ErrorCode::Unavailable);
}

#[test]
fn a_damaged_record_stops_for_a_person() {
    let bench = Bench::new(sh("exec sleep 1000"));
    bench.act(ServiceVerb::Start).unwrap();
    let record = bench.folder().read_bounded("state.json", 10_000).unwrap();
    bench.folder().replace("state.json", b"{").unwrap();
    let error = bench.act(ServiceVerb::Start).unwrap_err();
    assert!(error.code == ErrorCode::Unavailable && error.message.contains("state.json"), "{error}");
    bench.folder().replace("state.json", &record).unwrap();
}

#[test]
fn two_guardians_start_one_service() {
    let bench = Bench::new(sh("exec sleep 1000"));
    let hands = [bench.hand(), bench.hand(), bench.hand(), bench.hand()];
    std::thread::scope(|scope| {
        for hand in &hands {
            scope.spawn(|| act(hand, ServiceVerb::Start, soon()).unwrap());
        }
    });
    assert_eq!(bench.status().state, ServiceState::Running);
    let child = bench.child();
    let group = Pid::from_raw(child.pid()).unwrap();
    assert_eq!(rustix::process::getpgid(Some(group)).unwrap(), group, "in a group of its own");
}
