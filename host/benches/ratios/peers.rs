//! The tools that are measured beside Guardian, as scripts/bench-packages installs them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::house;

fn binary(name: &str) -> Result<Option<PathBuf>> {
    let path = house::target()?.join("bench-peers/bin").join(name);
    Ok(path.exists().then_some(path))
}

/// The median of one decision and one entry of the Python toolkit, in microseconds; none if it is not installed.
pub(crate) fn agentmesh() -> Result<Option<f64>> {
    let Some(python) = binary("python")? else { return Ok(None) };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/policy_toolkit.py");
    let output = Command::new(python).arg(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "policy_toolkit.py ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    Ok(Some(text.trim().parse().with_context(|| format!("policy_toolkit.py printed {text}"))?))
}

/// Ansible.
#[derive(Debug)]
pub(crate) struct Ansible {
    program: PathBuf,
    home: tempfile::TempDir,
}

/// Ansible; none if it is not installed.
pub(crate) fn ansible() -> Result<Option<Ansible>> {
    let Some(program) = binary("ansible")? else { return Ok(None) };
    Ok(Some(Ansible { program, home: house::folder()? }))
}

impl Ansible {
    /// The module that does nothing, on this machine.
    pub(crate) fn ping(&self) -> Result<()> {
        let output = Command::new(&self.program)
            .args(["localhost", "-m", "ping", "-e", "ansible_python_interpreter=/usr/bin/python3"])
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "ansible: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
