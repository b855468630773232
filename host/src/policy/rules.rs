//! What a single policy must be, beyond what Cedar checks.
//!
//! * Its effect fits its folder, and its annotations are the known ones: Cedar keeps any annotation and means nothing by
//!   it, so `@approver` for `@approvers` would otherwise be a gate that nobody can open.
//! * A permit names one playbook or publisher, at least one action or group of actions, and a resource, group or target.
//!   A wider one says why with `@wide("reason")`, so that breadth is always a decision somebody signed with words.
//! * No permit or gate reads `context.claimed` (INVARIANT 5), and no policy `context.windows`, which is always empty.
//! * A gate asks for the approval of exactly the roles that it names: else one is asked whose word opens nothing, or a
//!   role opens it that the gate does not name.
//! * What it names exists: a permit for `Group::"frnt"` would be no error to Cedar, it would only never apply, and a hard
//!   rule with that typo would protect nothing. Playbooks and publishers may be unknown: they come later.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::{self, Clause};
use cedar_policy::{ActionConstraint, Effect, Policy};

use crate::model::{Name, PlaybookId, Verb, nearest};

use super::finding::Finding;
use super::load::Kind;
use super::reads;
use super::schema;
use super::scope::Scope;
use super::statement::Place;
use super::world::World;

/// What the rules learn about a policy.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) id: String,
    pub(super) why: Option<String>,
    pub(super) approvers: BTreeSet<String>,
    pub(super) quorum: u32,
    pub(super) scope: Scope,
}

/// The annotations that each folder knows; the ones before the bar are required.
const fn annotations(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Hard => (&["id"], &["why", "owner"]),
        Kind::Gate => (&["id", "gate", "approvers", "quorum"], &["why", "owner"]),
        Kind::Permit => (&["id"], &["why", "owner", "wide"]),
    }
}

/// The annotations of a policy.
type Said<'a> = BTreeMap<&'a str, &'a str>;

/// Checks one policy, as far as that needs nothing but the policy; see [`names_exist`] for the rest.
pub(super) fn check(policy: &Policy, place: &Place<'_>) -> Result<Notes, Vec<Finding>> {
    let kind = place.kind;
    let mut findings = Vec::new();
    // Asked for once: Cedar parses the name of an annotation each time it looks one up.
    let said: Said<'_> = policy.annotations().collect();
    effect(policy, kind, place, &mut findings);
    known_annotations(&said, kind, place, &mut findings);
    let id = identity(&said, place, &mut findings);
    actions_exist(policy, place, &mut findings);
    let scope = Scope::of(policy);
    // The tree of the conditions costs Cedar a second reading of the text, so it is made only where it can matter.
    let matters = kind == Kind::Gate || !reads::plainly_innocent(place.statement());
    let clauses = if matters { clauses(policy, place, &mut findings) } else { Vec::new() };
    if kind != Kind::Hard && clauses.iter().any(reads::reads_claimed) {
        let message = "a permit or gate must not read `context.claimed`: it is what guests and reporters say";
        findings.push(place.finding(
            "claimed",
            message,
            "read a fact of the host instead, such as `context.incident.kind`",
        ));
    }
    if clauses.iter().any(reads::reads_windows) {
        let message =
            "`context.windows` is always empty: there are no time windows yet, so a rule on them protects nothing";
        let remedy = "read the time itself: context.now.toTime() >= duration(\"22h\")";
        findings.push(place.finding("windows", message, remedy));
    }
    let (mut approvers, mut quorum) = (BTreeSet::new(), 1);
    match kind {
        Kind::Hard => {}
        Kind::Gate => (approvers, quorum) = gate(&said, &clauses, place, &mut findings),
        Kind::Permit => width(&said, &scope, place, &mut findings),
    }
    let why = said.get("why").map(|why| (*why).to_owned());
    if findings.is_empty() { Ok(Notes { id, why, approvers, quorum, scope }) } else { Err(findings) }
}

/// Checks that every action a policy names is one. Cedar would say so in three findings and propose any other action.
fn actions_exist(policy: &Policy, place: &Place<'_>, findings: &mut Vec<Finding>) {
    let known = || Verb::ALL.iter().map(|verb| verb.id()).chain(Verb::GROUPS.iter().map(|group| group.name));
    let named = match policy.action_constraint() {
        ActionConstraint::Any => Vec::new(),
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids,
    };
    for uid in named {
        let id = uid.id().unescaped();
        let written = format!("Action::\"{id}\"");
        let proper = |name: &str| format!("did you mean `{}::Action::\"{name}\"`?", schema::NAMESPACE);
        if known().any(|name| name == id) {
            if uid.type_name().to_string() != format!("{}::Action", schema::NAMESPACE) {
                let message = format!("actions are written with their namespace, this one is `{}`", uid.type_name());
                findings.push(place.finding(&written, message, proper(id)));
            }
        } else {
            let remedy = nearest(id, known())
                .map_or_else(|| "`guardian policy check --schema` lists the actions".to_owned(), proper);
            findings.push(place.finding(
                &written,
                format!("there is no action `{}`", crate::model::escape(id)),
                remedy,
            ));
        }
    }
}

