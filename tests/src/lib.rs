//! What the tests stand on: the built program, the built playbooks, and a house to run them in.
//!
//! The tests use the program from outside, as a person does. `make test` builds it and the playbooks first and says where
//! they lie; run by hand, both are looked for in the target directory that the test itself was built into.
#![allow(clippy::disallowed_methods, reason = "tests act from outside, as a person or an attacker does")]

mod snapshot;

pub use self::snapshot::Snapshot;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything in a test may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The root of the checkout that the test runs in.
///
/// Asked when it runs: a target directory that several checkouts share may hold a test that another one has built.
///
/// # Panics
/// When neither cargo nor nextest runs the test.
#[must_use]
pub fn workspace() -> PathBuf {
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo or nextest runs the test");
    Path::new(&member).parent().expect("the workspace").to_owned()
}

/// The built `guardian`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program() -> PathBuf {
    let found = std::env::var_os("GUARDIAN_BIN").map_or_else(|| target().join("guardian"), PathBuf::from);
    assert!(found.is_file(), "{} is not there; build it with `cargo build -p guardian`", found.display());
    found
}

/// The folder of the built playbooks.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn playbooks() -> PathBuf {
    let default = || target().parent().expect("a target directory").join("playbooks");
    let found = std::env::var_os("GUARDIAN_PLAYBOOKS").map_or_else(default, PathBuf::from);
    assert!(found.is_dir(), "{} is not there; build the playbooks with `make playbooks`", found.display());
    found
}

fn target() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    test.parent().and_then(Path::parent).expect("a target directory").to_owned()
}

/// A port that nobody listens on now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Waits until `holds`, or fails the test.
///
/// # Panics
/// When it does not come true in time.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A Guardian home of its own, used from outside.
#[derive(Debug)]
pub struct House {
    root: tempfile::TempDir,
    /// Where `service.web` listens.
    pub port: u16,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// The one line on standard error.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn line(&self) -> &str {
        let lines: Vec<&str> = self.err.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "one line was expected: {self:?}");
        lines[0]
    }

    /// Neither stream has a control sequence, or a character that turns the text around.
    ///
    /// # Panics
    /// When one has.
    pub fn nothing_raw(&self) {
        let raw =
            |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!self.out.contains(raw) && !self.err.contains(raw), "{self:?}");
    }

    /// The JSON document on standard output.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Default for House {
    fn default() -> Self {
        Self::new()
    }
}

impl House {
    /// An empty folder: no home yet.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    #[must_use]
    pub fn empty() -> Self {
        let root = tempfile::Builder::new().prefix("guardian-test-").tempdir().expect("a temporary folder");
        Self { root, port: free_port() }
    }

    /// A home with one real service, `service.web` in group `front`, supervised by Guardian's keeper, and the signed
    /// `guardian/service_crashed` with its shipped permits.
    ///
    /// # Panics
    /// When a step does not work.
    #[must_use]
    pub fn new() -> Self {
        let house = Self::empty();
        house.ok(&["init"]);
        let program = program().display().to_string();
        house.configure(&format!(
            "[limits]\nrun_seconds = 15\ncall_seconds = 5\n\n[audit]\nsegment_mib = 4\nreserve_mib = 1\nwait = \"2s\"\n\n\
             [service.web]\ncommand = [\"{program}\", \"demo-service\", \"{}\"]\ngroups = [\"front\"]\n\
             settle_time = \"50ms\"\nstop_time = \"500ms\"\n\
             check = {{ http = \"http://127.0.0.1:{}/\", every = \"50ms\", timeout = \"500ms\" }}\n\
             healed = {{ successes = 2, grace = \"1s\", deadline = \"5s\" }}\n",
            house.port, house.port
        ));
        house.publish("guardian", "service_crashed-1.wasm");
        house
    }

