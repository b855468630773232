//! Taking a playbook into the store.
//!
//! A release that was once accepted moves the high-water mark for ever, so the order matters: verify, see that it would
//! load, compile it in its own process, put the acceptance on the trail durably, and only then put it on the shelf. A
//! crash between the last two leaves a mark without a shelf, and adding it again mends that; the other way round, a
//! release could lie on the shelf that nobody remembers accepting.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::{Body, State, StoreChange, Trail};
use crate::model::{Digest, Interface, Name, PlaybookId};
use crate::sandbox;
use crate::trust::{self, Seen, Terms, TrustError, VerifiedPlaybook};

use super::admit::seen;
use super::{RunError, Site};

/// A release that was taken in.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The playbook.
    pub playbook: PlaybookId,
    /// Its release.
    pub release: u64,
    /// Its digest.
    pub digest: Digest,
    /// The labels of the keys that signed it.
    pub signers: Vec<String>,
    /// What it imports.
    pub interfaces: BTreeSet<Interface>,
    /// Its roles beside the target of the incident: the operator binds them.
    pub roles: Vec<Name>,
    /// The record of the acceptance.
    pub record: u64,
}

/// Verifies a component against the home's trust and history, and walks its imports. Changes nothing.
///
/// # Errors
/// The room that refused.
pub fn verify(
    site: &Site,
    state: &State,
    component: Arc<[u8]>,
    envelope: &[u8],
) -> Result<(VerifiedPlaybook, BTreeSet<Interface>), RunError> {
    let history = |id: &PlaybookId, digest: &Digest| seen(state, id, digest);
    judge(site, component, envelope, &history)
}

/// What the trail knows of a playbook and these bytes.
type History<'a> = &'a dyn Fn(&PlaybookId, &Digest) -> Seen;

fn judge(
    site: &Site,
    component: Arc<[u8]>,
    envelope: &[u8],
    history: History<'_>,
) -> Result<(VerifiedPlaybook, BTreeSet<Interface>), RunError> {
    let terms =
        Terms { trust: &site.trust, history: &history, clock: &*site.clock, limits: &site.configuration.limits };
    let verified = trust::verify(component, envelope, &terms)?;
    let report = sandbox::walk(verified.bytes(), &Interface::ALL.into(), &site.configuration.limits)?;
    report.matches(verified.manifest())?;
    Ok((verified, report.interfaces))
}

/// Verifies a component and takes it into the store.
///
/// # Errors
/// The room that refused; the refusal stands on the trail.
pub fn accept(site: &Site, trail: &Trail, component: Arc<[u8]>, envelope: &[u8]) -> Result<Accepted, RunError> {
    let accepted = trail.state(|state| verify(site, state, component, envelope));
    let compiled = accepted.and_then(|(verified, interfaces)| {
        let _warm = site.code(&verified)?;
        Ok((verified, interfaces))
    });
    let (verified, interfaces) = match compiled {
        Ok(compiled) => compiled,
        Err(error) => return Err(refused(trail, None, error)),
    };
    let id = verified.id();
    let release = verified.manifest().release;
    let signers: Vec<String> = verified.signers().iter().map(|signer| signer.label.to_string()).collect();
    let record = trail.append_durable(
        None,
        Body::Store {
            change: StoreChange::Added,
            playbook: id.clone(),
            release,
            component: *verified.digest(),
            signers: signers.clone(),
            trust: site.trust.digest(),
        },
    )?;
    site.store.add(&id, release, verified.digest(), verified.bytes(), envelope, site.clock.now())?;
    site.sweep_cache()?;
    let roles = verified.manifest().roles.keys().filter(|role| role.as_str() != "target").cloned().collect();
    Ok(Accepted { playbook: id, release, digest: *verified.digest(), signers, interfaces, roles, record })
}

/// Refuses a component that nobody has signed: an attempt to bring one in stands on the trail as every other does.
#[must_use]
pub fn refuse_unsigned(trail: &Trail, file: String) -> RunError {
    refused(trail, None, TrustError::Unsigned { file }.into())
}

/// Goes back to an earlier release that was accepted before: verified again, recorded, and only then selected. The
/// high-water mark does not fall. Returns the record.
///
/// # Errors
/// When that release does not lie in the store, was never accepted, or is refused by trust today.
pub fn roll_back(site: &Site, trail: &Trail, id: &PlaybookId, release: u64) -> Result<u64, RunError> {
    let (component, envelope) = site.store.load_release(id, release)?;
    let judged = trail.state(|state| {
        let history = |id: &PlaybookId, digest: &Digest| {
            // The operator's own word, given with this very call and recorded below.
            Seen { went_back: true, ..seen(state, id, digest) }
        };
        judge(site, component, &envelope, &history)
    });
    let (verified, _) = judged.map_err(|error| refused(trail, Some(id), error))?;
    let record = trail.append_durable(
        None,
        Body::Store {
            change: StoreChange::RolledBack,
            playbook: id.clone(),
            release,
            component: *verified.digest(),
            signers: verified.signers().iter().map(|signer| signer.label.to_string()).collect(),
            trust: site.trust.digest(),
        },
    )?;
    site.store.select(id, release)?;
    Ok(record)
}

/// Puts a refusal on the trail and gives it back. A trail that cannot take it is the worse news.
pub(super) fn refused(trail: &Trail, playbook: Option<&PlaybookId>, error: RunError) -> RunError {
    let Some(room) = error.refused_by() else { return error };
    let body = Body::Refused { playbook: playbook.map(ToString::to_string), room, reason: error.to_string(), count: 1 };
    match trail.append_durable(None, body) {
        Ok(_) => error,
        Err(lost) => lost.into(),
    }
}
