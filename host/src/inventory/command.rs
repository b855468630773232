//! `[command.NAME]`: a program with its arguments, as the operator wrote it down.
//!
//! Nothing of it comes from anywhere else: no shell reads it, no `PATH` is searched, no variable is inherited and no
//! argument is added. What this room does not do: look at the program, which may be exchanged while Guardian runs; the
//! hand looks at it before each run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::InventoryError;
use super::file::File;
use crate::model::{Name, ResourceName};

/// A command of the operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<String>,
    /// The user to run as; none: the user of Guardian.
    pub user: Option<String>,
    /// Where it starts; an absolute path.
    pub directory: PathBuf,
    /// Its whole environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// How long it may run before it is ended.
    pub timeout: Duration,
    /// How much of the end of its output a playbook may see, in bytes.
    pub output_bytes: u64,
    /// The exit statuses that are a success.
    pub ok: BTreeSet<i32>,
    /// Groups that policies can name.
    pub groups: BTreeSet<Name>,
    /// Whether hard rules may shield it.
    pub protected: bool,
    /// What it belongs to: policies see both in one `Target`.
    pub of: Option<ResourceName>,
}

impl Command {
    /// From SIGTERM to SIGKILL for a command whose time is up: enough to remove a lock file, and short, because the time is
    /// the playbook's.
    pub const GRACE: Duration = Duration::from_secs(1);
    /// What starting and ending the processes around a command may take on a loaded machine.
    pub const OVERHEAD: Duration = Duration::from_secs(1);

    /// The longest a call may take that runs it.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.timeout.saturating_add(Self::GRACE).saturating_add(Self::OVERHEAD)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommand {
    run: Spanned<Vec<String>>,
    user: Option<String>,
    directory: Option<Spanned<PathBuf>>,
    environment: Option<Spanned<BTreeMap<String, String>>>,
    timeout: Option<Spanned<String>>,
    output_kib: Option<Spanned<u64>>,
    ok: Option<Spanned<Vec<i32>>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    protected: bool,
    of: Option<Spanned<String>>,
}