    /// Trusts a new key for `publisher`, signs `file` of the built playbooks with it, adds it, and copies its permits.
    ///
    /// # Panics
    /// When a step does not work.
    pub fn publish(&self, publisher: &str, file: &str) {
        let key = self.root().join(format!("{publisher}.key"));
        self.ok(&["key", "new", &text(&key)]);
        self.ok(&["trust", "add", &format!("{}.pub", text(&key)), "--publisher", publisher]);
        let wasm = self.root().join(file);
        std::fs::copy(playbooks().join(file), &wasm).expect("a built playbook");
        self.ok(&["playbook", "sign", &text(&wasm), "--key", &text(&key)]);
        self.ok(&["playbook", "add", &text(&wasm)]);
        let name = file.rsplit_once('-').expect("NAME-RELEASE.wasm").0;
        let permits = workspace().join("playbooks").join(name).join("permits.cedar");
        std::fs::copy(permits, self.permits().join(format!("{name}.cedar"))).expect("its permits");
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of the permits.
    #[must_use]
    pub fn permits(&self) -> PathBuf {
        self.root().join("etc/policy/permits")
    }

    /// What stands in its `guardian.toml`.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn toml(&self) -> String {
        std::fs::read_to_string(self.root().join("etc/guardian.toml")).expect("guardian.toml")
    }

    /// Writes `guardian.toml`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.root().join("etc/guardian.toml"), text).expect("guardian.toml");
    }

    /// The command, ready to start.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--home").arg(self.root()).args(arguments).env_remove("NO_COLOR");
        command
    }

    /// Runs a command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn guardian(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().expect("guardian starts").into()
    }

    /// Runs a command that must end with 0.
    ///
    /// # Panics
    /// When it does not.
    pub fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.guardian(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said
    }

    /// Runs a command that must be refused: with that code, one line on standard error that holds all `words`, nothing
    /// raw on either stream, and no file changed. A refusal of a playbook is itself a record, so a command that opens the
    /// trail may add to it and make its empty working folders, and nothing else.
    ///
    /// # Panics
    /// When it does anything else.
    pub fn refused(&self, arguments: &[&str], code: i32, words: &[&str]) -> Said {
        let opens_the_trail =
            matches!(arguments, ["run" | "trust" | "service", ..] | ["playbook", "add" | "remove" | "rollback", ..]);
        let but: &[&str] = if opens_the_trail { &["var/audit", "var/state"] } else { &[] };
        let before = Snapshot::of(self.root(), but);
        let said = self.guardian(arguments);
        before.unchanged(&Snapshot::of(self.root(), but), &format!("{arguments:?}"));
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        for word in words {
            assert!(said.line().contains(word), "{arguments:?} does not say `{word}`: {said:?}");
        }
        said.nothing_raw();
        said
    }

    /// Runs the healing playbook for `service.web`.
    #[must_use]
    pub fn heal(&self, more: &[&str]) -> Said {
        let mut arguments =
            vec!["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];
        arguments.extend(more);
        self.guardian(&arguments)
    }

    /// What `service.web` answers over HTTP: its process number.
    #[must_use]
    pub fn web(&self) -> Option<i32> {
        use std::io::{Read as _, Write as _};
        let address = ([127, 0, 0, 1], self.port).into();
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer).ok()?;
        answer.rsplit("\r\n").next()?.trim().parse().ok()
    }

    /// The records of one type, as JSON.
    #[must_use]
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let said = self.ok(&["audit", "list", "--type", kind, "--last", "10000", "--json"]);
        said.json()["records"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for House {
    /// Ends what the house started, by pid, and nothing else.
    fn drop(&mut self) {
        if let Some(pid) = self.web().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Says that the test which needs `what` is left out, if whoever runs the tests allowed that.
///
/// # Panics
/// When they did not: a test that did not run must not count as one that held.
pub fn left_out(what: &str) {
    let allowed = std::env::var_os("GUARDIAN_TEST_WITHOUT_ROOT").is_some_and(|value| value == "1");
    assert!(
        allowed,
        "this test needs root: {what}; run it as root, or set GUARDIAN_TEST_WITHOUT_ROOT=1 to leave such tests out"
    );
    eprintln!("SKIPPED: {what}, which needs root; GUARDIAN_TEST_WITHOUT_ROOT=1 allows that");
}

/// A path as text.
///
/// # Panics
/// When it is not UTF-8.
#[must_use]
pub fn text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}
