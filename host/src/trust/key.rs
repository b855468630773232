//! Ed25519 keys, and the one way each is written.
//!
//! A public key is one line, `guardian-ed25519:` and the base64 of its 32 bytes; a private key is a file of mode 0600 with
//! one line, `guardian-ed25519-private:` and the base64 of its 32-byte seed (RFC 8032). The words in front keep a person
//! from publishing the wrong one of the two, and let secret scanners find it.
//!
//! Points of small order and encodings that are not the canonical one are refused when a key is read: with such a key one
//! signature can be valid for many messages, and one key could be listed twice under two spellings. A [`KeyId`] is only
//! a hint for people and for the order of tries; what counts is always the raw key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, VerifyingKey};
use zeroize::Zeroizing;

use super::TrustError;
use crate::durable::Folder;
use crate::model::Digest;

const PUBLIC: &str = "guardian-ed25519:";
const PRIVATE: &str = "guardian-ed25519-private:";
/// A private key file has 70 bytes; more is something else.
const LARGEST_FILE: u64 = 256;

/// The SHA-256 of a raw public key: a hint, never a proof. Anybody can write any hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.hex())
    }
}

impl KeyId {
    /// The first twelve digits: the default label of a key.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

/// A public key that a signature can be checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the 32 bytes.
    ///
    /// # Errors
    /// When they are not a point, not its canonical encoding, or a point of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, TrustError> {
        let refused = |problem| TrustError::PublicKey { problem };
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| refused("it is not a point of the curve"))?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(refused("it is not the canonical encoding of its point"));
        }
        if key.is_weak() {
            return Err(refused("it is a weak key that is valid for many messages"));
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its hint.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.as_bytes()))
    }

    /// Whether this key made this signature over exactly these bytes. `verify_strict`, so that a signature has one
    /// spelling: a small-order R and an S that is not reduced are refused.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let refused = |problem| TrustError::PublicKey { problem };
        let text = text.trim();
        if text.starts_with(PRIVATE) {
            return Err(refused("it is a private key, which must stay where it is"));
        }
        let encoded = text.strip_prefix(PUBLIC).ok_or_else(|| refused("it does not begin with `guardian-ed25519:`"))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| refused("it is not base64"))?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| refused("it does not have 32 bytes"))?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PUBLIC}{}", STANDARD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// A private key. Wiped from memory when dropped; never shown, never copied.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes a new one from the system's random bytes.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, TrustError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(TrustError::Random)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads one from its file.
    ///
    /// # Errors
    /// When the file is missing, can be read by others, or is not a private key.
    pub fn load(folder: &Folder, name: &str) -> Result<Self, TrustError> {
        folder.private_file(name)?;
        let text = Zeroizing::new(folder.read_bounded(name, LARGEST_FILE)?);
        let refused =
            |problem| TrustError::PrivateKey { file: folder.path().join(name).display().to_string(), problem };
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let encoded = line
            .strip_prefix(PRIVATE.as_bytes())
            .ok_or_else(|| refused("it does not begin with `guardian-ed25519-private:`"))?;
        let seed = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| refused("it is not base64"))?);
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| refused("it does not have 32 bytes"))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// Writes it to a new file of mode 0600.
    ///
    /// # Errors
    /// When the file is there already (a key is never overwritten) or cannot be written.
    pub fn store(&self, folder: &Folder, name: &str) -> Result<(), TrustError> {
        let mut line = Zeroizing::new(String::with_capacity(128));
        line.push_str(PRIVATE);
        STANDARD.encode_string(self.0.as_bytes(), &mut line);
        line.push('\n');
        Ok(folder.create(name, line.as_bytes())?)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the private half of {}", self.public())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test edits files from outside")]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_are_private() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let key = SigningKey::generate().unwrap();
        key.store(&folder, "a.key").unwrap();
        let again = SigningKey::load(&folder, "a.key").unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        assert!(key.store(&folder, "a.key").is_err(), "a key was overwritten");
        let text = String::from_utf8(folder.read_bounded("a.key", 256).unwrap()).unwrap();
        assert!(text.parse::<PublicKey>().unwrap_err().to_string().contains("private key"));
        assert!(!format!("{key:?}").contains(text.trim().rsplit(':').next().unwrap()));
        for mode in [0o640, 0o604] {
            use cap_std::fs::{Permissions, PermissionsExt as _};
            folder.dir().set_permissions("a.key", Permissions::from_mode(mode)).unwrap();
            assert!(SigningKey::load(&folder, "a.key").unwrap_err().to_string().contains("chmod 600"));
        }
    }

    #[test]
    fn rfc_8032_first_vector() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let line = b"guardian-ed25519-private:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n";
        folder.create("rfc", line).unwrap();
        let key = SigningKey::load(&folder, "rfc").unwrap();
        assert_eq!(key.public().to_string(), "guardian-ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        let signature = key.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"x", &signature));
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        // The eight small-order points and their non-canonical spellings, as libsodium lists them.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut identity_signed = identity;
        identity_signed[31] = 0x80;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        let mut p_plus_one = p;
        p_plus_one[0] = 0xee;
        let order_eight = [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ];
        for bytes in [[0; 32], identity, identity_signed, minus_one, p, p_plus_one, order_eight] {
            assert!(PublicKey::from_bytes(&bytes).is_err(), "{bytes:02x?}");
        }
        // Every y that is not reduced, from p to 2^255 - 1, whatever point it would mean.
        let refused = (0xed_u8..=0xff).all(|low| {
            let mut bytes = p;
            bytes[0] = low;
            PublicKey::from_bytes(&bytes).is_err()
        });
        assert!(refused);
    }

    #[test]
    fn a_text_that_is_no_key_says_why() {
        for (text, word) in [
            ("", "begin"),
            ("guardian-ed25519:!", "base64"),
            ("guardian-ed25519:AAAA", "32 bytes"),
            ("guardian-ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "base64"),
        ] {
            let error = text.parse::<PublicKey>().unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
    }
}
