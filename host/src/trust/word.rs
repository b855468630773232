//! A person's signed word: yes to a plan, no to a plan, or breaking the glass.
//!
//! It is for one run and one plan (by digest, which covers the home), or for a short time in one home; it says when it ends; and it is signed with a key that
//! the operator's file gives to that person. Two ways to sign: DSSE with a `guardian-ed25519` key, over a payload type of its
//! own, so that a signature of a release can never pass for one; or `ssh-keygen -Y sign -n guardian-approval`, because every
//! operator has that and its agent already. The payload is read only after a signature over it held.
//!
//! What it does not do: know who may say what. It answers with the key, and the caller knows whose that is.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use ssh_key::{HashAlg, SshSig};

use super::TrustError;
use super::dsse::Envelope;
use super::key::{PublicKey, SigningKey};
use crate::model::{Digest, RunId, Timestamp};

/// The type of the payload, and no other: see the essay.
const PAYLOAD_TYPE: &str = "application/vnd.guardian.word+json";
/// What `ssh-keygen -Y sign -n` is given.
pub const SSH_NAMESPACE: &str = "guardian-approval";
/// A word is a few hundred bytes; with its envelope well below this.
const LARGEST: usize = 64 * 1024;

/// What a person says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Word {
    /// Yes, this run may do this plan.
    Approve {
        /// The run that waits.
        run: RunId,
        /// The digest of its plan.
        plan: Digest,
        /// Whether it must do it in exactly this order.
        exact: bool,
        /// When it was said.
        at: Timestamp,
        /// Until when it counts.
        until: Timestamp,
    },
    /// No.
    Reject {
        /// The run that waits.
        run: RunId,
        /// The digest of its plan.
        plan: Digest,
        /// Why.
        reason: String,
        /// When it was said.
        at: Timestamp,
    },
    /// For a while, a run that asks for it may do what no hard rule forbids.
    BreakGlass {
        /// The public key of the trail it is for: what `audit/log/key.pub` says. Elsewhere, and after a successor of that
        /// trail, it counts for nothing.
        trail: String,
        /// Why.
        reason: String,
        /// From when.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
    },
}

impl Word {
    /// The bytes that are signed.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Signs it with a `guardian-ed25519` key: the bytes of an envelope.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut envelope = Envelope::new(self.payload());
        PAYLOAD_TYPE.clone_into(&mut envelope.payload_type);
        envelope.sign(key);
        envelope.to_json()
    }
}

/// A word with a signature of `ssh-keygen -Y sign` beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithSsh {
    /// The word, byte for byte as it was signed, in base64.
    statement: String,
    /// The armoured signature.
    sshsig: String,
}

/// Puts a word and the signature that `ssh-keygen -Y sign` made over it into one file.
///
/// # Errors
/// When the two are none.
pub fn with_ssh_signature(statement: &[u8], signature: &str) -> Result<Vec<u8>, TrustError> {
    let refused = |problem: String| TrustError::Word(problem);
    serde_json::from_slice::<Word>(statement).map_err(|error| refused(format!("the statement is none: {error}")))?;
    SshSig::from_str(signature).map_err(|error| refused(format!("the signature is none of ssh-keygen: {error}")))?;
    let both = WithSsh { statement: STANDARD.encode(statement), sshsig: signature.to_owned() };
    Ok(serde_json::to_vec(&both).unwrap_or_default())
}

/// Reads a signed word: what was said, and with which of `keys`.
///
/// # Errors
/// When none of the keys signed it, or it is malformed.
pub fn read_word<'a>(bytes: &[u8], keys: &'a [PublicKey]) -> Result<(Word, &'a PublicKey), TrustError> {
    let refused = |problem: &str| TrustError::Word(problem.to_owned());
    if bytes.len() > LARGEST {
        return Err(refused("it is longer than any word"));
    }
    let (payload, key) = match serde_json::from_slice::<WithSsh>(bytes) {
        Ok(both) => by_ssh(&both, keys)?,
        Err(_) => by_dsse(bytes, keys)?,
    };
    let word =
        serde_json::from_slice(&payload).map_err(|error| TrustError::Word(format!("it says nothing: {error}")))?;
    Ok((word, key))
}

fn by_dsse<'a>(bytes: &[u8], keys: &'a [PublicKey]) -> Result<(Vec<u8>, &'a PublicKey), TrustError> {
    let envelope = Envelope::parse(bytes)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(TrustError::Word(format!("its payload type is not `{PAYLOAD_TYPE}`")));
    }
    let message = envelope.pae();
    let [signature] = envelope.signatures.as_slice() else {
        return Err(TrustError::Word("a word has one signature: one person, one word".to_owned()));
    };
    match keys.iter().find(|key| key.verifies(&message, &signature.bytes)) {
        Some(key) => Ok((envelope.payload, key)),
        None => Err(TrustError::Word("none of the people that guardian.toml names has signed it".to_owned())),
    }
}

