//! The Cedar schema, made from the table of verbs.
//!
//! A verb, a group or a kind of resource is written down once, in `model`; policies see it through this text. The schema
//! is what turns a typo (`resource.protectd`) into a refusal at load instead of a policy that silently never applies, so it
//! is passed to every validation, every request and every set of entities. It has no default branch: what is not in the
//! table cannot be named in a policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

use crate::model::{ResourceKind, Verb};

use super::finding::PolicyError;

/// The namespace of every type in policies.
pub(super) const NAMESPACE: &str = "Guardian";

/// What stands in `context`; each line is explained in docs/policy.md.
const CONTEXT: &str = "  // What the incident is. The host's words, never a reporter's.
  type Incident = { kind: String, severity: Long, target: Target };
  // Effects of this playbook with this action on this resource: in 5 minutes, 1 hour, 1 day. Reads never count.
  type Used = { m5: Long, h1: Long, d1: Long };
  // What a guest or a reporter said. Only hard rules may read it.
  type Claimed = { labels: Set<String> };
  type Facts = {
    now: datetime,
    incident: Incident,
    used: Used,
    windows: Set<String>,
    approvals: Set<String>,
    claimed: Claimed,
  };
";

static TEXT: LazyLock<String> = LazyLock::new(generate);

/// The schema as text, for the documentation, for `guardian policy check --schema` and for Cedar's own tools.
#[must_use]
pub fn schema_text() -> &'static str {
    &TEXT
}

fn generate() -> String {
    let mut text = format!("namespace {NAMESPACE} {{\n{CONTEXT}\n");
    text.push_str("  entity Publisher;\n  entity Playbook in [Publisher];\n  entity Group;\n  entity Target;\n");
    for kind in ResourceKind::ALL {
        let _ = writeln!(text, "  entity {} in [Group, Target] = {{ protected: Bool }};", kind.entity());
    }
    text.push('\n');
    for group in Verb::GROUPS {
        let _ = writeln!(text, "  // {}\n  action \"{}\";", group.what, group.name);
    }
    text.push('\n');
    for verb in Verb::ALL {
        let groups: Vec<String> = verb.groups().iter().map(|group| format!("\"{group}\"")).collect();
        let _ = writeln!(
            text,
            "  action \"{verb}\" in [{}] appliesTo {{ principal: Playbook, resource: {}, context: Facts }};",
            groups.join(", "),
            verb.resource_kind().entity()
        );
    }
    text.push_str("}\n");
    text
}

/// The schema as Cedar uses it. Parsed once per load: that is a millisecond, and a static could not report its error.
pub(super) fn parse() -> Result<Schema, PolicyError> {
    Schema::from_cedarschema_str(schema_text())
        .map(|(schema, _)| schema)
        .map_err(|error| PolicyError::Schema { source: Box::new(error) })
}

/// `Guardian::Type::"id"`. The id is taken as it is, never parsed: a quote or `::` in it is just a character.
pub(super) fn entity(type_name: &'static str, id: &str) -> Result<EntityUid, PolicyError> {
    Ok(EntityUid::from_type_name_and_id(entity_type(type_name)?, EntityId::new(id)))
}

/// The names of the entity types, each parsed once: that costs 30 us, and a world has thousands of entities of seven types.
static TYPES: Mutex<BTreeMap<&'static str, EntityTypeName>> = Mutex::new(BTreeMap::new());

fn entity_type(name: &'static str) -> Result<EntityTypeName, PolicyError> {
    let mut types = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = types.get(name) {
        return Ok(known.clone());
    }
    let parsed: EntityTypeName =
        format!("{NAMESPACE}::{name}").parse().map_err(|error| PolicyError::Schema { source: Box::new(error) })?;
    types.insert(name, parsed.clone());
    Ok(parsed)
}

/// The type of an entity without the namespace: `Service`.
pub(super) fn type_of(uid: &EntityUid) -> String {
    uid.type_name().basename().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_group_is_an_action() {
        let schema = parse().unwrap();
        let actions: Vec<String> = schema.actions().map(|uid| uid.id().unescaped().to_owned()).collect();
        for verb in Verb::ALL {
            assert!(actions.iter().any(|action| action == verb.id()), "{verb}");
        }
        for group in Verb::GROUPS {
            assert!(actions.iter().any(|action| action == group.name), "{}", group.name);
        }
        assert_eq!(actions.len(), Verb::ALL.len() + Verb::GROUPS.len());
    }

    #[test]
    fn ids_are_never_parsed() {
        let uid = entity("Service", "a\"::Service::\"b").unwrap();
        assert_eq!(uid.id().unescaped(), "a\"::Service::\"b");
        assert_eq!(type_of(&uid), "Service");
    }
}
