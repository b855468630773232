//! The log's key, and the signed statement of how long the trail is and what is in it.
//!
//! A checkpoint is a C2SP signed note: origin, size and root, signed with the log's own ed25519 key. Whoever holds one
//! can tell later whether anything before it was changed. It speaks only of records that were durable when it was
//! signed. The key signs nothing else; root on this machine can use it, so what protects the past from root is a copy
//! of a checkpoint outside, not the signature.
//!
//! A second key, derived from the same seed, authenticates the snapshot of the projection. It never leaves the process.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::tlog::Hash;

use super::error::AuditError;
use super::tree::Root;
use crate::durable::Folder;

/// The file of the checkpoint under `audit/log`.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The file of the public key under `audit/log`.
pub(super) const PUBLIC_KEY: &str = "key.pub";
/// The file of the private key under `keys`.
pub(super) const PRIVATE_KEY: &str = "audit.key";

/// The most that a key or checkpoint file is read: signatures of many witnesses fit.
const LARGEST_NOTE: u64 = 64 * 1024;

/// Algorithm byte of ed25519 in C2SP signed notes.
const ED25519: u8 = 1;

/// The private key of one log.
pub(super) struct LogKey {
    origin: String,
    signer: StandardSigner,
    public: String,
    snapshot_key: [u8; 32],
}

impl LogKey {
    /// Makes the key of a new log, with a new origin, and keeps both parts.
    pub(super) fn make(keys: &Folder, log: &Folder) -> Result<Self, AuditError> {
        let mut seed = [0; 32];
        let mut id = [0; 8];
        let random = |bytes: &mut [u8]| {
            getrandom::fill(bytes).map_err(|error| AuditError::Option(format!("the system has no randomness: {error}")))
        };
        random(&mut seed)?;
        random(&mut id)?;
        let origin = format!("guardian/audit/{:016x}", u64::from_be_bytes(id));
        let verifying = SigningKey::from_bytes(&seed).verifying_key();
        let public_bytes: Vec<u8> = std::iter::once(ED25519).chain(verifying.to_bytes()).collect();
        let private_bytes: Vec<u8> = std::iter::once(ED25519).chain(seed).collect();
        let private = format!(
            "PRIVATE+KEY+{origin}+{:08x}+{}\n",
            signed_note::key_id(&origin, &public_bytes),
            BASE64_STANDARD.encode(private_bytes)
        );
        let public = signed_note::new_ed25519_verifier_key(&origin, &verifying);
        keys.create(PRIVATE_KEY, private.as_bytes())?;
        log.replace_with_mode(PUBLIC_KEY, format!("{public}\n").as_bytes(), 0o644)?;
        Self::load(keys)
    }

    /// Reads the key of the log.
    pub(super) fn load(keys: &Folder) -> Result<Self, AuditError> {
        let path = keys.path().join(PRIVATE_KEY);
        keys.private_file(PRIVATE_KEY)?;
        let bytes = keys.read_bounded(PRIVATE_KEY, LARGEST_NOTE)?;
        let wrong =
            || AuditError::Checkpoint { path: path.clone(), what: "is not the private key of a log".to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let text = text.trim_end();
        let signer = StandardSigner::new(text).map_err(|_| wrong())?;
        let mut parts = text.splitn(5, '+').skip(2);
        let (Some(origin), Some(_), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let secret = BASE64_STANDARD.decode(secret).map_err(|_| wrong())?;
        let seed: [u8; 32] = secret.get(1..).and_then(|seed| seed.try_into().ok()).ok_or_else(wrong)?;
        let public = signed_note::new_ed25519_verifier_key(origin, &SigningKey::from_bytes(&seed).verifying_key());
        let snapshot_key = keyed(&seed, b"guardian/audit/snapshot/v1");
        Ok(Self { origin: origin.to_owned(), signer, public, snapshot_key })
    }

    /// What the log calls itself: `guardian/audit/` and sixteen hexadecimal digits.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The public part, as C2SP signed notes write it.
    pub(super) fn public(&self) -> PublicKey {
        PublicKey { origin: self.origin.clone(), text: self.public.clone() }
    }

    /// Signs a checkpoint.
    pub(super) fn sign(&self, size: u64, root: Root) -> Result<Vec<u8>, String> {
        let checkpoint = tlog_tiles::Checkpoint::new(&self.origin, size, Hash(root), "").map_err(|e| e.to_string())?;
        let mut note = Note::new(&checkpoint.to_bytes(), &[]).map_err(|error| error.to_string())?;
        note.add_sigs(&[&self.signer]).map_err(|error| error.to_string())?;
        Ok(note.to_bytes())
    }

    /// The code that authenticates a snapshot.
    pub(super) fn mac(&self, bytes: &[u8]) -> [u8; 32] {
        keyed(&self.snapshot_key, bytes)
    }

    /// Whether `code` authenticates the snapshot; takes the same time either way.
    pub(super) fn mac_holds(&self, bytes: &[u8], code: &[u8]) -> bool {
        Hmac::<Sha256>::new_from_slice(&self.snapshot_key)
            .is_ok_and(|mac| mac.chain_update(bytes).verify_slice(code).is_ok())
    }
}

fn keyed(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length; the error cannot happen, and an all-zero code would never verify.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |mac| mac.chain_update(bytes).finalize().into_bytes().into())
}

/// The public key of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    origin: String,
    text: String,
}

