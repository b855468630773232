//! The one way in: every check, in one order, each fatal.
//!
//! The order is part of the defence. Nothing of the payload is parsed before enough signatures over it hold; nothing of
//! the component is parsed before its digest is the signed one; nothing is read twice. From the payload on, every fact
//! comes from the bytes that were verified and from no second copy.
//!
//! 1. size caps, before anything is hashed or parsed
//! 2. the trust file trusts somebody
//! 3. `verify_strict` of each signature over the pre-authentication encoding, with every trusted key
//! 4. enough *different raw keys* of one publisher
//! 5. payload type and predicate type, exactly
//! 6. the digest of the bytes in memory is the signed one
//! 7. the manifest in those bytes is the signed one
//! 8. the keys speak for the publisher that the manifest names
//! 9. not revoked, not below the operator's floor
//! 10. release at or above the high-water mark, and never with other content than was accepted under its number; or an
//!     older one that was accepted before and that the operator went back to on record
//! 11. the clock has not gone back; the validity holds
//!
//! Two things are allowed to bytes that were accepted before and to nothing else: to run after their validity ended, and
//! to run while the clock is behind. Otherwise a forgotten renewal, or a dead battery, would disarm the host in the hour
//! it is needed. Both are marked in [`Standing`], for the caller to be loud about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::TrustError;
use super::dsse::{Envelope, PAYLOAD_TYPE};
use super::embed::read_both;
use super::key::{KeyId, PublicKey};
use super::statement::{Statement, Validity};
use super::store::TrustStore;
use super::verified::{Findings, Signer, Standing, VerifiedPlaybook};
use crate::model::{Clock, Digest, LimitHit, LimitName, Limits, Manifest, Name, PlaybookId, Timestamp, escape_to};

/// How far the clock may be behind the trail: what a time service corrects by a step after a restart.
const CLOCK_SLACK: Duration = Duration::from_secs(5 * 60);

/// What the trail knows of a playbook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Every release of it that was ever accepted, with its digest. The highest is the high-water mark; revoked ones do
    /// not count, or a thief of a key could sign the highest number there is and lock every later release out for good.
    pub accepted: BTreeMap<u64, Digest>,
    /// Whether the operator went back to these very bytes, on record, and not forward again since.
    pub went_back: bool,
    /// The latest time on the trail.
    pub last_seen: Option<Timestamp>,
}

/// What a playbook is verified against.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The operator's trust file.
    pub trust: &'a TrustStore,
    /// Looks up the trail. Called once, after the signatures hold, with the signed name and digest.
    pub history: &'a dyn Fn(&PlaybookId, &Digest) -> Seen,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// For the size cap.
    pub limits: &'a Limits,
}

/// Verifies a playbook against the operator's terms.
///
/// # Errors
/// The first check that fails, in the order of this module.
pub fn verify(component: Arc<[u8]>, envelope: &[u8], terms: &Terms<'_>) -> Result<VerifiedPlaybook, TrustError> {
    check_size(&component, terms.limits)?;
    if terms.trust.list().next().is_none() {
        return Err(TrustError::NobodyTrusted);
    }
    let envelope_digest = Digest::of(envelope);
    let envelope = Envelope::parse(envelope)?;
    let signed = Signed::by(&envelope, terms.trust)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        let shown = escape_to(&envelope.payload_type, 96);
        return Err(TrustError::Statement(format!("its payload type is `{shown}`, not `{PAYLOAD_TYPE}`")));
    }
    let statement = Statement::parse(&envelope.payload)?;
    let found = Digest::of(&component);
    if found != statement.digest {
        return Err(TrustError::OtherBytes { signed: statement.digest, found });
    }
    let (manifest, manifest_json) = read_both(&component)?;
    if manifest != statement.manifest || manifest_json != statement.manifest_json {
        return Err(TrustError::OtherManifest);
    }
    // INVARIANT 5: the publisher is who signed, not who the manifest says.
    let signers = signed.speaking_for(&manifest)?;
    let playbook = manifest.id();
    check_operator_bans(&playbook, manifest.release, &found, terms.trust)?;
    let seen = (terms.history)(&playbook, &found);
    let accepted = seen.accepted.get(&manifest.release) == Some(&found);
    check_release(&playbook, manifest.release, &found, &seen, terms.trust)?;
    let standing = judge_time(statement.validity, terms.clock.now(), accepted, seen.last_seen)?;
    Ok(VerifiedPlaybook::from_findings(Findings {
        bytes: component,
        statement,
        signers,
        envelope: envelope_digest,
        standing,
        trust_version: terms.trust.version(),
    }))
}

pub(super) fn check_size(component: &[u8], limits: &Limits) -> Result<(), TrustError> {
    let largest = usize::try_from(limits.component_mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
    if component.len() > largest {
        let hit = LimitHit { limit: LimitName::ComponentSize, value: limits.component_mib };
        return Err(TrustError::TooLarge { size: component.len(), hit });
    }
    Ok(())
}

/// One trusted key, on trial against one signature.
struct Candidate<'a> {
    publisher: &'a Name,
    label: &'a Name,
    key: &'a PublicKey,
    id: KeyId,
}