/// The rule for what a playbook ships with.
pub(super) fn foreign(notes: &Notes, place: &Place<'_>, playbook: &PlaybookId, findings: &mut Vec<Finding>) {
    let principal = &notes.scope.principal;
    let own =
        principal.exact && principal.named().is_some_and(|(kind, id)| kind == "Playbook" && id == playbook.to_string());
    if !own {
        let message = format!("permits shipped with `{playbook}` may name no other principal");
        let remedy = format!("write `principal == Guardian::Playbook::\"{playbook}\"`");
        findings.push(place.finding("principal", message, remedy));
    }
    if place.statement().contains("@wide") {
        let message = "permits shipped with a playbook cannot be wide";
        findings.push(place.finding("@wide", message, "name a resource or group; the operator alone may widen it"));
    }
}

fn effect(policy: &Policy, kind: Kind, place: &Place<'_>, findings: &mut Vec<Finding>) {
    let wanted = if kind == Kind::Permit { Effect::Permit } else { Effect::Forbid };
    if policy.effect() != wanted {
        let (is, wanted) = (word(policy.effect()), word(wanted));
        let message = format!("a policy in `{}/` can only {wanted}, this one says `{is}`", kind.folder());
        let remedy = match policy.effect() {
            Effect::Permit => "move it to `permits/`",
            Effect::Forbid => "move it to `hard/`, or to `gates/` if people may approve it",
        };
        findings.push(place.finding(is, message, remedy));
    }
}

const fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}

fn known_annotations(said: &Said<'_>, kind: Kind, place: &Place<'_>, findings: &mut Vec<Finding>) {
    let (required, optional) = annotations(kind);
    for (&key, value) in said {
        let at = format!("@{key}");
        let known = required.iter().chain(optional).copied();
        if !known.clone().any(|name| name == key) {
            let all: Vec<String> = known.clone().map(|name| format!("@{name}")).collect();
            let remedy = match nearest(key, known) {
                Some(name) => format!("did you mean `@{name}`?"),
                None => format!("`{}/` knows {}", kind.folder(), all.join(", ")),
            };
            findings.push(place.finding(&at, format!("unknown annotation `{at}` in `{}/`", kind.folder()), remedy));
        } else if value.trim().is_empty() {
            findings.push(place.finding(&at, format!("`{at}` is empty"), format!("write {at}(\"...\")")));
        }
    }
    for key in required.iter().filter(|key| !said.contains_key(*key)) {
        let message = format!("the policy has no `@{key}`");
        let remedy = format!("write @{key}(\"{}\") before it", if *key == "gate" { "approval" } else { "..." });
        findings.push(place.finding("", message, remedy));
    }
}

/// Ids stand on the trail and in one-line messages, so they have the alphabet of all names.
fn identity(said: &Said<'_>, place: &Place<'_>, findings: &mut Vec<Finding>) -> String {
    let id = said.get("id").copied().unwrap_or_default();
    if !id.trim().is_empty()
        && let Err(error) = id.parse::<Name>()
    {
        findings.push(place.finding("@id", format!("the id {error}"), "for example @id(\"web-restart\")"));
    }
    id.to_owned()
}

fn clauses(policy: &Policy, place: &Place<'_>, findings: &mut Vec<Finding>) -> Vec<Clause> {
    match policy.to_pst() {
        Ok(pst::Policy::Static(tree)) => tree.body().clauses().clone(),
        Ok(pst::Policy::Linked(_)) => {
            findings.push(place.finding("", "templates are not accepted", "write the names out"));
            Vec::new()
        }
        Err(error) => {
            let message = format!("the conditions cannot be examined: {error}");
            findings.push(place.finding("", message, "write them more simply"));
            Vec::new()
        }
    }
}