fn by_ssh<'a>(both: &WithSsh, keys: &'a [PublicKey]) -> Result<(Vec<u8>, &'a PublicKey), TrustError> {
    let refused = |problem: &str| TrustError::Word(problem.to_owned());
    let payload = STANDARD.decode(&both.statement).map_err(|_| refused("its statement is not base64"))?;
    let signature = SshSig::from_str(&both.sshsig).map_err(|_| refused("its ssh signature cannot be read"))?;
    if signature.namespace() != SSH_NAMESPACE {
        return Err(refused("it was signed for another purpose; use `ssh-keygen -Y sign -n guardian-approval`"));
    }
    // The message as PROTOCOL.sshsig has it; the key in the signature is a hint, ours are what counts.
    let hash = match signature.hash_alg() {
        hash @ (HashAlg::Sha512 | HashAlg::Sha256) => hash,
        _ => return Err(refused("its hash is not known")),
    };
    let message = SshSig::signed_data(SSH_NAMESPACE, hash, &payload).map_err(|_| refused("it cannot be checked"))?;
    let bytes: [u8; 64] =
        signature.signature().as_bytes().try_into().map_err(|_| refused("it is not an ed25519 signature"))?;
    match keys.iter().find(|key| key.verifies(&message, &bytes)) {
        Some(key) => Ok((payload, key)),
        None => Err(refused("none of the people that guardian.toml names has signed it")),
    }
}

/// The key in a line of an OpenSSH `.pub` file, if it is an ed25519 key.
///
/// # Errors
/// When it is none.
pub fn read_ssh_key(line: &str) -> Result<PublicKey, TrustError> {
    let refused = |problem| TrustError::PublicKey { problem };
    let key =
        ssh_key::PublicKey::from_openssh(line).map_err(|_| refused("it is not a line of an OpenSSH .pub file"))?;
    let ed25519 = key.key_data().ed25519().ok_or_else(|| refused("it is not an ssh-ed25519 key"))?;
    PublicKey::from_bytes(&ed25519.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approve() -> Word {
        Word::Approve {
            run: "r-0123456789abcdef".parse().unwrap(),
            plan: Digest::of(b"plan"),
            exact: false,
            at: Timestamp::from_millis(1),
            until: Timestamp::from_millis(2),
        }
    }

    #[test]
    fn a_word_counts_for_the_key_that_signed_it() {
        let (ann, bob) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signed = approve().sign(&ann);
        let keys = [bob.public(), ann.public()];
        let (word, key) = read_word(&signed, &keys).unwrap();
        assert_eq!((word, key), (approve(), &ann.public()));
        assert!(read_word(&signed, &keys[..1]).is_err(), "a stranger's");
        let mut envelope = Envelope::parse(&signed).unwrap();
        super::super::dsse::PAYLOAD_TYPE.clone_into(&mut envelope.payload_type);
        assert!(read_word(&envelope.to_json(), &keys).is_err(), "another type");
        let mut other = Envelope::parse(&signed).unwrap();
        other.payload = Word::BreakGlass {
            trail: "a+b+c".to_owned(),
            reason: "x".to_owned(),
            at: Timestamp::from_millis(1),
            until: Timestamp::from_millis(9),
        }
        .payload();
        assert!(read_word(&other.to_json(), &keys).is_err(), "another word under the same signature");
    }

    /// Made by `ssh-keygen` of OpenSSH, with a key that is used for nothing else.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test runs the real ssh-keygen")]
    fn ssh_keygen_signs_words() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let run = |arguments: &[&str]| {
            let done = std::process::Command::new("ssh-keygen").args(arguments).output().expect("ssh-keygen runs");
            assert!(done.status.success(), "{done:?}");
        };
        let key = path("key").display().to_string();
        run(&["-q", "-t", "ed25519", "-N", "", "-f", &key]);
        std::fs::write(path("word"), approve().payload()).unwrap();
        let line = std::fs::read_to_string(path("key.pub")).unwrap();
        let public = [read_ssh_key(&line).unwrap()];
        for (namespace, holds) in [(SSH_NAMESPACE, true), ("file", false)] {
            let _ = std::fs::remove_file(path("word.sig"));
            run(&["-q", "-Y", "sign", "-n", namespace, "-f", &key, &path("word").display().to_string()]);
            let signature = std::fs::read_to_string(path("word.sig")).unwrap();
            let both = with_ssh_signature(&approve().payload(), &signature).unwrap();
            let read = read_word(&both, &public);
            assert_eq!(read.is_ok(), holds, "{namespace}: {read:?}");
            assert!(read_word(&both, &[SigningKey::generate().unwrap().public()]).is_err());
        }
    }
}
