//! From the shape of the file to checked types. Every error is one line with the file and the line it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::model::{Limits, Name, nearest};

use super::command::RawCommand;
use super::config::RawConfig;
use super::resource::{AfterFailure, Attempts, Check, CommandLine, Healed, Look, Probe, Service, Supervisor};
use super::settings::{AuditSettings, Configuration, SystemdSettings};
use super::shape::{RawAttempts, RawAudit, RawCheck, RawHealed, RawMain, RawMore, RawPlaybook, RawProbe, RawService};
use super::storage::RawStorage;
use super::{InventoryError, parse_duration};

/// One file being read: its text, to turn positions into lines.
pub(super) struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

/// `guardian.toml`.
pub(super) fn read_main(path: &Path, text: &str) -> Result<Configuration, InventoryError> {
    let file = File { path, text };
    let raw: RawMain = file.shape()?;
    let mut configuration = Configuration::default();
    if let Some(limits) = raw.limits {
        let span = limits.span();
        configuration.limits = file.limits(limits.into_inner(), &span)?;
    }
    if let Some(audit) = raw.audit {
        configuration.audit = file.audit(audit)?;
    }
    if let Some(bus) = raw.systemd.and_then(|systemd| systemd.into_inner().bus) {
        configuration.systemd = SystemdSettings { bus };
    }
    if let Some(wait) = raw.approval.and_then(|approval| approval.into_inner().wait) {
        let time = file.own_time(Some(&wait), configuration.approval_wait)?;
        if time.is_zero() || time > Duration::from_secs(7 * 86_400) {
            return Err(file.error(&wait.span(), "`wait` must be more than 0 and at most 7 days"));
        }
        configuration.approval_wait = time;
    }
    for (key, raw) in raw.person {
        let name: Name = file.parsed(&key)?;
        let person = file.person(raw.into_inner())?;
        let others = configuration.people.iter().find(|(_, other)| !other.keys.is_disjoint(&person.keys));
        if let Some((other, _)) = others {
            // A quorum counts people: a key that two of them have would let one stand for both.
            return Err(
                file.error(&key.span(), format!("`{name}` and `{other}` have the same key; a key is one person's"))
            );
        }
        configuration.people.insert(name, person);
    }
    let (tables, playbooks) = (
        Raw {
            services: raw.service,
            storages: raw.storage,
            configs: raw.config,
            commands: raw.command,
            probes: raw.probe,
        },
        raw.playbook,
    );
    file.resources(tables, playbooks, &mut configuration)?;
    Ok(configuration)
}

/// One file of `guardian.d/`.
pub(super) fn read_more(path: &Path, text: &str, configuration: &mut Configuration) -> Result<(), InventoryError> {
    let file = File { path, text };
    let raw: RawMore = file.shape()?;
    let tables = Raw {
        services: raw.service,
        storages: raw.storage,
        configs: raw.config,
        commands: raw.command,
        probes: raw.probe,
    };
    file.resources(tables, raw.playbook, configuration)
}

type Tables<T> = BTreeMap<Spanned<String>, Spanned<T>>;

/// The tables of resources, as any file of the configuration may have them.
struct Raw {
    services: Tables<RawService>,
    storages: Tables<RawStorage>,
    configs: Tables<RawConfig>,
    commands: Tables<RawCommand>,
    probes: Tables<RawProbe>,
}

