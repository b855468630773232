//! What a keeper is told to do: one JSON document on its standard input.
//!
//! It goes through a pipe and not through a file or arguments because it holds the environment of the service, and an
//! environment may hold a secret: it is never on a disk and never in `ps`. Account names are resolved by the sender, so
//! that a typo is an error message of Guardian and not of a detached process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::inventory::CommandLine;
use crate::model::escape;

/// An environment and a command line together may be 2 MiB for the kernel; a service's are a few kilobytes.
const LARGEST: u64 = 1024 * 1024;

/// What to begin with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Run the command.
    Start,
    /// Watch a process that an earlier keeper ran.
    Adopt(Identity),
}

/// The user a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// One order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) task: Task,
    pub(crate) argv: Vec<String>,
    pub(crate) account: Option<Account>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) stop_ms: u64,
    pub(crate) reload_signal: Option<i32>,
    pub(crate) output_bytes: u64,
    pub(crate) open_files: u64,
}

impl Order {
    pub(crate) fn new(task: Task, command: &CommandLine) -> Result<Self, String> {
        Ok(Self {
            task,
            argv: command.argv.clone(),
            account: command.user.as_deref().map(account).transpose()?,
            directory: command.directory.clone().unwrap_or_else(|| PathBuf::from("/")),
            environment: command.environment.clone(),
            stop_ms: u64::try_from(command.stop_time.as_millis()).unwrap_or(u64::MAX),
            reload_signal: command.reload_signal,
            output_bytes: command.output_bytes,
            open_files: command.open_files,
        })
    }

    pub(crate) const fn stop_time(&self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }

    pub(crate) fn send(&self, to: &mut impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *to, self)?;
        to.flush()
    }

    pub(crate) fn receive(from: impl Read) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        from.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Looks a user up in `/etc/passwd`. Users of a directory service have to be given by number, and then by `uid:gid`.
pub(crate) fn account(user: &str) -> Result<Account, String> {
    if let Some((uid, gid)) = user.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        return Ok(Account { uid, gid });
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
    passwd
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (name == user).then_some(Account { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        })
        .ok_or_else(|| format!("user `{}` is not in /etc/passwd; correct `user`, or write it as uid:gid", escape(user)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_and_never_guessed() {
        assert_eq!(account("root"), Ok(Account { uid: 0, gid: 0 }));
        assert_eq!(account("12:34"), Ok(Account { uid: 12, gid: 34 }));
        assert!(account("no-such-user").unwrap_err().contains("/etc/passwd"));
        assert!(account("").is_err());
        assert!(account("12").is_err());
    }
}
