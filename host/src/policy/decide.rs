//! The decision, and the permit that only a decision makes.
//!
//! Order matters and is fixed: an unknown resource is refused before Cedar sees it, in the same words as a resource without
//! a permit; hard rules and permits are judged next; gates last, so that nobody is asked about what is denied anyway. Every
//! doubt (a policy that fails to evaluate, a request that does not fit the schema) is a denial with the code `policy-error`.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Authorizer, Decision as CedarDecision, PolicyId, Request, Response};

use crate::model::{Action, DenialCode, Digest, PlaybookId, ResourceName, Verb};

use super::explain::Ruling;
use super::facts::{Facts, Used};
use super::load::PolicySet;
use super::slice::{Asker, Slice};

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// Who asks, from the verified signature.
    pub playbook: &'a PlaybookId,
    /// What it wants to do.
    pub action: &'a Action,
    /// What the action is on; it must be what the action names.
    pub resource: &'a ResourceName,
    /// The moment, as the host knows it.
    pub facts: &'a Facts,
}

/// The answer.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Yes.
    Permitted(Permit),
    /// No.
    Denied(Refusal),
    /// Yes, once these people have approved.
    NeedsApproval {
        /// Roles of which each may approve.
        approvers: BTreeSet<String>,
        /// How many different people must.
        quorum: u32,
        /// The gates that ask for it.
        policies: Vec<String>,
    },
}

/// Whom a gate asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateTerms {
    /// Roles of which each may approve.
    pub approvers: BTreeSet<String>,
    /// How many different people must.
    pub quorum: u32,
}

/// Why not. For the operator and the trail: a guest is told the code only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In one word.
    pub code: DenialCode,
    /// The policies that decided, sorted; empty when none applied.
    pub policies: Vec<String>,
    /// What went wrong, one line, for the code `policy-error`.
    pub error: Option<String>,
}

impl Refusal {
    fn new(code: DenialCode, policies: Vec<String>) -> Self {
        Self { code, policies, error: None }
    }

    fn error(error: impl Into<String>, policies: Vec<String>) -> Self {
        Self { code: DenialCode::PolicyError, policies, error: Some(crate::model::escape(&error.into())) }
    }
}

/// Policy said yes to this action, now. It is used up by acting on it.
///
/// Nobody else can make one:
/// ```compile_fail,E0451
/// fn forge(action: guardian::model::Action) -> guardian::policy::Permit {
///     guardian::policy::Permit { action, ..unreachable!() }
/// }
/// ```
/// It cannot be copied:
/// ```compile_fail,E0599
/// fn twice(permit: guardian::policy::Permit) -> (guardian::policy::Permit, guardian::policy::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
/// Nor used twice:
/// ```compile_fail,E0382
/// fn act(_: guardian::policy::Permit) {}
/// fn twice(permit: guardian::policy::Permit) {
///     act(permit);
///     act(permit);
/// }
/// ```
/// Nor read from a file:
/// ```compile_fail,E0277
/// fn read(text: &str) -> guardian::policy::Permit {
///     serde_json::from_str(text).unwrap()
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    playbook: PlaybookId,
    action: Action,
    resource: ResourceName,
    policies: Vec<String>,
    set: Digest,
}

impl Permit {
    /// Whose it is.
    #[must_use]
    pub const fn playbook(&self) -> &PlaybookId {
        &self.playbook
    }

    /// What it is for, whole: verb, resource and arguments.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// The resource, checked: a name of the inventory.
    #[must_use]
    pub const fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// The ids of the permits that decided, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The policy set that said so.
    #[must_use]
    pub const fn policy_digest(&self) -> Digest {
        self.set
    }
}

