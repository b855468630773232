//! The guests that are measured: a few lines of WebAssembly text, made into signed-to-be components.
//!
//! They do nothing but call, so that what is measured is the host.

use std::path::Path;

use anyhow::{Result, anyhow};
use guardian::model::Manifest;
use guardian::trust::embed_manifest;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// One page, an allocator that only goes up, and the export.
const FRAME: &str = r#"
(type $remediate (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(global $free (mut i32) (i32.const 8192))
(func $realloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $at) (local.get $new)))
  (local.get $at))
(export "guardian:playbook/remediation@0.1.0#remediate" (func $remediate))
"#;

/// Two reads: the service, and its check. An error of either is a trap, so that it cannot pass for a fast run.
pub(crate) const LOOK: Guest = Guest {
    name: "look",
    capabilities: r#"["service", "probe"]"#,
    text: r#"
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(import "guardian:playbook/probe@0.1.0" "run" (func $probe (param i32 i32 i32)))
(data (i32.const 16) "web")
(data (i32.const 32) "service.web")
(func $remediate (type $remediate)
  (call $status (i32.const 16) (i32.const 3) (i32.const 2048))
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (call $probe (i32.const 32) (i32.const 11) (i32.const 2048))
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (i32.const 1024))
"#,
};

/// One effect that finds nothing to do.
pub(crate) const RESET: Guest = Guest {
    name: "reset",
    capabilities: r#"["service"]"#,
    text: r#"
(import "guardian:playbook/service@0.1.0" "reset-failed" (func $reset (param i32 i32 i32)))
(data (i32.const 16) "web")
(func $remediate (type $remediate)
  (call $reset (i32.const 16) (i32.const 3) (i32.const 2048))
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (i32.const 1024))
"#,
};

/// One guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    /// `bench/NAME`.
    pub(crate) name: &'static str,
    capabilities: &'static str,
    text: &'static str,
}

impl Guest {
    /// The component, with its manifest.
    pub(crate) fn component(&self) -> Result<Vec<u8>> {
        let mut module = wat::parse_str(format!("(module {} {FRAME})", self.text))?;
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")))?;
        let world = resolve.select_world(&[package], Some("playbook"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
        let Self { name, capabilities, .. } = self;
        let manifest = Manifest::from_toml(&format!(
            "publisher = 'bench'\nname = '{name}'\nversion = '1.0.0'\nrelease = 1\ndescription = 'measured'\n\
             capabilities = {capabilities}\n[roles]\ntarget = 'service'\n"
        ))
        .map_err(|error| anyhow!("{error}"))?;
        Ok(embed_manifest(&component, &manifest)?)
    }
}
