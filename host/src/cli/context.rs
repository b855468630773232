//! What every command starts from: the home, the screen, this program and the clock.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditError, TrailLock};
use crate::durable::Folder;
use crate::inventory::Home;
use crate::model::{Clock, Limits, SystemClock};
use crate::run::{RunError, Site};

use super::Exit;
use super::failure::Failure;
use super::screen::Screen;

/// What every command starts from.
pub(super) struct Context {
    pub(super) home: Home,
    pub(super) screen: Screen,
    pub(super) clock: Arc<dyn Clock>,
}

impl Context {
    pub(super) fn new(home: Option<PathBuf>, json: bool) -> Result<Self, Failure> {
        let home = match home {
            Some(given) => {
                let absolute = std::path::absolute(&given)
                    .map_err(|error| Failure::usage(format!("--home `{}` cannot be used: {error}", given.display())))?;
                Home::at(&absolute)
            }
            None => Home::of_the_machine(),
        };
        let screen = Screen::new(json, home.flag());
        Ok(Self { home, screen, clock: Arc::new(SystemClock::default()) })
    }

    /// The same for another home, as the demo needs.
    pub(super) fn within(&self, root: &Path) -> Self {
        let home = Home::at(root);
        Self { screen: Screen::new(self.screen.json(), home.flag()), home, clock: Arc::clone(&self.clock) }
    }

    /// Opens the home for a command that writes the trail; see [`Site::open_to_write`].
    pub(super) fn site_to_write(&self, wait: Option<Duration>) -> Result<(Site, TrailLock), Failure> {
        Ok(Site::open_to_write(self.home.clone(), program()?, Arc::clone(&self.clock), wait)?)
    }

    /// The same without waiting: none if another process writes the trail now.
    pub(super) fn site_to_write_if_free(&self) -> Result<Option<(Site, TrailLock)>, Failure> {
        match Site::open_to_write(self.home.clone(), program()?, Arc::clone(&self.clock), Some(Duration::ZERO)) {
            Ok(opened) => Ok(Some(opened)),
            Err(RunError::Audit(AuditError::Held { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the home.
    pub(super) fn site(&self) -> Result<Site, Failure> {
        Ok(Site::open(self.home.clone(), program()?, Arc::clone(&self.clock))?)
    }
}

/// This binary: the very file that runs, also when it was replaced since.
pub(super) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::other(format!("cannot find this program: {error}")))
}

/// A file a person named: its folder, opened, and its name in it.
pub(super) fn folder_of(path: &Path) -> Result<(Folder, String), Failure> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = absolute.file_name().and_then(std::ffi::OsStr::to_str);
    match (absolute.parent(), name) {
        (Some(folder), Some(name)) => Ok((Folder::open(folder)?, name.to_owned())),
        _ => Err(Failure::usage(format!("`{}` is not a file", path.display()))),
    }
}

/// The hidden command that compiles one component: first it confines itself, then it reads a byte.
pub(super) fn compile_worker(limits: &str) -> ExitCode {
    let limits: Limits = match serde_json::from_str(limits) {
        Ok(limits) => limits,
        Err(error) => {
            eprintln!("the limits cannot be read: {error}");
            return Exit::Usage.into();
        }
    };
    if let Err(error) = crate::registry::confine(&limits) {
        eprintln!("{error}");
        return Exit::Other.into();
    }
    crate::sandbox::compile_worker()
}
