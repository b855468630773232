//! `guardian playbook build DIR`: from a crate to the one file that is signed.
//!
//! Three steps, each of which can be looked at: cargo makes a core module for wasm32-unknown-unknown, the module becomes
//! a component, and the manifest goes in as a custom section, so that it is inside every digest and every signature. The
//! result is then read back the way a host reads it, and its capabilities have to be exactly what it imports: an author
//! learns here, not at the customer's, that a playbook would be refused.
//!
//! Paths of the machine are mapped away, so that the same source and toolchain give the same bytes elsewhere and an
//! artifact does not tell where it was built. Building runs the crate's build scripts with the author's rights, as any
//! cargo build does; it is a tool for authors, and a host that only runs playbooks never comes here.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use wit_component::ComponentEncoder;

use crate::durable::Folder;
use crate::model::{Digest, Interface, Limits, Manifest, escape_to};
use crate::policy::PolicySet;
use crate::sandbox::walk;
use crate::trust::embed_manifest;

const TARGET: &str = "wasm32-unknown-unknown";
/// The toolchain that scripts/guest-toolchain links where rustup cannot fetch the target.
const LINKED_TOOLCHAIN: &str = "guardian-guest";
/// A manifest's own limit, in bytes.
const LARGEST_MANIFEST: u64 = 64 * 1024;

/// The permits a playbook ships, for operators to start from.
const FRAGMENT: &str = "permits.cedar";

/// What was built.
#[derive(Debug)]
#[must_use]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// Its identity everywhere.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: usize,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it can ask for.
    pub interfaces: BTreeSet<Interface>,
}

impl fmt::Display for Built {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "built    {} release {} ({} bytes)", self.manifest.id(), self.manifest.release, self.bytes)?;
        writeln!(out, "file     {}", self.path.display())?;
        writeln!(out, "digest   {}", self.digest)?;
        write!(out, "may ask to")?;
        for interface in &self.interfaces {
            write!(out, "\n  {:<8} {}", interface.word(), interface.in_words())?;
        }
        if self.interfaces.is_empty() {
            write!(out, "\n  nothing")?;
        }
        Ok(())
    }
}

/// Builds the playbook in `dir` and writes `<name>-<release>.wasm` to `out`, by default to `dir` itself.
///
/// # Errors
/// No manifest, no toolchain for guests, code that does not compile, a component that a host would refuse. Nothing is
/// written then.
pub fn build(dir: &Path, out: Option<&Path>) -> Result<Built> {
    let folder = Folder::open(dir)?;
    let text = folder.read_bounded("playbook.toml", LARGEST_MANIFEST)?;
    let text = String::from_utf8(text).map_err(|_| anyhow!("playbook.toml in {} is not UTF-8", dir.display()))?;
    let manifest = Manifest::from_toml(&text).with_context(|| format!("playbook.toml in {}", dir.display()))?;
    check_fragment(&folder, &manifest)?;
    let module = core_module(dir)?;
    let component = with_manifest(&module, &manifest)?;
    let report = walk(&component, &BTreeSet::from(Interface::ALL), &Limits::default())?;
    report.matches(&manifest)?;
    let to = Folder::open(out.unwrap_or(dir))?;
    let name = format!("{}-{}.wasm", manifest.name, manifest.release);
    to.replace(&name, &component)?;
    Ok(Built {
        path: to.path().join(name),
        digest: Digest::of(&component),
        bytes: component.len(),
        manifest,
        interfaces: report.interfaces,
    })
}

/// The permits that a playbook ships may speak for that playbook and for nobody else.
fn check_fragment(folder: &Folder, manifest: &Manifest) -> Result<()> {
    let text = match folder.read_bounded(FRAGMENT, LARGEST_MANIFEST) {
        Ok(text) => String::from_utf8(text).map_err(|_| anyhow!("{FRAGMENT} is not UTF-8"))?,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    PolicySet::load_fragment(&manifest.id(), FRAGMENT, &text)?;
    Ok(())
}

/// The component, with the manifest inside.
fn with_manifest(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| anyhow!("{}", escape_to(&format!("{error:#}"), 400)))
        .context("the module is no playbook; export one with `guardian_sdk::export!` and import from the SDK only")?;
    Ok(embed_manifest(&component, manifest)?)
}

