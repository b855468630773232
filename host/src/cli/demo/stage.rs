//! The stage of the demo: a temporary home with two real services, two publishers and their playbooks.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::capability::Deadline;
use crate::cli::arguments::{PlaybookCommand, TrustCommand};
use crate::cli::context::{Context, program};
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::{init, playbook, trust};
use crate::durable::Folder;
use crate::inventory::Home;
use crate::model::{Name, ServiceVerb};
use crate::trust::SigningKey;

/// The service that dies and is healed.
pub(super) const FRONT: &str = "web";
/// The service that no playbook of the demo has a permit for.
pub(super) const VAULT: &str = "vault";

/// How long the demo waits for a service of its own: they are up in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A temporary home and what runs in it.
pub(super) struct Stage {
    root: tempfile::TempDir,
    home: Home,
    ports: [(&'static str, u16); 2],
    names: [(&'static str, String); 2],
}

impl Stage {
    /// Makes the home, the keys, the store and starts the services.
    pub(super) fn build(context: &Context, playbooks: &Path) -> Result<Self, Failure> {
        let root = tempfile::Builder::new()
            .prefix("guardian-demo-")
            .tempdir()
            .map_err(|error| Failure::other(format!("no temporary folder can be made: {error}")))?;
        let home = Home::at(root.path());
        let ports = [(FRONT, free_port()?), (VAULT, free_port()?)];
        let healer = newest(playbooks, "service_crashed")?;
        let hostile = newest(playbooks, "hostile")?;
        let stage = Self { home, ports, names: [("healer", healer), ("hostile", hostile)], root };
        let inside = Context { screen: Screen::silent(), ..context.within(stage.root()) };
        init::make(&inside, &stage.configuration()?)?;
        stage.publish(&inside, playbooks)?;
        if let Err(failure) = stage.start(&inside) {
            // What did start must not outlive its home; why it did not all start is the news.
            let _ = stage.tear_down();
            return Err(failure);
        }
        Ok(stage)
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    fn configuration(&self) -> Result<String, Failure> {
        let program = program()?;
        let mut text =
            "[limits]\nrun_seconds = 3\ncall_seconds = 3\n\n[audit]\nsegment_mib = 4\nreserve_mib = 1\n".to_owned();
        for (name, port) in self.ports {
            let group = if name == FRONT { "front" } else { "secrets" };
            let command =
                toml::Value::from(vec![program.display().to_string(), "demo-service".to_owned(), port.to_string()]);
            text.push_str(&format!(
                "\n[service.{name}]\ncommand = {command}\ngroups = [\"{group}\"]\nsettle_time = \"50ms\"\nstop_time = \"1s\"\n\
                 check = {{ http = \"http://127.0.0.1:{port}/\", every = \"100ms\", timeout = \"500ms\" }}\n\
                 healed = {{ successes = 3, grace = \"1s\", deadline = \"5s\" }}\n"
            ));
        }
        Ok(text)
    }

    /// Two publishers, each trusted for its own name; their playbooks signed and added; their permits written.
    fn publish(&self, inside: &Context, playbooks: &Path) -> Result<(), Failure> {
        let keys = Folder::make(&self.root().join("publishers"))?;
        let permits = Folder::open(&self.home.etc().join("policy/permits"))?;
        let healing = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../playbooks/service_crashed/permits.cedar"));
        permits.replace_with_mode("front.cedar", healing.as_bytes(), 0o644)?;
        let looking = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../playbooks/hostile/permits.cedar"));
        permits.replace_with_mode("stranger.cedar", looking.as_bytes(), 0o644)?;
        for (publisher, file) in [("guardian", self.file("healer")), ("stranger", self.file("hostile"))] {
            let key = SigningKey::generate()?;
            key.store(&keys, publisher)?;
            let add = TrustCommand::Add {
                key: key.public().to_string(),
                publisher: publisher.to_owned(),
                threshold: None,
                label: None,
            };
            trust::execute(inside, add)?;
            // A copy: the demo signs nothing but what lies in its own home.
            let component = Folder::open(playbooks)?.read_bounded(&file, 256 << 20)?;
            keys.replace(&file, &component)?;
            let file = keys.path().join(&file);
            playbook::execute(
                inside,
                PlaybookCommand::Sign { file: file.clone(), key: keys.path().join(publisher), days: Some(1) },
            )?;
            playbook::execute(inside, PlaybookCommand::Add { file })?;
        }
        Ok(())
    }

    fn start(&self, inside: &Context) -> Result<(), Failure> {
        let hands = inside.site()?.hands()?;
        for (name, _) in self.ports {
            let name: Name = name.parse()?;
            hands
                .services()
                .by_person(ServiceVerb::Start, &name, Deadline::after(PATIENCE))
                .map_err(|error| Failure::other(error.to_string()))?;
        }
        let deadline = Instant::now() + PATIENCE;
        for (name, _) in self.ports {
            while self.answers(name).is_none() && Instant::now() < deadline {
                inside.clock.sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn file(&self, which: &str) -> String {
        self.names.iter().find(|(name, _)| *name == which).map_or_else(String::new, |(_, file)| file.clone())
    }

    /// What the service answers over HTTP, seen from outside: its process number.
    pub(super) fn answers(&self, service: &str) -> Option<i32> {
        let (_, port) = self.ports.iter().find(|(name, _)| *name == service)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer).ok()?;
        answer.rsplit("\r\n").next()?.trim().parse().ok()
    }

    pub(super) fn pid_of(&self, service: &str) -> Result<i32, Failure> {
        self.answers(service).ok_or_else(|| Failure::other(format!("service.{service} of the demo does not answer")))
    }

    /// Kills one process of the demo, and waits until it is gone.
    pub(super) fn kill(&self, pid: i32) -> Result<(), Failure> {
        let process = Pid::from_raw(pid).ok_or_else(|| Failure::other("the service named no process"))?;
        kill_process(process, Signal::KILL)
            .map_err(|error| Failure::other(format!("process {pid} cannot be killed: {error}")))?;
        let deadline = Instant::now() + PATIENCE;
        while self.answers(FRONT).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The healer with one byte flipped in its middle, with its own good signature beside it.
    pub(super) fn flipped_copy(&self) -> Result<PathBuf, Failure> {
        let folder = Folder::open(&self.root().join("publishers"))?;
        let file = self.file("healer");
        let mut component = folder.read_bounded(&file, 256 << 20)?;
        let middle = component.len() / 2;
        if let Some(byte) = component.get_mut(middle) {
            *byte ^= 1;
        }
        folder.replace("flipped.wasm", &component)?;
        folder.replace("flipped.wasm.dsse.json", &folder.read_bounded(&format!("{file}.dsse.json"), 256 * 1024)?)?;
        Ok(folder.path().join("flipped.wasm"))
    }

    /// The healer without its signature.
    pub(super) fn unsigned_copy(&self) -> Result<PathBuf, Failure> {
        let folder = Folder::open(&self.root().join("publishers"))?;
        folder.replace("unsigned.wasm", &folder.read_bounded(&self.file("healer"), 256 << 20)?)?;
        Ok(folder.path().join("unsigned.wasm"))
    }

    /// Stops the services and removes the home.
    pub(super) fn tear_down(self) -> Result<(), Failure> {
        let context = Context::new(Some(self.root().to_owned()), false)?;
        let hands = context.site()?.hands()?;
        let stop = |name: &str| -> Result<(), Failure> {
            let stopped = hands.services().by_person(ServiceVerb::Stop, &name.parse()?, Deadline::after(PATIENCE));
            stopped.map(drop).map_err(|error| Failure::other(error.to_string()))
        };
        // All of them, also when one does not stop.
        let stopped: Vec<Result<(), Failure>> = self.ports.iter().map(|(name, _)| stop(name)).collect();
        self.root.close().map_err(|error| Failure::other(format!("the demo's folder cannot be removed: {error}")))?;
        stopped.into_iter().collect()
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| Failure::other(format!("no port is free on 127.0.0.1: {error}")))
}

/// The newest release of a playbook in a folder.
fn newest(folder: &Path, name: &str) -> Result<String, Failure> {
    let release =
        |file: &str| -> Option<u64> { file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".wasm")?.parse().ok() };
    let files = Folder::open(folder)?.names()?;
    files.into_iter().filter_map(|file| Some((release(&file)?, file))).max().map(|(_, file)| file).ok_or_else(|| {
        Failure::usage(format!("there is no built `{name}` in `{}`; `make demo` builds it", folder.display()))
    })
}