fn gate(
    said: &Said<'_>,
    clauses: &[Clause],
    place: &Place<'_>,
    findings: &mut Vec<Finding>,
) -> (BTreeSet<String>, u32) {
    if said.get("gate").is_some_and(|kind| !kind.trim().is_empty() && *kind != "approval") {
        findings.push(place.finding("@gate", "the only kind of gate is `approval`", "write @gate(\"approval\")"));
    }
    let mut approvers = BTreeSet::new();
    let named = said.get("approvers").copied().unwrap_or_default();
    for part in named.split(',').map(str::trim) {
        match part.parse::<Name>() {
            Ok(role) => drop(approvers.insert(role.to_string())),
            Err(_) if part.is_empty() && named.trim().is_empty() => {}
            Err(error) => {
                let remedy = "name roles, with commas between them: @approvers(\"sre-oncall, dba\")";
                findings.push(place.finding("@approvers", format!("an approver {error}"), remedy));
            }
        }
    }
    let count = said.get("quorum").copied().unwrap_or_default();
    let quorum = count.parse::<u32>().ok().filter(|people| *people > 0 && !count.starts_with('+'));
    if quorum.is_none() && !count.trim().is_empty() {
        let message = format!("`@quorum` is the number of people who must approve, `{count}` is none");
        findings.push(place.finding("@quorum", message, "write a whole number from 1 up: @quorum(\"1\")"));
    }
    if !clauses.iter().any(|clause| reads::reads_fact(clause, "approvals")) {
        let message = "no approval can open this gate: it never reads `context.approvals`";
        let remedy = "add unless { context.approvals.contains(\"ROLE\") }, or move it to `hard/`";
        findings.push(place.finding("", message, remedy));
    } else if !approvers.is_empty() {
        same_roles(&approvers, clauses, place, findings);
    }
    (approvers, quorum.unwrap_or(1))
}

/// The annotation says who is asked, the text whose approval counts.
fn same_roles(approvers: &BTreeSet<String>, clauses: &[Clause], place: &Place<'_>, findings: &mut Vec<Finding>) {
    let Some(read) = reads::roles(clauses) else {
        let message = "nobody can tell whose approval opens this gate";
        let remedy = "read approvals only as context.approvals.contains(\"ROLE\")";
        findings.push(place.finding("context.approvals", message, remedy));
        return;
    };
    for role in approvers.difference(&read) {
        let message = format!("`{role}` is asked and cannot open this gate: it never reads that approval");
        let remedy = format!("add context.approvals.contains(\"{role}\"), or take it out of `@approvers`");
        findings.push(place.finding("@approvers", message, remedy));
    }
    for role in read.difference(approvers) {
        let message = format!("the approval of `{role}` would open this gate, and `@approvers` does not name it");
        let remedy = "add it to `@approvers`, or read the approval of a role that is named there";
        findings.push(place.finding(&format!("\"{role}\""), message, remedy));
    }
}

fn width(said: &Said<'_>, scope: &Scope, place: &Place<'_>, findings: &mut Vec<Finding>) {
    if said.get("wide").is_some_and(|reason| !reason.trim().is_empty()) {
        return;
    }
    let names = |side: &super::scope::Side, kinds: &[&str]| {
        side.named().is_some_and(|(kind, _)| kinds.is_empty() || kinds.contains(&kind.as_str()))
    };
    let missing = [
        (!names(&scope.principal, &["Playbook", "Publisher"]), "one playbook or publisher", "principal"),
        (scope.any_action, "an action or group of actions", "action"),
        (!names(&scope.resource, &[]), "a resource, group or target", "resource"),
    ];
    for (_, what, part) in missing.into_iter().filter(|(missing, _, _)| *missing) {
        let message = format!("the permit is wider than it may be: it does not name {what}");
        findings.push(place.finding(part, message, "name it, or say why not with @wide(\"reason\")"));
    }
}

/// Checks that what the policy names can exist, and does if `world` is the one that it is loaded into.
pub(super) fn names_exist(policy: &Policy, place: &Place<'_>, world: Option<&World>, findings: &mut Vec<Finding>) {
    let literals: BTreeSet<(String, String)> =
        policy.entity_literals().iter().map(|uid| (schema::type_of(uid), uid.id().unescaped().to_owned())).collect();
    for (kind, id) in literals {
        let unnameable = match kind.as_str() {
            "Playbook" => id.parse::<PlaybookId>().err(),
            "Publisher" => id.parse::<Name>().err(),
            _ => None,
        };
        if let Some(error) = unnameable {
            let literal = format!("{kind}::\"{id}\"");
            findings.push(place.finding(&literal, error.to_string(), "no such principal can ever ask"));
        }
        let Some(known) = world.and_then(|world| world.ids_of(&kind)) else { continue };
        if !known.contains(&id.as_str()) {
            let remedy = match nearest(&id, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it to guardian.toml, or remove it here".to_owned(),
            };
            let message = format!("the inventory has no {} `{id}`", kind.to_lowercase());
            findings.push(place.finding(&format!("{kind}::\"{id}\""), message, remedy));
        }
    }
}
