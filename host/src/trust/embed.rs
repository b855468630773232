//! The manifest inside the component: the custom section `guardian:manifest`.
//!
//! Exactly one, at the top level. Two would let one tool show the first and another obey the second; one inside a nested
//! module or component is refused too, because a tool that walks everything would find it and this host would not.
//!
//! Reading does not validate the rest of the component (the compiler does, in its own process) and recurses into
//! nothing, so it is safe on bytes that nobody has signed; `playbook inspect` uses it so.

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::{Encoding, Parser, Payload};

use super::{TrustError, json};
use crate::model::{Manifest, escape_to};

/// Reads the manifest out of a component. The bytes need not be verified, and the result proves nothing.
///
/// # Errors
/// When the bytes are not a component, have no manifest or more than one, or one that cannot be used.
pub fn read_manifest(component: &[u8]) -> Result<Manifest, TrustError> {
    read_both(component).map(|(manifest, _)| manifest)
}

/// The manifest, and its JSON exactly as it stands there.
pub(super) fn read_both(component: &[u8]) -> Result<(Manifest, serde_json::Value), TrustError> {
    let section = section(component)?.ok_or(TrustError::Section("has no manifest (section `guardian:manifest`)"))?;
    let manifest = Manifest::from_json(section)?;
    let value = json::parse(section).map_err(crate::model::InvalidManifest::Shape)?;
    Ok((manifest, value))
}

/// The component with this manifest at its end.
///
/// # Errors
/// When the bytes are not a component, or have a manifest already.
pub fn embed_manifest(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, TrustError> {
    if section(component)?.is_some() {
        return Err(TrustError::Section("has a manifest already"));
    }
    let json = manifest.to_json();
    let mut out = component.to_vec();
    CustomSection { name: Manifest::SECTION.into(), data: json.as_slice().into() }.append_to_component(&mut out);
    Ok(out)
}

fn section(component: &[u8]) -> Result<Option<&[u8]>, TrustError> {
    let mut found = None;
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| TrustError::Component(escape_to(error.message(), 96)))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(TrustError::Component("it is a core module".to_owned()));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(custom) if custom.name() == Manifest::SECTION => {
                if depth > 0 {
                    return Err(TrustError::Section("has a manifest inside a nested module or component"));
                }
                if found.replace(custom.data()).is_some() {
                    return Err(TrustError::Section("has more than one manifest"));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{Component, Module, ModuleSection};

    fn manifest() -> Manifest {
        Manifest::from_toml("publisher='a'\nname='b'\nversion='1.0.0'\nrelease=1\ndescription='d'").unwrap()
    }

    fn custom(data: &[u8]) -> CustomSection<'_> {
        CustomSection { name: Manifest::SECTION.into(), data: data.into() }
    }

    #[test]
    fn one_manifest_at_the_top() {
        let plain = Component::new().finish();
        let with = embed_manifest(&plain, &manifest()).unwrap();
        assert_eq!(read_manifest(&with).unwrap(), manifest());
        assert!(with.starts_with(&plain));
        let no = |bytes: &[u8], word: &str| {
            let error = read_manifest(bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        no(&plain, "no manifest");
        no(b"", "not a webassembly component");
        no(&with[..with.len() - 1], "not a webassembly component");
        no(&Module::new().finish(), "core module");
        assert!(embed_manifest(&with, &manifest()).is_err(), "a second manifest was embedded");

        let json = manifest().to_json();
        let mut twice = Component::new();
        twice.section(&custom(&json)).section(&custom(&json));
        no(&twice.finish(), "more than one");

        let mut inner = Module::new();
        inner.section(&custom(&json));
        let mut nested = Component::new();
        nested.section(&ModuleSection(&inner)).section(&custom(&json));
        no(&nested.finish(), "nested");

        let mut after = Component::new();
        after.section(&ModuleSection(&Module::new())).section(&custom(&json));
        assert_eq!(read_manifest(&after.finish()).unwrap(), manifest());

        let double = String::from_utf8(json).unwrap().replace("\"roles\":{}", r#""roles":{"t":"service","t":"probe"}"#);
        let mut doubled = Component::new();
        doubled.section(&custom(double.as_bytes()));
        no(&doubled.finish(), "twice");
    }
}