impl File<'_> {
    pub(super) fn error(&self, at: &Range<usize>, problem: impl Into<String>) -> InventoryError {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        InventoryError::Content { path: self.path.to_owned(), line, problem: problem.into() }
    }

    fn shape<T: DeserializeOwned>(&self) -> Result<T, InventoryError> {
        toml::from_str(self.text).map_err(|error| {
            let problem = with_nearest(error.message());
            self.error(&error.span().unwrap_or(0..0), problem)
        })
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, text: &Spanned<String>) -> Result<T, InventoryError>
    where
        T::Err: std::fmt::Display,
    {
        text.get_ref().parse().map_err(|error: T::Err| self.error(&text.span(), error.to_string()))
    }

    pub(super) fn time(
        &self,
        text: Option<&String>,
        at: &Range<usize>,
        default: Duration,
    ) -> Result<Duration, InventoryError> {
        text.map_or(Ok(default), |text| parse_duration(text).map_err(|problem| self.error(at, problem)))
    }

    pub(super) fn own_time(
        &self,
        text: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, InventoryError> {
        text.map_or(Ok(default), |text| {
            parse_duration(text.get_ref()).map_err(|problem| self.error(&text.span(), problem))
        })
    }

    fn limits(&self, limits: Limits, at: &Range<usize>) -> Result<Limits, InventoryError> {
        // The upper bounds keep one run from taking the machine; the lower ones keep every playbook from failing.
        let bounds = [
            ("run_seconds", limits.run_seconds, 1, 3_600),
            ("call_seconds", limits.call_seconds, 1, 3_600),
            ("memory_mib", limits.memory_mib, 1, 4_096),
            ("table_elements", limits.table_elements, 1, 10_000_000),
            ("stack_kib", limits.stack_kib, 64, 8_192),
            ("calls", limits.calls, 1, 1_000_000),
            ("log_lines", limits.log_lines, 1, 100_000),
            ("log_bytes", limits.log_bytes, 1_024, 64 << 20),
            // Escaped, with the separators of a report's smallest entries, it must fit one record of 65,535 bytes.
            ("argument_bytes", limits.argument_bytes, 64, 4_096),
            ("component_mib", limits.component_mib, 1, 256),
            ("compile_seconds", limits.compile_seconds, 1, 3_600),
            ("compile_mib", limits.compile_mib, 256, 65_536),
            ("trail_mib_per_day", limits.trail_mib_per_day, 1, 65_536),
        ];
        for (key, value, least, most) in bounds {
            if value < least || value > most {
                let at = self.line_of(key, at);
                return Err(
                    self.error(&at, format!("`{key}` must be at least {least} and at most {most}, not {value}"))
                );
            }
        }
        Ok(limits)
    }

    /// Where `key` stands within a table, for tables that are read as a whole.
    fn line_of(&self, key: &str, within: &Range<usize>) -> Range<usize> {
        let table = self.text.get(within.start..).unwrap_or_default();
        let offset = table.lines().scan(0, |offset, line| {
            let start = *offset;
            *offset += line.len() + 1;
            Some((start, line))
        });
        let found =
            offset.into_iter().find(|(_, line)| line.trim_start().starts_with(key)).map_or(0, |(start, _)| start);
        within.start + found..within.end
    }

    fn audit(&self, raw: Spanned<RawAudit>) -> Result<AuditSettings, InventoryError> {
        let at = raw.span();
        let raw = raw.into_inner();
        let default = AuditSettings::default();
        let mib = |value: Option<u64>, default: u64| value.map_or(default, |mib| mib.saturating_mul(1 << 20));
        let segment_bytes = mib(raw.segment_mib, default.segment_bytes);
        let settings = AuditSettings {
            segment_bytes,
            reserve_bytes: mib(raw.reserve_mib, default.reserve_bytes.min(segment_bytes / 4)),
            wait: self.own_time(raw.wait.as_ref(), default.wait)?,
        };
        let mib = 1 << 20;
        // A segment holds four reserves, so that the next one is prepared before the reserve is touched.
        if !(4 * mib..=1024 * mib).contains(&settings.segment_bytes) {
            return Err(
                self.error(&self.line_of("segment_mib", &at), "`segment_mib` must be at least 4 and at most 1024")
            );
        }
        // The trail keeps its reserve within a segment; more than a quarter would leave little to write in.
        if raw.reserve_mib.is_some_and(|reserve| reserve == 0 || settings.reserve_bytes > segment_bytes / 4) {
            return Err(self.error(
                &self.line_of("reserve_mib", &at),
                "`reserve_mib` must be at least 1 and at most a quarter of `segment_mib`",
            ));
        }
        Ok(settings)
    }

    fn resources(
        &self,
        raw: Raw,
        playbooks: Tables<RawPlaybook>,
        into: &mut Configuration,
    ) -> Result<(), InventoryError> {
        let inventory = &mut into.inventory;
        self.table("service", raw.services, &mut inventory.services, |raw| self.service(raw))?;
        self.table("storage", raw.storages, &mut inventory.storages, |raw| self.storage(raw.into_inner()))?;
        self.table("config", raw.configs, &mut inventory.configs, |raw| self.config(raw.into_inner()))?;
        self.table("command", raw.commands, &mut inventory.commands, |raw| self.command_resource(raw.into_inner()))?;
        self.table("probe", raw.probes, &mut inventory.probes, |raw| self.probe(raw))?;
        self.table("playbook", playbooks, &mut into.bindings, |raw: Spanned<RawPlaybook>| {
            let bound = raw.into_inner().bind.into_iter();
            bound.map(|(role, value)| Ok((self.parsed::<Name>(&role)?, value))).collect()
        })
    }

    /// One kind of table, each name once over all files.
    fn table<K, T, R>(
        &self,
        kind: &str,
        raw: Tables<R>,
        into: &mut BTreeMap<K, T>,
        read: impl Fn(Spanned<R>) -> Result<T, InventoryError>,
    ) -> Result<(), InventoryError>
    where
        K: Ord + std::str::FromStr,
        K::Err: std::fmt::Display,
    {
        for (key, raw) in raw {
            let name: K = self.parsed(&key)?;
            if into.insert(name, read(raw)?).is_some() {
                let problem = format!("{kind} `{}` stands in two files; keep one", key.get_ref());
                return Err(self.error(&key.span(), problem));
            }
        }
        Ok(())
    }

    /// What becomes of effects on a resource when its target is not healed.
    pub(super) fn after_failure(
        &self,
        text: Option<&Spanned<String>>,
        default: AfterFailure,
    ) -> Result<AfterFailure, InventoryError> {
        match text.map(|text| (text.get_ref().as_str(), text.span())) {
            None => Ok(default),
            Some(("leave", _)) => Ok(AfterFailure::Leave),
            Some(("undo", _)) => Ok(AfterFailure::Undo),
            Some((_, at)) => {
                Err(self.error(&at, "`unhealed` is \"leave\" (leave it and call a person) or \"undo\" (put it back)"))
            }
        }
    }

    pub(super) fn healed_or_default(&self, raw: Option<Spanned<RawHealed>>) -> Result<Healed, InventoryError> {
        raw.map_or_else(|| Ok(healed_default()), |healed| self.healed(healed))
    }

    pub(super) fn names<C: FromIterator<Name>>(&self, raw: &[Spanned<String>]) -> Result<C, InventoryError> {
        raw.iter().map(|text| self.parsed(text)).collect()
    }

    fn service(&self, raw: Spanned<RawService>) -> Result<Service, InventoryError> {
        let at = raw.span();
        let raw = raw.into_inner();
        let supervisor = self.supervisor(&raw, &at)?;
        Ok(Service {
            supervisor,
            groups: self.names::<BTreeSet<Name>>(&raw.groups)?,
            protected: raw.protected,
            check: raw.check.map(|check| self.check(check)).transpose()?,
            heal: raw.heal.iter().map(|text| self.parsed(text)).collect::<Result<_, _>>()?,
            healed: self.healed_or_default(raw.healed)?,
            // Stopping what is slowly coming up makes an outage worse.
            unhealed: self.after_failure(raw.unhealed.as_ref(), AfterFailure::Leave)?,
            attempts: raw.limits.map_or_else(|| Ok(attempts_default()), |limits| self.attempts(limits))?,
        })
    }

    fn supervisor(&self, raw: &RawService, at: &Range<usize>) -> Result<Supervisor, InventoryError> {
        match (&raw.unit, &raw.command) {
            (Some(_), Some(_)) => {
                Err(self.error(at, "a service has both `unit` and `command`; keep the one that runs it"))
            }
            (None, None) => Err(self.error(
                at,
                "a service needs `unit = \"NAME.service\"` (systemd) or `command = [..]` (Guardian's keeper)",
            )),
            (Some(unit), None) => {
                let own =
                    [raw.user.is_some(), raw.directory.is_some(), !raw.environment.is_empty(), raw.stop_time.is_some()];
                let more = [
                    raw.settle_time.is_some(),
                    raw.reload_signal.is_some(),
                    raw.output_kib.is_some(),
                    raw.open_files.is_some(),
                ];
                if own.into_iter().chain(more).any(|set| set) {
                    let problem = "a service with `unit` is run by systemd; set user, directory, environment, times and limits in the unit";
                    return Err(self.error(at, problem));
                }
                self.unit(unit)
            }
            (None, Some(command)) => self.command(raw, command).map(Supervisor::Process),
        }
    }

    fn unit(&self, unit: &Spanned<String>) -> Result<Supervisor, InventoryError> {
        let name = unit.get_ref();
        // The characters of systemd.unit(5); a unit name travels over D-Bus only, never through a shell.
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if name.len() > 255 || !name.ends_with(".service") || !name.chars().all(plain) {
            let shown = crate::model::escape_to(name, 80);
            return Err(
                self.error(&unit.span(), format!("`{shown}` is not the name of a service unit; it ends in `.service`"))
            );
        }
        Ok(Supervisor::Systemd { unit: name.clone() })
    }

    fn command(&self, raw: &RawService, command: &Spanned<Vec<String>>) -> Result<CommandLine, InventoryError> {
        let at = command.span();
        let argv = command.get_ref().clone();
        let Some(program) = argv.first() else {
            return Err(self.error(&at, "`command` needs a program"));
        };
        if !Path::new(program).is_absolute() {
            let shown = crate::model::escape_to(program, 80);
            return Err(self.error(&at, format!("the program `{shown}` must be an absolute path: no PATH is searched")));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            return Err(self.error(&at, "an argument contains a NUL byte"));
        }
        let reload_signal = match &raw.reload_signal {
            None => None,
            Some(name) => Some(
                signal(name.get_ref())
                    .ok_or_else(|| self.error(&name.span(), "`reload_signal` must be SIGHUP, SIGUSR1 or SIGUSR2"))?,
            ),
        };
        Ok(CommandLine {
            argv,
            user: raw.user.clone(),
            directory: raw.directory.clone(),
            environment: raw.environment.clone(),
            // systemd's default is 90 s; Guardian's calls end after 30 s, and most services are down within one.
            stop_time: self.own_time(raw.stop_time.as_ref(), Duration::from_secs(10))?,
            // Long enough to catch a program that ends at once over a bad configuration.
            settle_time: self.own_time(raw.settle_time.as_ref(), Duration::from_millis(200))?,
            reload_signal,
            output_bytes: self.within("output_kib", raw.output_kib.unwrap_or(1_024), 4, 1 << 20, &at)? * 1_024,
            open_files: self.within("open_files", raw.open_files.unwrap_or(1_024), 16, 1 << 20, &at)?,
        })
    }

    pub(super) fn within(
        &self,
        key: &str,
        value: u64,
        least: u64,
        most: u64,
        at: &Range<usize>,
    ) -> Result<u64, InventoryError> {
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(self.error(at, format!("`{key}` must be at least {least} and at most {most}, not {value}")))
        }
    }

    fn probe(&self, raw: Spanned<RawProbe>) -> Result<Probe, InventoryError> {
        let raw = raw.into_inner();
        let at = raw.check.span();
        let check = self.check(raw.check)?;
        if check.look == Look::Supervisor {
            return Err(self.error(&at, "`supervisor = true` is for the check of a service; give the probe an address"));
        }
        Ok(Probe {
            check,
            groups: self.names(&raw.groups)?,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
        })
    }

    fn check(&self, raw: Spanned<RawCheck>) -> Result<Check, InventoryError> {
        let at = raw.span();
        let raw = raw.into_inner();
        let look = match (&raw.tcp, &raw.http, raw.supervisor.unwrap_or(false)) {
            (Some(address), None, false) => {
                let address: SocketAddr = address.parse().map_err(|_| {
                    let shown = crate::model::escape_to(address, 80);
                    self.error(&at, format!("`tcp` takes an address and a port like 127.0.0.1:80, not `{shown}`"))
                })?;
                Look::Tcp { address }
            }
            (None, Some(url), false) => {
                if !url.starts_with("http://") || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return Err(self.error(&at, "`http` takes a URL that begins with http://"));
                }
                Look::Http { url: url.clone(), status: raw.status }
            }
            (None, None, true) => Look::Supervisor,
            _ => return Err(self.error(&at, "a check has exactly one of `tcp`, `http` and `supervisor = true`")),
        };
        if raw.status.is_some() && raw.http.is_none() {
            return Err(self.error(&at, "`status` goes with `http`"));
        }
        let timeout = self.time(raw.timeout.as_ref(), &at, Duration::from_secs(1))?;
        if timeout.is_zero() || timeout > Duration::from_secs(30) {
            return Err(self.error(&at, "`timeout` must be between 1ms and 30s"));
        }
        let every = self.time(raw.every.as_ref(), &at, Duration::from_secs(5))?;
        // Faster is a load of its own, and a record for every look.
        if every < Duration::from_millis(50) {
            return Err(self.error(&at, "`every` must be at least 50ms"));
        }
        Ok(Check {
            look,
            every,
            timeout,
            slow: raw.slow.as_ref().map(|slow| self.time(Some(slow), &at, Duration::ZERO)).transpose()?,
            fail_after: match raw.fail_after {
                Some(0) => return Err(self.error(&at, "`fail_after` must be at least 1")),
                Some(count) => count,
                None => 3,
            },
        })
    }

    fn healed(&self, raw: Spanned<RawHealed>) -> Result<Healed, InventoryError> {
        let at = raw.span();
        let raw = raw.into_inner();
        let default = healed_default();
        let healed = Healed {
            successes: raw.successes.unwrap_or(default.successes),
            grace: self.time(raw.grace.as_ref(), &at, default.grace)?,
            deadline: self.time(raw.deadline.as_ref(), &at, default.deadline)?,
        };
        if healed.successes == 0 {
            return Err(self.error(&at, "`successes` must be at least 1: healed is what a check says"));
        }
        // Longer, and a run holds the trail while a person waits.
        if healed.deadline > Duration::from_secs(3_600) {
            return Err(self.error(&at, "`deadline` must be at most 1h"));
        }
        if healed.grace > healed.deadline {
            return Err(self.error(&at, "`grace` is longer than `deadline`"));
        }
        Ok(healed)
    }

    fn attempts(&self, raw: Spanned<RawAttempts>) -> Result<Attempts, InventoryError> {
        let at = raw.span();
        let raw = raw.into_inner();
        let default = attempts_default();
        let attempts = Attempts {
            attempts: raw.attempts.unwrap_or(default.attempts),
            per: self.time(raw.per.as_ref(), &at, default.per)?,
            cooldown: self.time(raw.cooldown.as_ref(), &at, default.cooldown)?,
        };
        if attempts.attempts == 0 {
            return Err(
                self.error(&at, "`attempts` must be at least 1; to never heal a service, permit nothing for it")
            );
        }
        Ok(attempts)
    }
}

