//! What stands behind the names in a plan, so that approving a plan approves that as well.
//!
//! A plan says `command.run command.rebuild`; what happens then is in `guardian.toml`, and for a configuration in its
//! baseline. Both can be changed while a plan waits. So the plan holds, for every resource that its effects touch or reach
//! and for its target, a line for people and a keyed digest of all that the operator wrote; a run that goes on makes them
//! anew and refuses if one of them differs.
//!
//! What this does not cover: what the operator's files only name. The bytes of a program, the unit of systemd and the files
//! in a folder are looked at by the hands when they act.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gate::PlannedEffect;
use crate::model::{Digest, ResourceName};

use super::{RunError, Site};

/// What stands behind one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defined {
    /// In a line, for people, escaped.
    pub says: String,
    /// All of it, keyed with the host's key.
    pub digest: Digest,
}

/// What stands behind the names that these effects touch or reach, and behind the target's.
///
/// # Errors
/// When one of them is not in the inventory, or its baseline cannot be used.
pub(super) fn definitions(
    site: &Site,
    effects: &[PlannedEffect],
    target: &ResourceName,
) -> Result<BTreeMap<String, Defined>, RunError> {
    let inventory = &site.configuration.inventory;
    let mut names = BTreeSet::from([target.clone()]);
    for effect in effects {
        let resource: ResourceName = effect.resource.parse().map_err(|_| inventory.unknown(&effect.resource))?;
        names.extend(inventory.touched(&effect.action, &resource));
    }
    let owners: Vec<ResourceName> = names.iter().map(|name| inventory.target_of(name)).collect();
    names.extend(owners);
    let hands = site.hands()?;
    let mut defined = BTreeMap::new();
    for name in names {
        let definition = inventory.definition(&name).ok_or_else(|| inventory.unknown(&name.to_string()))?;
        let digest = site.digest_of_definition(&definition.bytes, &hands.baseline(&name)?);
        defined.insert(name.to_string(), Defined { says: definition.line, digest });
    }
    Ok(defined)
}
