//! What a run did is put back, or left and named: after a failed heal, by a person, and after Guardian was killed at any
//! moment. The file that is restored is always one of the two it can be, and what stood in it is nowhere else.

use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use guardian_tests::{House, Said, text};

/// Stood in the file before, and must be found nowhere but there and in the undo material.
const SECRET: &str = "password = swordfish-5c1d";
const BASELINE: &str = "password = asked-for\n";
/// How often Guardian is killed: after each batch that a run with two effects writes, three times with some delay.
const KILLS: u32 = 3 * BATCHES;
/// At least as many as the run writes.
const BATCHES: u32 = 16;

const DRIFTED: [&str; 6] =
    ["run", "guardian/config_drifted", "--incident", "config_drifted", "--target", "config.site"];

/// The house with a configuration of `service.web`, and the playbook that restores it and restarts the service.
pub(super) struct Drifted {
    pub(super) house: House,
}

impl Drifted {
    pub(super) fn new(more: &str) -> Self {
        let house = House::new();
        let root = house.root().to_owned();
        std::fs::write(root.join("baseline.conf"), BASELINE).expect("a baseline");
        std::fs::set_permissions(root.join("baseline.conf"), std::fs::Permissions::from_mode(0o644)).expect("a mode");
        let toml = root.join("etc/guardian.toml");
        let before = std::fs::read_to_string(&toml).expect("guardian.toml");
        house.configure(&format!(
            "{before}\n[config.site]\npath = '{0}/site.conf'\nbaseline = '{0}/baseline.conf'\nof = 'service.web'\n\
             groups = ['front']\nhealed = {{ successes = 1, grace = '0s', deadline = '2s' }}\n{more}\n\
             [playbook.\"guardian/config_drifted\"]\nbind = {{ service = 'web' }}\n",
            root.display()
        ));
        let wasm = root.join("config_drifted-1.wasm");
        std::fs::copy(guardian_tests::playbooks().join("config_drifted-1.wasm"), &wasm).expect("a built playbook");
        house.ok(&["playbook", "sign", &text(&wasm), "--key", &text(&root.join("guardian.key"))]);
        house.ok(&["playbook", "add", &text(&wasm)]);
        let permits = guardian_tests::workspace().join("playbooks/config_drifted/permits.cedar");
        let permits = std::fs::read_to_string(permits).expect("its permits").replace("h1 < 3", "h1 < 1000");
        std::fs::write(house.permits().join("config_drifted.cedar"), permits).expect("its permits");
        let drifted = Self { house };
        drifted.drift();
        drifted
    }

    fn file(&self) -> PathBuf {
        self.house.root().join("site.conf")
    }

    /// Puts there what must be restored.
    pub(super) fn drift(&self) {
        std::fs::write(self.file(), format!("{SECRET}\n")).expect("a file");
        std::fs::set_permissions(self.file(), std::fs::Permissions::from_mode(0o640)).expect("a mode");
    }

    pub(super) fn content(&self) -> String {
        std::fs::read_to_string(self.file()).expect("the file")
    }

    /// As it was before a run: content, owner and mode.
    pub(super) fn is_back(&self) -> bool {
        let metadata = std::fs::metadata(self.file()).expect("the file");
        self.content() == format!("{SECRET}\n") && metadata.mode() & 0o7777 == 0o640
    }

    /// Takes the permit for the second effect away, so that the playbook gives up after the first.
    pub(super) fn without_restart(&self) {
        let permits = self.house.permits().join("config_drifted.cedar");
        let text = std::fs::read_to_string(&permits).expect("the permits");
        let narrowed = text.replace(
            "Guardian::Action::\"service.reload\", Guardian::Action::\"service.restart\"",
            "Guardian::Action::\"service.reload\"",
        );
        assert_ne!(text, narrowed);
        std::fs::write(permits, narrowed).expect("narrower");
    }

    pub(super) fn run(&self) -> Said {
        self.house.guardian(&DRIFTED)
    }

    /// The run that ended last.
    pub(super) fn last(&self) -> String {
        let status = self.house.ok(&["status", "--json"]).json();
        let runs = status["runs"].as_array().expect("runs").clone();
        runs.last().expect("a run")["run"].as_str().expect("an id").to_owned()
    }

    /// Intents to restore, and intents to put a restore back.
    fn restores(&self) -> (usize, usize) {
        let intents = self.house.records("intent");
        let restores = intents.iter().filter(|record| record["action"]["verb"] == "restore");
        let (undoing, doing): (Vec<_>, Vec<_>) = restores.partition(|record| record.get("undoes").is_some());
        (doing.len(), undoing.len())
    }