impl PublicKey {
    /// The key as C2SP signed notes write it: origin, key number and base64, joined by `+`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the log calls itself.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads the key beside the log.
    pub(super) fn load(log: &Folder) -> Result<Self, AuditError> {
        let path = log.path().join(PUBLIC_KEY);
        let wrong = || AuditError::Checkpoint { path: path.clone(), what: "is not the public key of a log".to_owned() };
        let text = String::from_utf8(log.read_bounded(PUBLIC_KEY, LARGEST_NOTE)?).map_err(|_| wrong())?;
        let text = text.trim_end().to_owned();
        StandardVerifier::new(&text).map_err(|_| wrong())?;
        let origin = text.split('+').next().ok_or_else(wrong)?.to_owned();
        Ok(Self { origin, text })
    }
}

/// A checkpoint whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Root,
    note: String,
}

impl Checkpoint {
    /// How many records it speaks of.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them.
    #[must_use]
    pub const fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// The signed note as it stands in the file.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Reads the checkpoint beside the log and verifies it.
    pub(super) fn load(log: &Folder, key: &PublicKey) -> Result<Self, AuditError> {
        let path = log.path().join(CHECKPOINT);
        let bytes = log.read_bounded(CHECKPOINT, LARGEST_NOTE)?;
        Self::verify(&bytes, key, &path)
    }

    fn verify(bytes: &[u8], key: &PublicKey, path: &Path) -> Result<Self, AuditError> {
        let wrong = |what: &str| AuditError::Checkpoint { path: PathBuf::from(path), what: what.to_owned() };
        let note = Note::from_bytes(bytes).map_err(|_| wrong("is not a signed note"))?;
        let verifier =
            StandardVerifier::new(&key.text).map_err(|_| wrong("cannot be verified: the key is malformed"))?;
        note.verify(&VerifierList::new(vec![Box::new(verifier)]))
            .map_err(|error| wrong(&format!("is not signed by the log's key ({error})")))?;
        let checkpoint =
            tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|_| wrong("is signed but not a checkpoint"))?;
        if checkpoint.origin() != key.origin {
            return Err(wrong("is of another log"));
        }
        let note = String::from_utf8(bytes.to_vec()).map_err(|_| wrong("is not text"))?;
        Ok(Self { size: checkpoint.size(), root: checkpoint.hash().0, note })
    }
}

/// Replaces the published checkpoint.
pub(super) fn publish(log: &Folder, key: &LogKey, size: u64, root: Root) -> Result<(), String> {
    let note = key.sign(size, root)?;
    log.replace_with_mode(CHECKPOINT, &note, 0o644).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_holds_only_as_signed() {
        let home = tempfile::tempdir().unwrap();
        let keys = Folder::open(home.path()).unwrap();
        let key = LogKey::make(&keys, &keys).unwrap();
        publish(&keys, &key, 5, [3; 32]).unwrap();
        let read = Checkpoint::load(&keys, &key.public()).unwrap();
        assert_eq!((read.size(), read.root()), (5, &[3; 32]));
        let note = read.note().to_owned();
        for (from, to) in [("\n5\n", "\n6\n"), ("guardian/audit/", "guardian/other/"), ("AwMD", "AwME")] {
            keys.replace(CHECKPOINT, note.replacen(from, to, 1).as_bytes()).unwrap();
            assert!(Checkpoint::load(&keys, &key.public()).is_err(), "{from}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Folder::open(elsewhere.path()).unwrap();
        let stranger = LogKey::make(&other, &other).unwrap();
        publish(&other, &stranger, 5, [3; 32]).unwrap();
        assert!(Checkpoint::load(&other, &key.public()).is_err());
    }

    #[test]
    fn a_snapshot_code_holds_only_for_its_bytes() {
        let home = tempfile::tempdir().unwrap();
        let keys = Folder::open(home.path()).unwrap();
        let key = LogKey::make(&keys, &keys).unwrap();
        let code = key.mac(b"state");
        assert!(key.mac_holds(b"state", &code));
        assert!(!key.mac_holds(b"State", &code));
        assert!(!key.mac_holds(b"state", &[0; 32]));
    }
}