impl File<'_> {
    pub(super) fn command_resource(&self, raw: RawCommand) -> Result<Command, InventoryError> {
        // A hand's own limit is the deadline of a call; 20 s leave room for a run's other calls.
        let timeout = self.own_time(raw.timeout.as_ref(), Duration::from_secs(20))?;
        if let Some(text) = raw.timeout.as_ref().filter(|_| timeout.is_zero()) {
            return Err(self.error(&text.span(), "`timeout` must be at least 1ms"));
        }
        // 16 KiB are some 200 lines; 256 KiB are within what a guest's call may carry, and no playbook reads more.
        let output_kib = raw.output_kib.map_or(Ok(16), |kib| {
            let at = kib.span();
            self.within("output_kib", kib.into_inner(), 1, 256, &at)
        })?;
        Ok(Command {
            argv: self.command_argv(&raw.run)?,
            user: raw.user,
            directory: self.command_directory(raw.directory)?,
            environment: self.command_environment(raw.environment)?,
            timeout,
            output_bytes: output_kib * 1_024,
            ok: self.command_ok(raw.ok)?,
            groups: self.names(&raw.groups)?,
            protected: raw.protected,
            of: raw.of.as_ref().map(|text| self.parsed(text)).transpose()?,
        })
    }

    fn command_argv(&self, run: &Spanned<Vec<String>>) -> Result<Vec<String>, InventoryError> {
        let at = run.span();
        let Some(program) = run.get_ref().first() else {
            return Err(self.error(&at, "`run` needs a program"));
        };
        if !Path::new(program).is_absolute() {
            let shown = crate::model::escape_to(program, 80);
            return Err(self.error(&at, format!("the program `{shown}` must be an absolute path: no PATH is searched")));
        }
        if run.get_ref().iter().any(|argument| argument.contains('\0')) {
            return Err(self.error(&at, "an argument contains a NUL byte"));
        }
        Ok(run.get_ref().clone())
    }

    fn command_directory(&self, directory: Option<Spanned<PathBuf>>) -> Result<PathBuf, InventoryError> {
        match directory {
            None => Ok(PathBuf::from("/")),
            Some(given) if given.get_ref().is_absolute() && !given.get_ref().to_string_lossy().contains('\0') => {
                Ok(given.into_inner())
            }
            Some(given) => Err(self.error(&given.span(), "`directory` must be an absolute path")),
        }
    }

    fn command_environment(
        &self,
        environment: Option<Spanned<BTreeMap<String, String>>>,
    ) -> Result<BTreeMap<String, String>, InventoryError> {
        let Some(environment) = environment else { return Ok(BTreeMap::new()) };
        let at = environment.span();
        let named = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        if environment.get_ref().iter().any(|(name, value)| !named(name) || value.contains('\0')) {
            return Err(self.error(&at, "a name in `environment` is empty or has `=` in it, or a NUL byte is in one"));
        }
        Ok(environment.into_inner())
    }

    fn command_ok(&self, ok: Option<Spanned<Vec<i32>>>) -> Result<BTreeSet<i32>, InventoryError> {
        let Some(ok) = ok else { return Ok(BTreeSet::from([0])) };
        if ok.get_ref().is_empty() || ok.get_ref().iter().any(|status| !(0..=255).contains(status)) {
            return Err(self.error(&ok.span(), "`ok` lists the exit statuses that are a success, each from 0 to 255"));
        }
        Ok(ok.into_inner().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Configuration;

    fn command(keys: &str) -> Result<Command, InventoryError> {
        let text = format!("[command.rebuild]\n{keys}");
        let read = Configuration::parse(Path::new("guardian.toml"), &text)?;
        Ok(read.inventory.commands.into_values().next().unwrap())
    }

    #[test]
    fn everything_has_a_default_but_the_command() {
        let read = command("run = ['/bin/true']").unwrap();
        assert_eq!((read.timeout, read.output_bytes), (Duration::from_secs(20), 16_384));
        assert_eq!((read.directory, read.ok), (PathBuf::from("/"), BTreeSet::from([0])));
        let read = command(
            "run = ['/bin/true', '-x']\nuser = 'app'\ndirectory = '/srv'\nenvironment = { LANG = 'C' }\n\
             timeout = '1s'\noutput_kib = 1\nok = [0, 3]",
        )
        .unwrap();
        assert_eq!((read.timeout, read.output_bytes), (Duration::from_secs(1), 1_024));
        assert_eq!((read.user.as_deref(), read.ok), (Some("app"), BTreeSet::from([0, 3])));
    }

    #[test]
    fn each_mistake_is_named() {
        for (keys, line, words) in [
            ("run = []", 2, "needs a program"),
            ("run = ['true']", 2, "no PATH"),
            ("run = ['/bin/true', \"a\\u0000b\"]", 2, "NUL"),
            ("run = '/bin/true --all'", 2, ""),
            ("run = ['/bin/true']\ndirectory = 'srv'", 3, "absolute"),
            ("run = ['/bin/true']\nenvironment = { 'A=B' = 'c' }", 3, "environment"),
            ("run = ['/bin/true']\ntimeout = '20'", 3, "unit"),
            ("run = ['/bin/true']\ntimeout = '0s'", 3, "at least 1ms"),
            ("run = ['/bin/true']\noutput_kib = 257", 3, "at most 256"),
            ("run = ['/bin/true']\noutput_kib = 0", 3, "at least 1"),
            ("run = ['/bin/true']\nok = []", 3, "0 to 255"),
            ("run = ['/bin/true']\nok = [256]", 3, "0 to 255"),
            ("run = ['/bin/true']\nshell = true", 3, "unknown key"),
        ] {
            match command(keys).unwrap_err() {
                InventoryError::Content { line: found, problem, .. } => {
                    assert!(problem.contains(words) && !problem.contains('\n'), "{keys}: {problem}");
                    assert_eq!(found, line, "{keys}: {problem}");
                }
                other => panic!("{other}"),
            }
        }
    }
}
