//! Why the answer is what it is, and what would change it. For the operator only: a guest is told one word.
//!
//! `explain` asks the same question as a call would, then takes apart what did not apply: which permit came nearest,
//! which of its conditions failed, which facts that condition reads and what they were. When a permit is all that is
//! missing it prints the narrowest one that would do, as a line to paste; a test holds that adding it grants the call.
//! It never makes a [`Permit`](super::Permit).

use std::collections::BTreeSet;

use cedar_policy::pst::{self, Expr};
use cedar_policy::{EvalResult, Expression, Request, eval_expression};

use crate::model::{DenialCode, PlaybookId, ResourceName, Verb, nearest};

use super::decide::Refusal;
use super::facts::Facts;
use super::load::{Kind, Loaded, PolicySet};
use super::reads;
use super::slice::Asker;
use super::world::Known;

/// The answer, without a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Yes.
    Permitted {
        /// The permits that decided, sorted.
        policies: Vec<String>,
    },
    /// No.
    Denied(Refusal),
    /// Yes, once people have approved.
    NeedsApproval {
        /// Roles of which each may approve.
        approvers: BTreeSet<String>,
        /// How many different people must.
        quorum: u32,
        /// The gates that ask for it.
        policies: Vec<String>,
    },
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyNote {
    /// Its id.
    pub id: String,
    /// Its `@why`.
    pub why: Option<String>,
    /// Its file.
    pub path: String,
    /// Its first line, counted from 1.
    pub line: usize,
}

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The condition, in Cedar's spelling.
    pub text: String,
    /// Whether the policy wants it true (`when`) or false (`unless`).
    pub wanted: bool,
    /// The facts it reads, with their values.
    pub facts: Vec<(String, String)>,
}

/// The permit that came nearest to granting the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// Which one.
    pub policy: PolicyNote,
    /// The parts of its scope that name something else: `principal`, `action`, `resource`.
    pub scope: Vec<&'static str>,
    /// The conditions that did not hold; only looked at when the scope fits.
    pub conditions: Vec<Condition>,
}

/// Why the answer is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub ruling: Ruling,
    /// The policies that decided.
    pub decided: Vec<PolicyNote>,
    /// The permit that came nearest, when none applied.
    pub nearest: Option<NearMiss>,
    /// Whether the inventory has the resource at all.
    pub known_resource: bool,
    /// The nearest resource of the inventory, when it does not have the one asked for.
    pub meant: Option<String>,
    /// The permit that would grant the call, when a permit is all that is missing.
    pub grant: Option<String>,
}

impl PolicySet {
    /// Explains what a call would be answered.
    #[must_use]
    pub fn explain(&self, playbook: &PlaybookId, verb: Verb, resource: &ResourceName, facts: &Facts) -> Explanation {
        let ruling = self.rule(playbook, verb, resource, facts);
        let ids = match &ruling {
            Ruling::Permitted { policies } | Ruling::NeedsApproval { policies, .. } => policies,
            Ruling::Denied(refusal) => &refusal.policies,
        };
        let decided = ids.iter().filter_map(|id| self.named(id)).map(note).collect();
        let known = self.world().resource(resource);
        let missing = matches!(&ruling, Ruling::Denied(refusal) if refusal.code == DenialCode::NoPermit && refusal.policies.is_empty());
        let mut explanation =
            Explanation { ruling, decided, nearest: None, known_resource: known.is_some(), meant: None, grant: None };
        match (known, missing) {
            (None, _) => {
                let ids = self.world().ids_of(resource.kind().entity()).unwrap_or_default();
                let near = nearest(resource.name(), ids);
                explanation.meant = near.map(|name| format!("{}.{name}", resource.kind().word()));
            }
            (Some(known), true) => {
                if let Ok(asker) = self.asker(playbook)
                    && let Ok(request) = self.request(&asker, verb, resource, facts)
                {
                    let moment = Moment { request: &request, asker: &asker };
                    explanation.nearest = self.nearest(verb, known, &moment);
                    // Permits add up: another one beside a permit whose quota is spent would lift the quota for good.
                    let covered = explanation.nearest.as_ref().is_some_and(|miss| miss.scope.is_empty());
                    explanation.grant = (!covered).then(|| self.grant(playbook, verb, resource, &moment));
                }
            }
            (Some(_), false) => {}
        }
        explanation
    }