/// How guests are compiled on this machine.
enum Toolchain {
    /// The default toolchain has the target.
    Target,
    /// A linked toolchain with the source of std, and this linker.
    Source { linker: &'static str },
}

impl Toolchain {
    fn find(dir: &Path) -> Result<Self> {
        let sysroot = answer(rustc(dir).args(["--print", "sysroot"]))
            .ok_or_else(|| anyhow!("there is no `rustc` here; install Rust from https://rustup.rs"))?;
        if Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            return Ok(Self::Target);
        }
        let linker = ["wasm-ld", "wasm-ld-19", "wasm-ld-18", "wasm-ld-20"]
            .into_iter()
            .find(|linker| answer(Command::new(linker).arg("--version")).is_some());
        let linked = answer(rustc(dir).args([&format!("+{LINKED_TOOLCHAIN}"), "--version"])).is_some();
        match (linked, linker) {
            (true, Some(linker)) => Ok(Self::Source { linker }),
            _ => bail!("there is no Rust toolchain for {TARGET} here; run scripts/guest-toolchain once"),
        }
    }

    fn cargo(&self, dir: &Path) -> Command {
        let mut cargo = Command::new("cargo");
        // Set by an outer cargo (`cargo run`, `cargo test`): they would choose the toolchain instead of us.
        for outer in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            cargo.env_remove(outer);
        }
        cargo.current_dir(dir);
        match self {
            Self::Target => {
                cargo.arg("build");
            }
            Self::Source { linker } => {
                cargo.arg(format!("+{LINKED_TOOLCHAIN}")).args(["build", "-Zbuild-std=std,panic_abort"]);
                cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            }
        }
        cargo
    }
}

/// `rustc` as it would be without an outer cargo.
fn rustc(dir: &Path) -> Command {
    let mut rustc = Command::new("rustc");
    rustc.env_remove("RUSTUP_TOOLCHAIN").current_dir(dir);
    rustc
}

/// What a command prints, if it works.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Compiles the crate, small: a playbook waits for services, it does not compute.
fn core_module(dir: &Path) -> Result<Vec<u8>> {
    let mut cargo = Toolchain::find(dir)?.cargo(dir);
    cargo.args(["--lib", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    for setting in [
        "profile.release.opt-level='s'",
        "profile.release.lto=true",
        "profile.release.strip=true",
        "profile.release.debug=false",
        "profile.release.panic='abort'",
        "profile.release.codegen-units=1",
    ] {
        cargo.args(["--config", setting]);
    }
    cargo.args(["--config", &format!("target.{TARGET}.rustflags={}", without_paths(dir))]);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("`cargo` could not be started; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("cargo could not compile {}", dir.display());
    }
    let module = artifact(&output.stdout, dir)
        .ok_or_else(|| anyhow!("{} has no library with `crate-type = [\"cdylib\"]`", dir.display()))?;
    let (Some(parent), Some(name)) = (module.parent(), module.file_name().and_then(|name| name.to_str())) else {
        bail!("cargo named `{}`, which is no file", module.display());
    };
    Ok(Folder::open(parent)?.read_bounded(name, Limits::default().component_mib << 20)?)
}

/// The `.wasm` that cargo says it made of the crate in `dir`.
fn artifact(messages: &[u8], dir: &Path) -> Option<PathBuf> {
    let manifest = dir.canonicalize().ok()?.join("Cargo.toml");
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message.get("manifest_path").and_then(|path| path.as_str()).map(Path::new) == Some(&manifest))
        .filter_map(|message| {
            let files = message.get("filenames")?.as_array()?;
            files
                .iter()
                .filter_map(|file| file.as_str())
                .map(PathBuf::from)
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        })
        .next_back()
}

/// Compiler flags that keep this machine's directories out of panic messages, as a TOML list.
fn without_paths(dir: &Path) -> String {
    let workspace = answer(
        Command::new("cargo")
            .args(["locate-project", "--workspace", "--message-format=plain"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .current_dir(dir),
    )
    .and_then(|manifest| Path::new(&manifest).parent().map(Path::to_path_buf));
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let maps = [(workspace, "playbook"), (cargo_home, "cargo")];
    let flags: Vec<String> = maps
        .into_iter()
        .filter_map(|(path, name)| Some(format!("--remap-path-prefix={}=/{name}", path?.to_str()?)))
        .map(|flag| toml::Value::String(flag).to_string())
        .collect();
    format!("[{}]", flags.join(", "))
}
