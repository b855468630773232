//! The statement: in-toto Statement v1, one subject, our predicate.
//!
//! It binds three things with one signature: the digest of the component, the whole manifest, and the time for which the
//! publisher stands behind it. The manifest is also inside the component; that both are equal is checked, so that a tool
//! that shows a person the statement shows what the host will enforce. Exactly one subject: a statement about two files
//! would let one of them travel on the review of the other.

use serde_json::{Value, json};

use super::TrustError;
use super::json::{Fields, parse};
use crate::model::{Digest, Manifest, Timestamp};

const TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://guardian.dev/playbook-release/v1";

/// From when to when a publisher stands behind a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The moment from which it is not valid any more.
    pub not_after: Timestamp,
}

/// A statement as read. Whether anybody signed it, its holder must know.
pub(super) struct Statement {
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    /// The manifest exactly as it stands there, for the comparison with the embedded one.
    pub(super) manifest_json: Value,
    pub(super) validity: Validity,
}

impl Statement {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, TrustError> {
        Self::read(payload).map_err(TrustError::Statement)
    }

    fn read(payload: &[u8]) -> Result<Self, String> {
        let mut fields = Fields::of("the statement", parse(payload)?)?;
        exactly("_type", &fields.text("_type")?, TYPE)?;
        exactly("predicateType", &fields.text("predicateType")?, PREDICATE)?;
        let subjects = fields.list("subject")?;
        let predicate = fields.take("predicate")?;
        fields.finish()?;

        let [subject] = <[Value; 1]>::try_from(subjects)
            .map_err(|subjects| format!("it is about {} files, not exactly one", subjects.len()))?;
        let mut subject = Fields::of("its subject", subject)?;
        let name = subject.text("name")?;
        let mut digests = Fields::of("the subject's digest", subject.take("digest")?)?;
        subject.finish()?;
        let digest = Digest::from_hex(&digests.text("sha256")?).map_err(|error| error.to_string())?;
        digests.finish()?;

        let mut predicate = Fields::of("its predicate", predicate)?;
        let manifest_json = predicate.take("manifest")?;
        let not_before = Timestamp::parse(&predicate.text("notBefore")?)?;
        let not_after = Timestamp::parse(&predicate.text("notAfter")?)?;
        predicate.finish()?;

        let manifest = Manifest::from_json(manifest_json.to_string().as_bytes()).map_err(|error| error.to_string())?;
        exactly("name", &name, &subject_name(&manifest))?;
        Ok(Self { digest, manifest, manifest_json, validity: Validity { not_before, not_after } })
    }

    /// The payload to sign for these bytes with this manifest.
    pub(super) fn payload(digest: &Digest, manifest: &Manifest, manifest_json: &Value, validity: Validity) -> Vec<u8> {
        json!({
            "_type": TYPE,
            "subject": [{"name": subject_name(manifest), "digest": {"sha256": digest.hex()}}],
            "predicateType": PREDICATE,
            "predicate": {
                "manifest": manifest_json,
                "notBefore": validity.not_before.to_string(),
                "notAfter": validity.not_after.to_string(),
            },
        })
        .to_string()
        .into_bytes()
    }
}

/// `<name>-<release>.wasm`, the file as it is published.
fn subject_name(manifest: &Manifest) -> String {
    format!("{}-{}.wasm", manifest.name, manifest.release)
}

fn exactly(key: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("its `{key}` is `{}`, not `{expected}`", crate::model::escape_to(found, 96)))
}