    fn nearest(&self, verb: Verb, resource: &Known, moment: &Moment<'_>) -> Option<NearMiss> {
        let permits = self.policies().iter().filter(|policy| policy.kind == Kind::Permit);
        let misses = permits.map(|permit| {
            let scope = scope_misses(permit, verb, resource, moment.asker);
            let conditions = if scope.is_empty() { moment.failed(permit) } else { Vec::new() };
            NearMiss { policy: note(permit), scope, conditions }
        });
        // A permit that shares nothing with the question explains nothing.
        misses.filter(|miss| miss.scope.len() < 3).min_by_key(|miss| (miss.scope.len(), miss.conditions.len()))
    }

    /// The narrowest permit that grants the call as it stands. For effects it carries the two conditions every such permit
    /// should have, if they hold now: only what the incident is about, and three times an hour.
    fn grant(&self, playbook: &PlaybookId, verb: Verb, resource: &ResourceName, moment: &Moment<'_>) -> String {
        let stem: String = format!("{}-{verb}-{}", playbook.name, resource.name()).replace('.', "-");
        let stem: String = stem.chars().take(60).collect();
        let taken = |id: &String| self.named(id).is_none();
        let numbered = (2..1_000).map(|number| format!("{stem}-{number}"));
        let id = std::iter::once(stem.clone()).chain(numbered).find(taken).unwrap_or(stem);
        let mut text = format!(
            "@id(\"{id}\") @why(\"...\")\npermit (principal == Guardian::Playbook::\"{playbook}\", \
             action == Guardian::Action::\"{verb}\", resource == Guardian::{}::\"{}\")",
            resource.kind().entity(),
            resource.name()
        );
        if verb.class().is_effect() {
            let narrow = ["resource in context.incident.target", "context.used.h1 < 3"];
            let holding: Vec<&str> = narrow.into_iter().filter(|text| moment.is(text, true)).collect();
            if !holding.is_empty() {
                text.push_str(&format!("\nwhen {{ {} }}", holding.join(" && ")));
            }
        }
        text.push(';');
        text
    }
}

fn note(policy: &Loaded) -> PolicyNote {
    PolicyNote { id: policy.id.clone(), why: policy.why.clone(), path: policy.path.clone(), line: policy.line }
}

fn scope_misses(permit: &Loaded, verb: Verb, resource: &Known, asker: &Asker) -> Vec<&'static str> {
    let publisher = std::slice::from_ref(&asker.publisher);
    let parts = [
        ("principal", permit.scope.principal.matches(&asker.uid, publisher)),
        ("action", permit.scope.verbs.contains(&verb)),
        ("resource", permit.scope.resource.matches(&resource.uid, &resource.parents)),
    ];
    parts.into_iter().filter(|(_, fits)| !fits).map(|(part, _)| part).collect()
}

/// One question with its facts, to try single conditions on.
struct Moment<'a> {
    request: &'a Request,
    asker: &'a Asker,
}

impl Moment<'_> {
    fn value(&self, text: &str) -> Option<EvalResult> {
        let expression: Expression = text.parse().ok()?;
        eval_expression(self.request, &self.asker.entities, &expression).ok()
    }

    fn is(&self, text: &str, wanted: bool) -> bool {
        self.value(text) == Some(EvalResult::Bool(wanted))
    }

    fn failed(&self, permit: &Loaded) -> Vec<Condition> {
        let Ok(pst::Policy::Static(tree)) = permit.policy.to_pst() else { return Vec::new() };
        let parts = tree.body().clauses().iter().flat_map(reads::conditions);
        parts
            .map(|(condition, wanted)| (condition, condition.to_string(), wanted))
            .filter(|(_, text, wanted)| !self.is(text, *wanted))
            .map(|(condition, text, wanted)| Condition { facts: self.facts(condition), text, wanted })
            .collect()
    }

    fn facts(&self, condition: &Expr) -> Vec<(String, String)> {
        let paths = reads::paths(condition).into_iter();
        paths.filter_map(|path| self.value(&path).map(|value| (path, value.to_string()))).collect()
    }
}
