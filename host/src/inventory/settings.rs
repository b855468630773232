//! The whole configuration, read and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::durable::Folder;
use crate::model::{Limits, Name, PlaybookId, ResourceName};

use super::resource::{Inventory, Supervisor};
use super::{InventoryError, Person, file};

/// What `guardian init` writes: every setting at its default, with its reason.
pub const DEFAULT_CONFIGURATION: &str = include_str!("default.toml");

/// The largest configuration file that is read: a thousand resources fit ten times.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Everything that `guardian.toml` and `guardian.d/` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `[limits]`.
    pub limits: Limits,
    /// `[audit]`.
    pub audit: AuditSettings,
    /// `[systemd]`.
    pub systemd: SystemdSettings,
    /// The resources.
    pub inventory: Inventory,
    /// `[playbook."publisher/name"] bind = { role = "name" }`.
    pub bindings: BTreeMap<PlaybookId, BTreeMap<Name, String>>,
    /// `[approval] wait`: how long a plan waits for people.
    pub approval_wait: Duration,
    /// `[person.NAME]`: who may approve.
    pub people: BTreeMap<Name, Person>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            audit: AuditSettings::default(),
            systemd: SystemdSettings::default(),
            inventory: Inventory::default(),
            bindings: BTreeMap::new(),
            // Long enough for a person who is asleep and a colleague who is asked; an incident that waits longer is another.
            approval_wait: Duration::from_secs(4 * 3_600),
            people: BTreeMap::new(),
        }
    }
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Size of one segment file, in bytes.
    pub segment_bytes: u64,
    /// What is kept back for running runs when the disk is full, in bytes.
    pub reserve_bytes: u64,
    /// How long a second writer waits for the first.
    pub wait: Duration,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            // Large enough that a busy day needs a handful of files, small enough to be prepared in the background.
            segment_bytes: 64 * 1024 * 1024,
            // Eight runs at their largest: a thousand calls, two records of about 1 KiB each.
            reserve_bytes: 16 * 1024 * 1024,
            // A run takes seconds; a person waits that long before wondering.
            wait: Duration::from_secs(10),
        }
    }
}

/// `[systemd]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdSettings {
    /// The D-Bus address of the system bus.
    pub bus: String,
}

impl Default for SystemdSettings {
    fn default() -> Self {
        Self { bus: "unix:path=/run/dbus/system_bus_socket".to_owned() }
    }
}

impl Configuration {
    /// Reads `guardian.toml` and `guardian.d/*.toml` in the operator's folder.
    ///
    /// # Errors
    /// When a file cannot be read, can be written by others, or says something that is not understood.
    pub fn load(etc: &Folder) -> Result<Self, InventoryError> {
        etc.trusted()?;
        etc.trusted_file("guardian.toml")?;
        let text = Self::text(etc, "guardian.toml")?;
        let main = etc.path().join("guardian.toml");
        let mut configuration = file::read_main(&main, &text)?;
        let mut read = vec![(main, text)];
        let more = match etc.sub("guardian.d") {
            Ok(folder) => folder,
            Err(error) if error.is_not_found() => return configuration.checked(&read),
            Err(error) => return Err(error.into()),
        };
        more.trusted()?;
        for name in more.names()? {
            more.trusted_file(&name)?;
            if !name.ends_with(".toml") {
                // A file that looks like configuration and is none is a service that nobody watches.
                let problem = "is no configuration; rename it to end in `.toml`, or move it away".to_owned();
                return Err(InventoryError::Content { path: more.path().join(&name), line: 1, problem });
            }
            let text = Self::text(&more, &name)?;
            file::read_more(&more.path().join(&name), &text, &mut configuration)?;
            read.push((more.path().join(&name), text));
        }
        configuration.checked(&read)
    }

    /// Reads one text as a whole configuration, as for `guardian.toml`; `path` is for messages.
    ///
    /// # Errors
    /// When it says something that is not understood.
    pub fn parse(path: &std::path::Path, text: &str) -> Result<Self, InventoryError> {
        file::read_main(path, text)
    }