impl PolicySet {
    /// Judges one call. Takes tens of microseconds, changes nothing, and never waits for anything but a short lock.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let Question { playbook, action, resource, facts } = *question;
        if action.resource().as_ref() != Ok(resource) {
            // Only a fault in the caller gets here; judging either of the two would permit the other.
            let refusal = Refusal::error("the action names another resource than the question", Vec::new());
            return Decision::Denied(refusal);
        }
        match self.rule(playbook, action.verb(), resource, facts) {
            Ruling::Permitted { policies } => Decision::Permitted(Permit {
                playbook: playbook.clone(),
                action: action.clone(),
                resource: resource.clone(),
                policies,
                set: self.digest(),
            }),
            Ruling::Denied(refusal) => Decision::Denied(refusal),
            Ruling::NeedsApproval { approvers, quorum, policies } => {
                Decision::NeedsApproval { approvers, quorum, policies }
            }
        }
    }

    /// The permits that would grant a call that was denied, had nothing been used up of it: then a quota is spent, and the
    /// permits need no mending. For the operator only.
    #[must_use]
    pub fn spent(&self, question: &Question<'_>) -> Vec<String> {
        let unused = Facts { used: Used::default(), ..question.facts.clone() };
        match self.rule(question.playbook, question.action.verb(), question.resource, &unused) {
            // A gate comes after the permits: they would grant it, and people be asked.
            Ruling::Permitted { policies } | Ruling::NeedsApproval { policies, .. } => policies,
            Ruling::Denied(_) => Vec::new(),
        }
    }

    /// The decision on an act that does this besides: something the operator's own definition of a resource names, and no
    /// call of the guest. So no permit has to cover it; hard rules and gates are asked as ever.
    pub fn besides(&self, question: &Question<'_>, decision: Decision) -> Decision {
        let Question { playbook, action, resource: name, facts } = *question;
        let judged = || -> Result<Ruling, Refusal> {
            let (asker, slice, request) = self.put(playbook, action.verb(), name, facts)?;
            not_forbidden(&request, &asker, &slice)?;
            match &facts.glass {
                None => self.judge_gates(&request, &asker, &slice, Vec::new()),
                Some(_) => Ok(Ruling::Permitted { policies: Vec::new() }),
            }
        };
        match (judged(), decision) {
            (_, Decision::Denied(refusal)) => Decision::Denied(refusal),
            (Err(refusal), _) | (Ok(Ruling::Denied(refusal)), _) => {
                let policies = refusal.policies.iter().map(|id| format!("{id}, of {} {name}", action.verb()));
                Decision::Denied(Refusal { policies: policies.collect(), ..refusal })
            }
            (Ok(Ruling::Permitted { .. }), decision) => decision,
            (Ok(Ruling::NeedsApproval { mut approvers, mut quorum, mut policies }), decision) => {
                if let Decision::NeedsApproval { approvers: others, quorum: other, policies: before } = decision {
                    approvers.extend(others);
                    quorum = quorum.max(other);
                    policies.extend(before);
                    policies.sort();
                    policies.dedup();
                }
                Decision::NeedsApproval { approvers, quorum, policies }
            }
        }
    }

    /// The same without a permit at the end.
    pub(super) fn rule(&self, playbook: &PlaybookId, verb: Verb, name: &ResourceName, facts: &Facts) -> Ruling {
        let judged = || -> Result<Ruling, Refusal> {
            let (asker, slice, request) = self.put(playbook, verb, name, facts)?;
            match &facts.glass {
                None => self.judge(&request, &asker, &slice),
                Some(person) => self.judge_broken_glass(&request, &asker, &slice, person),
            }
        };
        judged().unwrap_or_else(Ruling::Denied)
    }

    /// The question as it is put to Cedar: who asks, the policies that can matter, the request.
    fn put(
        &self,
        playbook: &PlaybookId,
        verb: Verb,
        name: &ResourceName,
        facts: &Facts,
    ) -> Result<(Arc<Asker>, Arc<Slice>, Request), Refusal> {
        // INVARIANT 3: a resource that is unknown and one that nothing permits are refused alike.
        let Some(resource) = self.world().resource(name) else {
            return Err(Refusal::new(DenialCode::NoPermit, Vec::new()));
        };
        let asker = self.asker(playbook)?;
        let slice = asker
            .slice(verb, name, resource, self.index(), self.policies())
            .map_err(|error| Refusal::error(error, Vec::new()))?;
        let request = self.request(&asker, verb, name, facts)?;
        Ok((asker, slice, request))
    }

    pub(super) fn asker(&self, playbook: &PlaybookId) -> Result<Arc<Asker>, Refusal> {
        self.askers().get(playbook, self.world()).map_err(|error| Refusal::error(error.to_string(), Vec::new()))
    }

    /// The question as Cedar takes it, checked against the schema.
    pub(super) fn request(
        &self,
        asker: &Asker,
        verb: Verb,
        name: &ResourceName,
        facts: &Facts,
    ) -> Result<Request, Refusal> {
        let again = !verb.class().is_effect();
        if let Some(request) = again.then(|| asker.lately.request(facts, verb, name)).flatten() {
            return Ok(request);
        }
        let world = self.world();
        let (Some(action), Some(resource)) = (world.action(verb), world.resource(name)) else {
            return Err(Refusal::new(DenialCode::NoPermit, Vec::new()));
        };
        let doubt = |error: String| Refusal::error(error, Vec::new());
        let target = world.target_of(&facts.target).map_err(|error| doubt(error.to_string()))?;
        let context = asker.lately.of(facts, target, again).map_err(doubt)?;
        let fits = asker.lately.fits(verb, name);
        let schema = (!fits).then(|| world.schema());
        let request = Request::new(asker.uid.clone(), action.clone(), resource.uid.clone(), context, schema)
            .map_err(|error| doubt(error.to_string()))?;
        if !fits {
            asker.lately.remember_fit(verb, name);
        }
        if again {
            asker.lately.keep(facts, verb, name, &request);
        }
        Ok(request)
    }

    /// With the glass broken, everything is permitted that no hard rule forbids. The person stands where the permits would.
    fn judge_broken_glass(
        &self,
        request: &Request,
        asker: &Asker,
        slice: &Slice,
        person: &crate::model::Name,
    ) -> Result<Ruling, Refusal> {
        not_forbidden(request, asker, slice)?;
        Ok(Ruling::Permitted { policies: vec![format!("break-glass by {person}")] })
    }

    /// INVARIANT 6: Cedar skips a policy that fails to evaluate, a forbid as well; here any failure denies.
    pub(super) fn judge(&self, request: &Request, asker: &Asker, slice: &Slice) -> Result<Ruling, Refusal> {
        let authorizer = Authorizer::new();
        let response = authorizer.is_authorized(request, &slice.rules, &asker.entities);
        fail_closed(&response)?;
        let policies = determining(&response);
        if response.decision() == CedarDecision::Deny {
            // INVARIANT 3: a playbook without a permit hears the same whether a rule forbids the resource or nobody has
            // heard of it; the operator still sees the rule.
            let permitted = || authorizer.is_authorized(request, &slice.permits, &asker.entities).decision();
            let forbidden = !policies.is_empty() && permitted() == CedarDecision::Allow;
            let code = if forbidden { DenialCode::Forbidden } else { DenialCode::NoPermit };
            return Err(Refusal::new(code, policies));
        }
        self.judge_gates(request, asker, slice, policies)
    }

    /// What people have to approve of what these policies permit.
    fn judge_gates(
        &self,
        request: &Request,
        asker: &Asker,
        slice: &Slice,
        policies: Vec<String>,
    ) -> Result<Ruling, Refusal> {
        let Some(gates) = &slice.gates else { return Ok(Ruling::Permitted { policies }) };
        let response = Authorizer::new().is_authorized(request, gates, &asker.entities);
        fail_closed(&response)?;
        let closed = determining(&response);
        if closed.is_empty() {
            return Ok(Ruling::Permitted { policies });
        }
        let (mut approvers, mut quorum) = (BTreeSet::new(), 1);
        for gate in closed.iter().filter_map(|id| self.named(id)) {
            approvers.extend(gate.approvers.iter().cloned());
            quorum = quorum.max(gate.quorum);
        }
        Ok(Ruling::NeedsApproval { approvers, quorum, policies: closed })
    }
}

