//! Admission: the playbook from the store, verified again, matched with what the policy grants.
//!
//! What is in the store was verified when it came in; since then keys may have been removed, digests revoked, permits
//! changed and files swapped. So nothing is taken over: the bytes are read once, and trust, import walk and grants are
//! asked anew, on that buffer. An [`Admitted`] is the proof, and the sandbox gets nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::State;
use crate::inventory::Configuration;
use crate::model::{Digest, Interface, Manifest, PlaybookId};
use crate::sandbox;
use crate::trust::{self, Seen, Standing, Terms, VerifiedPlaybook};

use super::{Request, RunError, Site};

/// A playbook that may run for this request: verified, granted what it imports, its roles and parameters bound.
///
/// ```compile_fail,E0451
/// fn forge(bindings: std::collections::BTreeMap<String, String>) -> guardian::run::Admitted {
///     guardian::run::Admitted { bindings, ..unreachable!() }
/// }
/// ```
/// ```compile_fail,E0277
/// fn needs<T: Clone>() {}
/// needs::<guardian::run::Admitted>();
/// ```
#[derive(Debug)]
#[must_use = "an admission that nobody runs is a refusal"]
pub struct Admitted {
    verified: VerifiedPlaybook,
    granted: BTreeSet<Interface>,
    bindings: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Admitted {
    /// The proof of its signatures.
    pub const fn verified(&self) -> &VerifiedPlaybook {
        &self.verified
    }

    /// What it is linked with.
    #[must_use]
    pub const fn granted(&self) -> &BTreeSet<Interface> {
        &self.granted
    }

    /// Its roles and parameters, bound.
    #[must_use]
    pub const fn bindings(&self) -> &BTreeMap<String, String> {
        &self.bindings
    }

    /// What a person should know of this admission.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Admits the playbook of a request, or says why not. With `glass` somebody broke it for this run: what it imports is
/// granted, and each call is judged by the hard rules.
///
/// # Errors
/// The room that refused.
pub fn admit(site: &Site, state: &State, request: &Request, glass: bool) -> Result<Admitted, RunError> {
    let (component, envelope) = site.store.load(&request.playbook)?;
    let history = |id: &PlaybookId, digest: &Digest| seen(state, id, digest);
    let terms =
        Terms { trust: &site.trust, history: &history, clock: &*site.clock, limits: &site.configuration.limits };
    let verified = trust::verify(component, &envelope, &terms)?;
    if verified.id() != request.playbook {
        return Err(RunError::Request(format!(
            "the store has `{}` where `{}` should be",
            verified.id(),
            request.playbook
        )));
    }
    let granted = if glass { Interface::ALL.into() } else { site.policy.grants(&request.playbook) };
    if granted.is_empty() {
        let folder = site.home.etc().join("policy/permits").display().to_string();
        return Err(RunError::NoPermit { playbook: request.playbook.to_string(), folder });
    }
    // INVARIANT 2: the link fence, before anything is compiled or spent.
    let report = sandbox::walk(verified.bytes(), &granted, &site.configuration.limits)?;
    report.matches(verified.manifest())?;
    let bindings = bind(&site.configuration, verified.manifest(), request)?;
    let notes = notes(&verified, request);
    Ok(Admitted { verified, granted: report.interfaces, bindings, notes })
}

/// What the trail knows of these bytes.
pub(super) fn seen(state: &State, id: &PlaybookId, digest: &Digest) -> Seen {
    let mark = state.high_water(id);
    Seen {
        accepted: mark.map(|mark| mark.accepted.clone()).unwrap_or_default(),
        went_back: mark.is_some_and(|mark| mark.went_back == Some(*digest)),
        last_seen: Some(state.last_seen()),
    }
}

fn notes(verified: &VerifiedPlaybook, request: &Request) -> Vec<String> {
    let mut notes = Vec::new();
    match verified.standing() {
        Standing::Current => {}
        Standing::PinnedExpired => {
            notes.push("its signature has expired; it runs because these bytes were accepted before".to_owned());
        }
        Standing::PinnedClockBehind => {
            notes.push("the clock stands before the last record of the trail; nothing new is admitted until `guardian trust reset-clock --reason WHY`".to_owned());
        }
    }
    let triggers = &verified.manifest().triggers;
    if !triggers.is_empty() && !triggers.contains(&request.kind) {
        let made_for: Vec<&str> = triggers.iter().map(crate::model::Name::as_str).collect();
        notes.push(format!("it is made for {}, not for `{}`", made_for.join(", "), request.kind));
    }
    notes
}

/// Binds every role and parameter of the manifest; what the operator bound and the manifest does not know refuses.
fn bind(
    configuration: &Configuration,
    manifest: &Manifest,
    request: &Request,
) -> Result<BTreeMap<String, String>, RunError> {
    let id = manifest.id();
    let none = BTreeMap::new();
    let bound = configuration.bindings.get(&id).unwrap_or(&none);
    let place = format!("[playbook.\"{id}\"] bind in guardian.toml");
    let mut bindings = BTreeMap::new();
    for (role, kind) in &manifest.roles {
        let is_target = role.as_str() == "target";
        let value = match bound.get(role) {
            Some(name) => name.clone(),
            None if is_target && request.target.kind().word() == kind => request.target.name().to_owned(),
            None if is_target => {
                return Err(RunError::Binding(format!("`{id}` heals a {kind}, and `{}` is none", request.target)));
            }
            None => {
                return Err(RunError::Binding(format!(
                    "the role `{role}` of `{id}` is not bound; set it under {place}"
                )));
            }
        };
        let named = format!("{kind}.{value}").parse().ok().filter(|name| configuration.inventory.has(name));
        if named.is_none() {
            return Err(configuration.inventory.unknown(&format!("{kind}.{value}")).into());
        }
        bindings.insert(role.to_string(), value);
    }
    for (name, parameter) in &manifest.parameters {
        let value = bound.get(name).or(parameter.default.as_ref());
        let value = value.ok_or_else(|| {
            RunError::Binding(format!("the parameter `{name}` of `{id}` has no default; set it under {place}"))
        })?;
        if !parameter.kind.fits(value) {
            let shown = crate::model::escape_to(value, 64);
            return Err(RunError::Binding(format!(
                "the parameter `{name}` of `{id}` cannot be `{shown}`; mend it under {place}"
            )));
        }
        bindings.insert(name.to_string(), value.clone());
    }
    match bound.keys().find(|key| !bindings.contains_key(key.as_str())) {
        Some(unknown) => {
            Err(RunError::Binding(format!("`{id}` has no role or parameter `{unknown}`; remove it under {place}")))
        }
        None => Ok(bindings),
    }
}