/// The publishers of whom enough keys signed, each with those keys.
struct Signed<'a>(BTreeMap<&'a Name, Vec<Signer>>);

impl<'a> Signed<'a> {
    fn by(envelope: &Envelope, trust: &'a TrustStore) -> Result<Self, TrustError> {
        let message = envelope.pae();
        // By raw key: the same key twice in the envelope is one key. That it stands only once in the trust file was
        // checked when that was loaded.
        let mut by_key = BTreeMap::new();
        let keys: Vec<Candidate<'_>> = trust
            .list()
            .flat_map(|(publisher, entry)| {
                entry.keys.iter().map(move |(label, key)| Candidate { publisher, label, key, id: key.id() })
            })
            .collect();
        for signature in &envelope.signatures {
            // The hint says where to begin and decides nothing: every key is tried, whatever it says.
            let hinted = keys.iter().filter(|candidate| candidate.id.to_string() == signature.hint);
            if let Some(candidate) =
                hinted.chain(&keys).find(|candidate| candidate.key.verifies(&message, &signature.bytes))
            {
                let signer = Signer { label: candidate.label.clone(), key: candidate.id };
                by_key.insert(*candidate.key.as_bytes(), (candidate.publisher, signer));
            }
        }
        let mut signers: BTreeMap<&Name, Vec<Signer>> = BTreeMap::new();
        for (name, signer) in by_key.into_values() {
            signers.entry(name).or_default().push(signer);
        }
        let mut short = None;
        signers.retain(|name, signers| {
            let need = trust.publisher(name).map_or(u32::MAX, |publisher| publisher.threshold);
            let enough = u32::try_from(signers.len()).is_ok_and(|have| have >= need);
            if !enough {
                short = Some(TrustError::Threshold { publisher: (*name).clone(), have: signers.len(), need });
            }
            enough
        });
        if signers.is_empty() {
            return Err(short.unwrap_or(TrustError::NoTrustedSignature { count: envelope.signatures.len() }));
        }
        Ok(Self(signers))
    }

    fn speaking_for(mut self, manifest: &Manifest) -> Result<Vec<Signer>, TrustError> {
        if let Some(mut signers) = self.0.remove(&manifest.publisher) {
            signers.sort_by(|one, other| one.label.cmp(&other.label));
            return Ok(signers);
        }
        let signer = self.0.keys().next().map_or_else(|| manifest.publisher.clone(), |name| (*name).clone());
        Err(TrustError::ForeignName { playbook: manifest.id(), signer })
    }
}

fn check_operator_bans(
    playbook: &PlaybookId,
    release: u64,
    digest: &Digest,
    trust: &TrustStore,
) -> Result<(), TrustError> {
    if trust.is_revoked(digest) {
        return Err(TrustError::Revoked(*digest));
    }
    match trust.floor(playbook) {
        Some(floor) if release < floor => Err(TrustError::BelowFloor { playbook: playbook.clone(), release, floor }),
        _ => Ok(()),
    }
}

fn check_release(
    playbook: &PlaybookId,
    release: u64,
    digest: &Digest,
    seen: &Seen,
    trust: &TrustStore,
) -> Result<(), TrustError> {
    let before = seen.accepted.get(&release);
    if let Some(accepted) = before.filter(|accepted| *accepted != digest) {
        let (playbook, accepted, found) = (playbook.clone(), *accepted, *digest);
        return Err(TrustError::OtherContent { playbook, release, accepted, found });
    }
    let standing = seen.accepted.iter().rev().find(|(_, digest)| !trust.is_revoked(digest));
    match standing {
        Some((high_water, _)) if release < *high_water && !(before.is_some() && seen.went_back) => {
            Err(TrustError::Older { playbook: playbook.clone(), release, high_water: *high_water })
        }
        _ => Ok(()),
    }
}

fn judge_time(
    validity: Validity,
    now: Timestamp,
    accepted: bool,
    last_seen: Option<Timestamp>,
) -> Result<Standing, TrustError> {
    let Validity { not_before, not_after } = validity;
    if let Some(last_seen) = last_seen.filter(|last| now.plus(CLOCK_SLACK) < *last) {
        // With a clock that is known to be wrong, the validity says nothing either way.
        return if accepted {
            Ok(Standing::PinnedClockBehind)
        } else {
            Err(TrustError::ClockBehind { now, last_seen })
        };
    }
    if now < not_before {
        return Err(TrustError::NotYetValid { not_before, now });
    }
    if now >= not_after {
        return if accepted { Ok(Standing::PinnedExpired) } else { Err(TrustError::Expired { not_after, now }) };
    }
    Ok(Standing::Current)
}
