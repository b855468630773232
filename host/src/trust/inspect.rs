//! Looking at a playbook without trusting it.
//!
//! What comes out is what the file *says*: nothing is verified, and the type says so. It is for a person who decides
//! whether to trust a publisher, and for tools that explain a refusal. Every text in it was written by a stranger and is
//! escaped at the door that shows it.

use super::TrustError;
use super::dsse::Envelope;
use super::embed::read_manifest;
use super::statement::{Statement, Validity};
use super::verify::check_size;
use crate::model::{Digest, Limits, Manifest};

/// What a component and its signature file say of themselves. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their size in bytes.
    pub size: usize,
    /// The manifest they carry.
    pub manifest: Manifest,
    /// The signature file, if there is one.
    pub envelope: Option<UnverifiedEnvelope>,
}

/// What a signature file says. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedEnvelope {
    /// The hints of the keys that claim to have signed. Anybody can write any hint.
    pub hints: Vec<String>,
    /// The digest that the statement is about.
    pub digest: Digest,
    /// The validity that the statement claims.
    pub validity: Validity,
    /// Whether the statement is about these bytes and repeats their manifest.
    pub fits: bool,
}

/// Reads what a component, and its signature file if given, say of themselves.
///
/// # Errors
/// When one of them cannot be read at all.
pub fn inspect(component: &[u8], envelope: Option<&[u8]>, limits: &Limits) -> Result<Unverified, TrustError> {
    check_size(component, limits)?;
    let manifest = read_manifest(component)?;
    let digest = Digest::of(component);
    let envelope = match envelope {
        None => None,
        Some(bytes) => {
            let envelope = Envelope::parse(bytes)?;
            let statement = Statement::parse(&envelope.payload)?;
            Some(UnverifiedEnvelope {
                hints: envelope.signatures.into_iter().map(|signature| signature.hint).collect(),
                digest: statement.digest,
                validity: statement.validity,
                fits: statement.digest == digest && statement.manifest == manifest,
            })
        }
    };
    Ok(Unverified { digest, size: component.len(), manifest, envelope })
}
