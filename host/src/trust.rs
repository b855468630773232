//! Who may send code here: from bytes and signatures to a [`VerifiedPlaybook`].
//!
//! Guardian runs code that its operators do not fully trust, but never code of an unknown origin. A playbook comes with a
//! DSSE envelope over an in-toto statement that names its digest and repeats its manifest; the operator's file says which
//! keys speak for which publisher and how many of them must agree. [`verify`] is the one way to a [`VerifiedPlaybook`],
//! and every later room accepts nothing less.
//!
//! What it stops: a changed byte anywhere; a signature by a stranger, or by one key that pretends to be two; a publisher
//! who signs another's name; a manifest that says one thing to the reviewer and another to the host; an old release put
//! back by a mirror; one release number with two contents; a revoked digest; an expired statement; a clock that was set
//! back to make an expired statement young again.
//!
//! What it does not do: it does not judge what the code *does* (the sandbox, the policy and the gate do), it does not
//! fetch anything, and it keeps no state: what was accepted before is handed in as [`Seen`], read from the audit trail.
//!
//! The default trusts nobody: without a `publishers.toml` every playbook is refused.

mod dsse;
mod embed;
mod error;
mod inspect;
mod json;
mod key;
mod sign;
mod statement;
mod store;
mod verified;
mod verify;
mod word;

pub use embed::{embed_manifest, read_manifest};
pub use error::TrustError;
pub use inspect::{Unverified, UnverifiedEnvelope, inspect};
pub use key::{KeyId, PublicKey, SigningKey};
pub use sign::{cosign, sign};
pub use statement::Validity;
pub use store::{Publisher, TrustStore};
pub use verified::{Signer, Standing, VerifiedPlaybook};
pub use verify::{Seen, Terms, verify};
pub use word::{SSH_NAMESPACE, Word, read_ssh_key, read_word, with_ssh_signature};
