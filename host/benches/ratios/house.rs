//! A home to measure in: made by the program itself, as an operator makes one, then opened in this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use guardian::audit::Trail;
use guardian::inventory::Home;
use guardian::model::SystemClock;
use guardian::policy::Source;
use guardian::run::Site;

use crate::guest::Guest;

/// The program under measurement, built with the profile of the bench.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_guardian");

/// The target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Ok(temporary.parent().context("a target directory")?.to_owned())
}

/// Where results go; homes are made below it, on the file system of the target directory and not in memory.
pub(crate) fn results() -> Result<PathBuf> {
    let folder = target()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An empty folder that goes when it is dropped.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("home-").tempdir_in(results()?)?)
}

/// A home.
#[derive(Debug)]
pub(crate) struct House {
    root: tempfile::TempDir,
}

impl House {
    /// A home with this configuration and these policies beside those of `init`, and the guests, signed and added.
    pub(crate) fn new(configuration: &str, policies: &[Source], guests: &[Guest]) -> Result<Self> {
        let house = Self { root: folder()? };
        house.guardian(&["init"])?;
        std::fs::write(house.root().join("etc/guardian.toml"), configuration)?;
        for source in policies {
            std::fs::write(house.root().join("etc/policy").join(&source.path), &source.text)?;
        }
        let key = house.root().join("bench.key");
        house.guardian(&["key", "new", text(&key)?])?;
        house.guardian(&["trust", "add", &format!("{}.pub", text(&key)?), "--publisher", "bench"])?;
        for guest in guests {
            let file = house.root().join(format!("{}-1.wasm", guest.name));
            std::fs::write(&file, guest.component()?)?;
            house.guardian(&["playbook", "sign", text(&file)?, "--key", text(&key)?])?;
            house.guardian(&["playbook", "add", text(&file)?])?;
        }
        Ok(house)
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A command of the program on this home, silent.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--home").arg(self.root()).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn guardian(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Its trail, opened for writing in this process.
    pub(crate) fn trail(&self) -> Result<Trail> {
        let (site, lock) =
            Site::open_to_write(Home::at(self.root()), PROGRAM.into(), Arc::new(SystemClock::default()), None)?;
        Ok(site.open_trail(lock)?)
    }

    /// The home, opened in this process.
    pub(crate) fn site(&self) -> Result<Site> {
        Ok(Site::open(Home::at(self.root()), PROGRAM.into(), Arc::new(SystemClock::default()))?)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a target directory with a UTF-8 path")
}