    pub(super) fn kept(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.house.root().join("var/state/undo")) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn what_did_not_heal_is_put_back() {
    let drifted = Drifted::new("");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    drifted.without_restart();
    let said = drifted.run();
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("put back") && said.out.contains("config.restore"), "{said:?}");
    assert!(drifted.is_back(), "{}", drifted.content());
    assert_eq!(drifted.restores(), (1, 1));
    assert!(drifted.kept().is_empty(), "what nobody needs any more: {:?}", drifted.kept());
    // Its twin: with the permit it heals, and then what it did stands.
    let permits = guardian_tests::workspace().join("playbooks/config_drifted/permits.cedar");
    std::fs::copy(permits, drifted.house.permits().join("config_drifted.cedar")).expect("all of them");
    let said = drifted.house.guardian(&[&DRIFTED[..], &["--json"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(drifted.content(), BASELINE);
    let run = said.json()["run"].as_str().expect("an id").to_owned();
    let refused = drifted.house.guardian(&["undo", &run]);
    assert!(refused.code == 2 && refused.err.contains("it healed"), "{refused:?}");
    drifted.house.ok(&["audit", "verify"]);
}

#[test]
fn what_is_left_is_named_and_put_back_by_a_person() {
    let drifted = Drifted::new("unhealed = 'leave'");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    drifted.without_restart();
    let said = drifted.run();
    assert_eq!(said.code, 4, "{said:?}");
    let run = drifted.last();
    assert!(said.out.contains(&format!("guardian undo {run}")), "{said:?}");
    assert_eq!(drifted.content(), BASELINE);
    assert_eq!(drifted.kept(), std::slice::from_ref(&run));
    // Neither a freeze nor trust that was taken back stops a person from putting things back.
    drifted.house.ok(&["freeze", "--for", "1m", "--reason", "a test"]);
    drifted.house.ok(&["trust", "remove", "guardian"]);
    let undone = drifted.house.ok(&["undo", &run, "--json"]);
    assert_eq!(undone.json()["undone"][0]["resource"], "config.site", "{undone:?}");
    crate::cli::shapes::golden(&undone, "undo");
    assert!(drifted.is_back());
    assert!(drifted.kept().is_empty());
    let again = drifted.house.guardian(&["undo", &run]);
    assert!(again.code == 2 && again.err.contains("nothing of it is left"), "{again:?}");
    let unknown = drifted.house.guardian(&["undo", "r-0000000000000000"]);
    assert!(unknown.code == 2 && unknown.err.contains("remembers no run"), "{unknown:?}");
}

#[test]
fn what_cannot_be_put_back_stops_and_is_said() {
    for damage in ["changed since", "material changed", "material gone"] {
        let drifted = Drifted::new("unhealed = 'leave'");
        assert_eq!(drifted.house.heal(&[]).code, 0);
        drifted.without_restart();
        assert_eq!(drifted.run().code, 4);
        let run = drifted.last();
        let material = drifted.house.root().join("var/state/undo").join(&run);
        let material = std::fs::read_dir(material).expect("material").next().expect("one").expect("an entry").path();
        match damage {
            "changed since" => std::fs::write(drifted.file(), "somebody's work\n").expect("an edit"),
            "material changed" => {
                let text = std::fs::read_to_string(&material).expect("material");
                std::fs::write(&material, text.replacen(|c: char| c.is_ascii_digit(), "7", 3)).expect("tampered");
            }
            _ => std::fs::remove_file(&material).expect("gone"),
        }
        let before = drifted.content();
        let undone = drifted.house.guardian(&["undo", &run]);
        assert_eq!(undone.code, 7, "{damage}: {undone:?}");
        assert!(undone.out.contains("config.restore") && undone.out.contains("NOT BACK"), "{damage}: {undone:?}");
        assert_eq!(drifted.content(), before, "{damage}: nothing was touched");
        drifted.house.ok(&["audit", "verify"]);
    }
}

/// The segment that is written, and where the next batch begins.
pub(super) fn segment(house: &House) -> (std::fs::File, u64) {
    let folder = std::fs::read_dir(house.root().join("var/audit/seg")).expect("segments");
    let names = folder.map(|entry| entry.expect("an entry").path());
    let newest = names.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().expect("a segment");
    let bytes = std::fs::read(&newest).expect("the segment");
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    (std::fs::File::open(newest).expect("the segment"), written as u64)
}

/// Waits until a run has written its batch number `batch` on the trail, counted from what stands there now, or has ended.
pub(super) fn wait_for_batch(segment: &std::fs::File, written: u64, batch: u32, run: &mut Child) {
    let (mut seen, mut last) = (0, Vec::new());
    let mut tail = vec![0; 32 * 1024];
    while seen < batch && run.try_wait().expect("a state").is_none() {
        let read = segment.read_at(&mut tail, written).expect("the segment");
        // Zeros follow what is written.
        let used = tail[..read].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        if tail[..used] != last {
            seen += 1;
            last = tail[..used].to_vec();
        }
    }
}

/// Whatever moment it is: the file is one of the two, and the next run gives the killed one an end and says what is left.
#[test]
fn a_run_that_is_killed_at_any_moment_is_committed_put_back_or_said() {
    let drifted = Drifted::new("");
    // The service is healed again after each kill, which costs starts.
    let permits = drifted.house.permits().join("service_crashed.cedar");
    let text = std::fs::read_to_string(&permits).expect("the permits");
    std::fs::write(&permits, text.replace("context.used.h1 < 3", "context.used.h1 < 1000")).expect("more often");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    assert_eq!(drifted.run().code, 0);
    let (mut unwound, mut said_so) = (0, 0);
    for round in 0..KILLS {
        drifted.drift();
        let (segment, written) = segment(&drifted.house);
        let mut run =
            drifted.house.command(&DRIFTED).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        wait_for_batch(&segment, written, round % BATCHES, &mut run);
        std::thread::sleep(Duration::from_micros(200) * (round / BATCHES));
        run.kill().expect("a kill");
        run.wait().expect("an end");
        let content = drifted.content();
        assert!(content == BASELINE || drifted.is_back(), "round {round}: {content}");
        // The next run, about something else: it may not act before what was left open has an end.
        let open = drifted.house.ok(&["status", "--json"]).json();
        let unended = open["runs"].as_array().expect("runs").last().expect("one").clone();
        let next = drifted.house.heal(&[]);
        match next.code {
            0 | 4 => {}
            7 => {
                let status = drifted.house.ok(&["status", "--json"]).json();
                for record in status["in_doubt"].as_array().expect("a list") {
                    drifted.house.ok(&["audit", "settle", &record.to_string(), "--reason", "looked at by the test"]);
                }
            }
            _ => panic!("round {round}: {next:?}"),
        }
        if next.out.contains("found a run without an end") {
            said_so += 1;
            unwound += u32::from(next.out.contains("put back "));
            if !next.out.contains("NOT BACK") && next.out.contains("put back ") {
                assert!(drifted.is_back(), "round {round}: {next:?} and {}", drifted.content());
            }
            if drifted.content() == BASELINE {
                assert!(next.out.contains("left") || next.out.contains("healed"), "round {round}: {next:?} {unended}");
            }
        }
        let status = drifted.house.ok(&["status", "--json"]).json();
        for run in status["runs"].as_array().expect("runs") {
            assert!(run["state"] != "executing" && run["state"] != "checking", "round {round}: {run}");
        }
    }
    assert!(said_so > 0 && unwound > 0, "no kill hit an effect ({said_so}, {unwound}); the spread is wrong");
    drifted.house.ok(&["audit", "verify"]);
    nowhere_else(&drifted);
}

#[test]
fn an_undo_that_is_killed_is_finished_by_the_next_one() {
    let drifted = Drifted::new("unhealed = 'leave'");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    drifted.without_restart();
    let (mut life, mut between) = (Duration::from_millis(60), 0);
    for round in 0..20_u32 {
        drifted.drift();
        assert_eq!(drifted.run().code, 4);
        let run = drifted.last();
        let begun = Instant::now();
        let mut undo = drifted
            .house
            .command(&["undo", &run])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(life * round / 20);
        let _ = undo.kill();
        undo.wait().expect("an end");
        let open = drifted.house.ok(&["status", "--json"]).json()["in_doubt"].as_array().expect("a list").len();
        between += open;
        let again = drifted.house.guardian(&["undo", &run]);
        let finished = again.code == 2 && again.err.contains("nothing of it is left");
        assert!(again.code == 0 || finished, "round {round}: {again:?}");
        assert!(drifted.is_back(), "round {round}: {}", drifted.content());
        life = life.max(begun.elapsed() / 2);
    }
    // The moment between an intent and its outcome is short; the batch that holds the intent says when it has come.
    for delay in 0..20_u32 {
        drifted.drift();
        assert_eq!(drifted.run().code, 4);
        let run = drifted.last();
        let (file, written) = segment(&drifted.house);
        let mut undo = drifted.house.command(&["undo", &run]);
        let mut undo = undo.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        wait_for_batch(&file, written, 1, &mut undo);
        std::thread::sleep(Duration::from_micros(25) * (delay / 4));
        let _ = undo.kill();
        undo.wait().expect("an end");
        between += drifted.house.ok(&["status", "--json"]).json()["in_doubt"].as_array().expect("a list").len();
        let again = drifted.house.guardian(&["undo", &run]);
        let finished = again.code == 2 && again.err.contains("nothing of it is left");
        assert!(again.code == 0 || finished, "delay {delay}: {again:?}");
        assert!(drifted.is_back(), "delay {delay}: {}", drifted.content());
    }
    assert!(between > 0, "no kill fell between an intent to put back and its outcome");
    drifted.house.ok(&["audit", "verify"]);
}

#[test]
fn material_of_no_run_is_swept_and_what_is_not_ours_is_left() {
    let drifted = Drifted::new("");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    let undo = drifted.house.root().join("var/state/undo");
    std::fs::create_dir_all(undo.join("r-00000000000000aa")).expect("an orphan");
    std::fs::write(undo.join("r-00000000000000aa/1"), "{}").expect("an orphan");
    std::fs::create_dir_all(undo.join("notes")).expect("somebody's folder");
    assert_eq!(drifted.run().code, 0);
    assert_eq!(drifted.kept(), ["notes"]);
}

#[test]
fn undoing_does_not_count_against_a_playbook() {
    let drifted = Drifted::new("");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    drifted.without_restart();
    let permits = drifted.house.permits().join("config_drifted.cedar");
    let text = std::fs::read_to_string(&permits).expect("the permits");
    std::fs::write(&permits, text.replace("h1 < 1000", "h1 < 3")).expect("three an hour");
    for _ in 0..3 {
        assert!(drifted.run().out.contains("put back "));
    }
    let spent = drifted.run();
    assert!(spent.out.contains("DENIED") && spent.out.contains("config.restore"), "{spent:?}");
    assert_eq!(drifted.restores(), (3, 3));
}

/// What is kept to put things back, and keys, pass through the processes; the twin shows that this machine writes core dumps at
/// all.
#[test]
fn no_command_leaves_a_core_dump() {
    if std::fs::read_to_string("/proc/sys/kernel/core_pattern").is_ok_and(|pattern| pattern.trim().is_empty()) {
        println!("SKIPPED: this machine writes no core dumps");
        return;
    }
    let drifted = Drifted::new("");
    assert_eq!(drifted.house.heal(&[]).code, 0);
    // Handed down to both.
    let maximum = rustix::process::getrlimit(Resource::Core).maximum;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: maximum, maximum }).expect("a limit");
    let dumped = |mut command: Command, begun: &dyn Fn(&mut Child)| {
        command.current_dir(drifted.house.root()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        begun(&mut child);
        let pid = rustix::process::Pid::from_child(&child);
        // Not a segment violation: the first one that somebody sends only takes the handler of the runtime away.
        rustix::process::kill_process(pid, rustix::process::Signal::ABORT).expect("a signal");
        child.wait().expect("an end").core_dumped()
    };
    let mut other = Command::new("sleep");
    other.arg("60");
    assert!(dumped(other, &|_| ()), "a process that may dump does");
    let (segment, written) = segment(&drifted.house);
    let acts = |child: &mut Child| wait_for_batch(&segment, written, 1, child);
    assert!(!dumped(drifted.house.command(&DRIFTED), &acts), "a run does not");
    let answers = |child: &mut Child| {
        let mut line = [0; 1];
        child.stdout.as_mut().expect("its output").read_exact(&mut line).expect("an answer");
    };
    assert!(!dumped(drifted.house.command(&["audit", "tail"]), &answers), "a command that only reads does not");
}

/// SIGTERM ends a run between two calls: nothing is left half done, and what was done is put back or named.
#[test]
fn a_signal_ends_a_run_between_two_calls() {
    let house = House::new();
    let toml = house.root().join("etc/guardian.toml");
    let before = std::fs::read_to_string(&toml).expect("guardian.toml");
    let (head, tail) = before.split_once("check = { http = \"").expect("a check");
    let rest = tail.split_once("\", every").expect("a check").1;
    // Nobody listens there: the playbook looks and waits for three seconds after it started the service.
    std::fs::write(&toml, format!("{head}check = {{ http = \"http://127.0.0.1:9/\", every{rest}")).expect("written");
    let run = house
        .command(&["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while house.web().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let said: Said = run.wait_with_output().expect("an end").into();
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("asked to end") && said.out.contains("left "), "{said:?}");
    house.ok(&["audit", "verify"]);
}

/// The secret is in no file of the home but undo material, and nobody printed it.
fn nowhere_else(drifted: &Drifted) {
    fn look(folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.ends_with("var/state/undo") {
                continue;
            }
            if path.is_dir() {
                look(&path);
            } else if path.is_file() {
                // Not the keeper's FIFO, where a reader would wait.
                let bytes = std::fs::read(&path).expect("a file");
                let secret = SECRET.as_bytes();
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
            }
        }
    }
    look(&drifted.house.root().join("var"));
    look(&drifted.house.root().join("etc"));
    drifted.drift();
    for arguments in
        [&DRIFTED[..], &["audit", "list", "--last", "10000", "--json"], &["status"], &["inventory", "check"]]
    {
        let said = drifted.house.guardian(arguments);
        assert!(!said.out.contains("swordfish") && !said.err.contains("swordfish"), "{said:?}");
    }
}