/// Three good looks in a row: one could be luck, and at the usual second between looks three cost three seconds.
const fn healed_default() -> Healed {
    Healed { successes: 3, grace: Duration::from_secs(5), deadline: Duration::from_secs(30) }
}

/// Three tries in ten minutes: more than that and the playbook is not the cure.
const fn attempts_default() -> Attempts {
    Attempts { attempts: 3, per: Duration::from_secs(600), cooldown: Duration::from_secs(20) }
}

/// The signals that services read as "reload", by their Linux numbers on every architecture Guardian runs on.
fn signal(name: &str) -> Option<i32> {
    match name {
        "SIGHUP" => Some(1),
        "SIGUSR1" => Some(10),
        "SIGUSR2" => Some(12),
        _ => None,
    }
}

/// serde's words, on one line, with the nearest of the names it expected.
fn with_nearest(message: &str) -> String {
    let line = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((given, known)) if line.starts_with("unknown field") => {
            let shown = crate::model::escape_to(given, 64);
            match nearest(given, known.iter().copied()) {
                Some(name) => format!("unknown key `{shown}`; did you mean `{name}`?"),
                None => format!("unknown key `{shown}`; known here: {}", known.join(", ")),
            }
        }
        _ => crate::model::escape_to(&line, 300),
    }
}