/// What the hard rules say, whether or not there is a permit.
fn not_forbidden(request: &Request, asker: &Asker, slice: &Slice) -> Result<(), Refusal> {
    let response = Authorizer::new().is_authorized(request, &slice.rules, &asker.entities);
    fail_closed(&response)?;
    let policies = determining(&response);
    // Cedar names the forbids that decided, or nothing when only a permit was missing.
    match response.decision() {
        CedarDecision::Deny if !policies.is_empty() => Err(Refusal::new(DenialCode::Forbidden, policies)),
        CedarDecision::Deny | CedarDecision::Allow => Ok(()),
    }
}

fn fail_closed(response: &Response) -> Result<(), Refusal> {
    let mut failed = BTreeSet::new();
    let mut first = None;
    for error in response.diagnostics().errors() {
        let cedar_policy::AuthorizationError::PolicyEvaluationError(failure) = error;
        failed.insert(text(failure.policy_id()));
        first.get_or_insert_with(|| error.to_string());
    }
    match first {
        None => Ok(()),
        Some(error) => Err(Refusal::error(error, failed.into_iter().collect())),
    }
}

fn determining(response: &Response) -> Vec<String> {
    let ids: BTreeSet<String> = response.diagnostics().reason().map(text).collect();
    ids.into_iter().collect()
}

fn text(id: &PolicyId) -> String {
    AsRef::<str>::as_ref(id).to_owned()
}
