//! The proof that a playbook was verified.
//!
//! A [`VerifiedPlaybook`] owns the very bytes that were checked: what is compiled, stored and run comes from this buffer
//! and is never read from a path again, so a file swapped after the check changes nothing. Only [`super::verify`] makes
//! one.
//!
//! It cannot be written down:
//! ```compile_fail,E0451
//! # fn forge(bytes: std::sync::Arc<[u8]>) {
//! let forged = guardian::trust::VerifiedPlaybook { bytes, ..unreachable!() };
//! # }
//! ```
//! It cannot be copied, conjured up or read from a file:
//! ```compile_fail,E0277
//! fn needs<T: Clone>() {}
//! needs::<guardian::trust::VerifiedPlaybook>();
//! ```
//! ```compile_fail,E0277
//! fn needs<T: Default>() {}
//! needs::<guardian::trust::VerifiedPlaybook>();
//! ```
//! ```compile_fail,E0277
//! fn needs<T: serde::de::DeserializeOwned>() {}
//! needs::<guardian::trust::VerifiedPlaybook>();
//! ```
//! Used up, it is gone:
//! ```compile_fail,E0382
//! fn admit(_: guardian::trust::VerifiedPlaybook) {}
//! fn twice(playbook: guardian::trust::VerifiedPlaybook) {
//!     admit(playbook);
//!     admit(playbook);
//! }
//! ```

use std::fmt;
use std::sync::Arc;

use super::key::KeyId;
use super::statement::{Statement, Validity};
use crate::model::{Digest, Manifest, Name, PlaybookId};

/// One key that signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The label that the operator gave it.
    pub label: Name,
    /// Its hint.
    pub key: KeyId,
}

/// How a verified playbook stands to the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within its validity.
    Current,
    /// Expired. It passes because these bytes were accepted before: an expiry must not disarm a host in an outage. Say so
    /// loudly.
    PinnedExpired,
    /// The clock stands before a time that was already seen. It passes because these bytes were accepted before. Say so
    /// loudly.
    PinnedClockBehind,
}

/// A playbook whose bytes, signatures, names, release and time were all checked.
#[must_use = "a verification that nobody uses admits nothing"]
pub struct VerifiedPlaybook {
    bytes: Arc<[u8]>,
    digest: Digest,
    manifest: Manifest,
    signers: Vec<Signer>,
    envelope: Digest,
    validity: Validity,
    standing: Standing,
    trust_version: u64,
}

/// What [`super::verify`] found, on its way into the proof.
pub(super) struct Findings {
    pub(super) bytes: Arc<[u8]>,
    pub(super) statement: Statement,
    pub(super) signers: Vec<Signer>,
    pub(super) envelope: Digest,
    pub(super) standing: Standing,
    pub(super) trust_version: u64,
}

impl VerifiedPlaybook {
    pub(super) fn from_findings(findings: Findings) -> Self {
        let Findings { bytes, statement, signers, envelope, standing, trust_version } = findings;
        let Statement { digest, manifest, validity, .. } = statement;
        Self { bytes, digest, manifest, signers, envelope, validity, standing, trust_version }
    }

    /// The bytes that were checked: compile and store these and no others.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Their digest: the playbook's identity.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The manifest that is in the bytes and in the signed statement alike.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `publisher/name`.
    #[must_use]
    pub fn id(&self) -> PlaybookId {
        self.manifest.id()
    }

    /// The publisher's keys that signed it, by label.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// The digest of the signature file as it was read.
    #[must_use]
    pub const fn envelope_digest(&self) -> &Digest {
        &self.envelope
    }

    /// From when to when the publisher stands behind it.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it passed as new, or only because it was accepted before.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The version of the trust file that it was checked against.
    #[must_use]
    pub const fn trust_version(&self) -> u64 {
        self.trust_version
    }
}

impl fmt::Debug for VerifiedPlaybook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} release {} ({})", self.id(), self.manifest.release, self.digest)
    }
}