    fn text(folder: &Folder, name: &str) -> Result<String, InventoryError> {
        let bytes = folder.read_bounded(name, LARGEST_FILE)?;
        String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            InventoryError::Content { path: folder.path().join(name), line, problem: "is not UTF-8 text".to_owned() }
        })
    }

    /// What can only be checked when every file has been read: names that point at each other.
    fn checked(self, read: &[(PathBuf, String)]) -> Result<Self, InventoryError> {
        let wrong = |kind, name: &Name, problem| {
            let (path, line) = place_of(read, kind, name);
            InventoryError::Content { path, line, problem }
        };
        for (name, service) in &self.inventory.services {
            if let Supervisor::Process(command) = &service.supervisor
                && command.stop_time + command.settle_time >= self.limits.call_time()
            {
                let seconds = self.limits.call_seconds;
                return Err(wrong(
                    "service",
                    name,
                    format!(
                        "service `{name}` takes longer to stop and settle than a call may take ({seconds} s): lower its `stop_time` or raise `call_seconds`"
                    ),
                ));
            }
        }
        for (name, command) in &self.inventory.commands {
            if command.longest() > self.limits.call_time() {
                let (seconds, most) = (self.limits.call_seconds, command.longest() - command.timeout);
                return Err(wrong(
                    "command",
                    name,
                    format!(
                        "command `{name}` may run longer than a call may take ({seconds} s, {} s of them to end it): lower its `timeout` or raise `call_seconds`",
                        most.as_secs()
                    ),
                ));
            }
        }
        if let Some((name, missing)) = self.inventory.missing_holder() {
            let problem = format!(
                "service `{missing}`, a holder of storage `{name}`, is not in the inventory; name it as [service.{missing}]"
            );
            return Err(wrong("storage", name, problem));
        }
        let at = |name: &ResourceName, problem| match name.name().parse() {
            Ok(plain) => wrong(name.kind().word(), &plain, problem),
            Err(_) => InventoryError::Unknown { name: name.to_string(), hint: problem },
        };
        for name in self.inventory.names() {
            let Some(of) = self.inventory.of(&name) else { continue };
            if !self.inventory.has(of) {
                return Err(at(&name, format!("`{name}` is `of` `{of}`, which is not in the inventory")));
            }
            // What a thing belongs to is asked for once; a chain would make "one run per target" depend on its length.
            if self.inventory.of(of).is_some() {
                return Err(at(
                    &name,
                    format!("`{name}` is `of` `{of}`, which itself belongs to something; name that"),
                ));
            }
        }
        Ok(self)
    }
}

