//! The publisher's side: signing a release.
//!
//! A release is signed as it is: the manifest comes out of the component, so nobody can sign a statement that differs from
//! it. For a threshold above one, the first holder makes the envelope and each other adds a signature over the *same*
//! payload, after it was checked against the component in their own hands.

use super::TrustError;
use super::dsse::{Envelope, PAYLOAD_TYPE};
use super::embed::read_both;
use super::key::SigningKey;
use super::statement::{Statement, Validity};
use crate::model::Digest;

/// Signs a component: the bytes of a new envelope.
///
/// # Errors
/// When it has no usable manifest, or the validity is empty.
pub fn sign(component: &[u8], key: &SigningKey, validity: Validity) -> Result<Vec<u8>, TrustError> {
    let Validity { not_before, not_after } = validity;
    if not_after <= not_before {
        return Err(TrustError::EmptyValidity { not_before, not_after });
    }
    let (manifest, manifest_json) = read_both(component)?;
    let payload = Statement::payload(&Digest::of(component), &manifest, &manifest_json, validity);
    // What is signed must be what this host will accept; better to fail here than at every operator's.
    Statement::parse(&payload)?;
    let mut envelope = Envelope::new(payload);
    envelope.sign(key);
    Ok(envelope.to_json())
}

/// Adds a signature to an envelope: its bytes, with one more.
///
/// # Errors
/// When the envelope is not about this component, or this key has signed it already.
pub fn cosign(component: &[u8], envelope: &[u8], key: &SigningKey) -> Result<Vec<u8>, TrustError> {
    let mut envelope = Envelope::parse(envelope)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(TrustError::Statement(format!("its payload type is not `{PAYLOAD_TYPE}`")));
    }
    let statement = Statement::parse(&envelope.payload)?;
    let found = Digest::of(component);
    if found != statement.digest {
        return Err(TrustError::OtherBytes { signed: statement.digest, found });
    }
    let (manifest, manifest_json) = read_both(component)?;
    if manifest != statement.manifest || manifest_json != statement.manifest_json {
        return Err(TrustError::OtherManifest);
    }
    let message = envelope.pae();
    if envelope.signatures.iter().any(|signature| key.public().verifies(&message, &signature.bytes)) {
        return Err(TrustError::AlreadySigned);
    }
    envelope.sign(key);
    let bytes = envelope.to_json();
    Envelope::parse(&bytes)?;
    Ok(bytes)
}