/// The file and the line where the table of a resource begins.
fn place_of(read: &[(PathBuf, String)], kind: &str, name: &Name) -> (PathBuf, usize) {
    let heads = [format!("[{kind}.{name}]"), format!("[{kind}.\"{name}\"]"), format!("[{kind}.'{name}']")];
    let is_head = |line: &str| {
        let line: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
        heads.iter().any(|head| line.starts_with(head.as_str()))
    };
    let mut places = read.iter().filter_map(|(path, text)| Some((path.clone(), text.lines().position(is_head)? + 1)));
    // Written in another way, inline for example: then at least in one of the files that were read.
    places.next().unwrap_or_else(|| (read.first().map(|(path, _)| path.clone()).unwrap_or_default(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, InventoryError> {
        Configuration::parse(std::path::Path::new("guardian.toml"), text)
    }

    #[test]
    fn the_default_file_is_the_default() {
        assert_eq!(parse(DEFAULT_CONFIGURATION).unwrap(), Configuration::default());
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let text = r#"
            [service.web]
            unit   = "nginx.service"
            groups = ["front"]
            check  = { http = "http://127.0.0.1/healthz", every = "1s", timeout = "800ms", fail_after = 3 }
            heal   = ["guardian/service_crashed"]
            healed = { successes = 3, grace = "5s", deadline = "30s" }
            limits = { attempts = 3, per = "10m", cooldown = "20s" }
        "#;
        let configuration = parse(text).unwrap();
        let web: ResourceName = "service.web".parse().unwrap();
        assert!(configuration.inventory.has(&web));
        let check = web.check_of().unwrap();
        assert!(configuration.inventory.has(&check));
        assert_eq!(configuration.inventory.target_of(&check), web);
        assert_eq!(configuration.inventory.service(&web).unwrap().healed.grace, Duration::from_secs(5));
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        for (text, line, words) in [
            ("[service.web]\nunit = 'a.service'\nchekc = {}", 3, "did you mean `check`"),
            ("[servcie.web]\nunit = 'a.service'", 1, "did you mean `service`"),
            ("[service.web]", 1, "unit"),
            ("[service.web]\nunit = 'a.service'\ncommand = ['/bin/x']", 1, "both"),
            ("[service.web]\ncommand = ['x']", 2, "absolute"),
            ("[service.web]\ncommand = []", 2, "program"),
            ("[service.Web]\nunit = 'a.service'", 1, "lower-case"),
            ("[service.web]\nunit = 'a.service'\ncheck = { tcp = '127.0.0.1:80', timeout = '5' }", 3, "unit"),
            (
                "[service.web]\nunit = 'a.service'\ncheck = { tcp = '127.0.0.1:80', http = 'http://x/' }",
                3,
                "exactly one",
            ),
            ("[service.web]\nunit = 'a.service'\ncheck = { http = 'https://x/' }", 3, "http://"),
            ("[limits]\nrun_seconds = 0", 2, "at least 1"),
            ("[limits]\nrun_secnds = 1", 2, "run_seconds"),
            ("[service.web]\nunit = 'a'", 2, ".service"),
            ("a = = b", 1, ""),
        ] {
            match parse(text).unwrap_err() {
                InventoryError::Content { line: found, problem, .. } => {
                    assert!(problem.contains(words) && !problem.contains('\n'), "{text}: {problem}");
                    assert_eq!(found, line, "{text}: {problem}");
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn what_only_the_whole_shows_is_named_where_it_stands() {
        let home = tempfile::tempdir().unwrap();
        let etc = Folder::open(home.path()).unwrap();
        let more = etc.make_sub("guardian.d").unwrap();
        etc.replace("guardian.toml", b"[limits]\ncall_seconds = 5\n").unwrap();
        more.replace("a.toml", b"[service.quick]\nunit = 'a.service'\n").unwrap();
        for (text, line) in [
            ("# slow\n\n[service.web]\ncommand = ['/bin/x']\nstop_time = '9s'\n", 3),
            (" [ service . \"web\" ]\ncommand = ['/bin/x']\nstop_time = '9s'\n", 1),
            ("\n[probe.far]\ncheck = { tcp = '127.0.0.1:1' }\nof = 'service.gone'\n", 2),
        ] {
            more.replace("b.toml", text.as_bytes()).unwrap();
            let error = Configuration::load(&etc).unwrap_err().to_string();
            assert!(error.contains(&format!("guardian.d/b.toml:{line}: ")), "{error}");
        }
    }

    #[test]
    fn a_command_must_fit_into_a_call() {
        let checked = |timeout: &str| {
            let text = format!("[limits]\ncall_seconds = 10\n[command.a]\nrun = ['/bin/true']\ntimeout = '{timeout}'");
            parse(&text).unwrap().checked(&[])
        };
        assert!(checked("8s").is_ok());
        let error = checked("9s").unwrap_err().to_string();
        assert!(error.contains("`timeout`") && error.contains("`call_seconds`"), "{error}");
    }

    #[test]
    fn unknown_names_get_the_nearest() {
        let configuration = parse("[service.web]\nunit = 'a.service'").unwrap();
        let error = configuration.inventory.unknown("service.wbe").to_string();
        assert!(error.contains("did you mean `service.web`"), "{error}");
    }
}
