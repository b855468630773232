//! A plan that waits for people: what they are asked to approve.
//!
//! It is one file, `state/approvals/RUN.json`, and its digest is what the trail holds and what people sign. The digest covers
//! every byte of the file: the home, the bytes that would run, the policy, the incident with its labels and bindings, the
//! effects with their arguments, what stands behind the names they use, whom the gates ask and until when. What is not in
//! it cannot be shown to anybody and cannot be relied upon, so there is nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gate::{PlannedEffect, Transcript};
use crate::model::{Digest, EffectClass, Incident, Name, PlaybookId, ResourceName, RunId, Timestamp};

use super::definitions::{Defined, definitions};
use super::{Admitted, RunError, Site};

/// The largest plan that may wait, in bytes: some thousands of effects, which nobody reads any more.
pub(super) const LARGEST_PLAN: u64 = 1024 * 1024;

/// A plan that waits for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The public key of the trail that it waits on: words for one home are none for another, nor for a later trail here.
    pub trail: String,
    /// The run that waits.
    pub run: RunId,
    /// Its playbook.
    pub playbook: PlaybookId,
    /// The release.
    pub release: u64,
    /// The bytes.
    pub component: Digest,
    /// The policy that was asked.
    pub policy: Digest,
    /// What it is for.
    pub incident: Incident,
    /// What it would do, in order.
    pub effects: Vec<PlannedEffect>,
    /// What stands behind the names of the resources that these effects touch or reach, and of the target.
    pub definitions: BTreeMap<String, Defined>,
    /// The gates that ask, by id: how many people, in which roles.
    pub gates: BTreeMap<String, (u32, BTreeSet<String>)>,
    /// Until when people may answer.
    pub until: Timestamp,
}

/// What the digest of a plan that `guardian plan` shows covers: what two plans of the same can have in common. No ids, pids,
/// times or reads.
#[derive(Serialize)]
struct Covered<'a> {
    playbook: &'a PlaybookId,
    release: u64,
    component: &'a Digest,
    policy: &'a Digest,
    kind: &'a Name,
    target: &'a ResourceName,
    severity: u8,
    labels: &'a BTreeMap<String, String>,
    bindings: &'a BTreeMap<String, String>,
    effects: &'a [PlannedEffect],
    definitions: &'a BTreeMap<String, Defined>,
}

/// The digest of what a playbook would do for an incident, with what stands behind the names it uses.
///
/// # Errors
/// When a resource is not in the inventory, or its baseline cannot be used.
pub(super) fn plan_digest(
    site: &Site,
    admitted: &Admitted,
    incident: &Incident,
    effects: &[PlannedEffect],
) -> Result<Digest, RunError> {
    let verified = admitted.verified();
    let Incident { kind, target, severity, labels, bindings, .. } = incident;
    let covered = Covered {
        playbook: &verified.id(),
        release: verified.manifest().release,
        component: verified.digest(),
        policy: &site.policy.digest(),
        kind,
        target,
        severity: *severity,
        labels,
        bindings,
        effects,
        definitions: &definitions(site, effects, target)?,
    };
    Ok(Digest::of(&serde_json::to_vec(&covered).unwrap_or_default()))
}

impl Asked {
    /// What a planned run asks people, if it met a gate.
    ///
    /// # Errors
    /// When what stands behind a name cannot be told.
    pub(super) fn of(
        site: &Site,
        admitted: &Admitted,
        (run, incident): (&RunId, &Incident),
        transcript: &Transcript,
    ) -> Result<Option<Self>, RunError> {
        let met: BTreeSet<&String> = transcript.gates.iter().collect();
        if met.is_empty() {
            return Ok(None);
        }
        let gates = met.into_iter().filter_map(|id| {
            let terms = site.policy.gate(id)?;
            Some((id.clone(), (terms.quorum, terms.approvers)))
        });
        let verified = admitted.verified();
        Ok(Some(Self {
            trail: site.trail_key()?,
            run: run.clone(),
            playbook: verified.id(),
            release: verified.manifest().release,
            component: *verified.digest(),
            policy: site.policy.digest(),
            incident: incident.clone(),
            effects: transcript.effects.clone(),
            definitions: definitions(site, &transcript.effects, &incident.target)?,
            gates: gates.collect(),
            until: site.clock.now().plus(site.configuration.approval_wait),
        }))
    }

    /// The file of it: one line of JSON.
    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The same plan from its file, if it is byte for byte what would be written for it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let asked: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if asked.bytes() == bytes { Ok(asked) } else { Err("it was changed".to_owned()) }
    }

    /// The digest of what is asked, and of nothing less: the SHA-256 of its file.
    #[must_use]
    pub fn plan(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    /// Why it is too large to wait, if it is: it would be written and could not be read again.
    pub(super) fn too_large(&self) -> Option<String> {
        let bytes = u64::try_from(self.bytes().len()).unwrap_or(u64::MAX);
        let most = LARGEST_PLAN >> 10;
        (bytes > LARGEST_PLAN).then(|| {
            format!(
                "a gate asks for people, and its plan of {} effects is larger than the {most} KiB that may wait: nobody could read it. Let the playbook do less at once, or narrow the gate",
                self.effects.len()
            )
        })
    }

    /// What would be done, each with what it leaves behind. What this Guardian does not know counts as irreversible.
    pub fn effects(&self) -> impl Iterator<Item = (&PlannedEffect, EffectClass)> {
        self.effects.iter().map(|effect| (effect, effect.class()))
    }

    /// The same as JSON.
    #[must_use]
    pub fn effects_json(&self) -> serde_json::Value {
        let effect = |(effect, class): (&PlannedEffect, EffectClass)| {
            serde_json::json!({
                "action": effect.action, "resource": effect.resource, "arguments": effect.arguments, "class": class,
            })
        };
        self.effects().map(effect).collect()
    }

    /// What the gates want, in words: `web-restart: 2 of sre`.
    #[must_use]
    pub fn wants(&self) -> Vec<String> {
        let gate = |(id, (quorum, roles)): (&String, &(u32, BTreeSet<String>))| {
            format!("{id}: {quorum} of {}", roles.iter().cloned().collect::<Vec<_>>().join(", "))
        };
        self.gates.iter().map(gate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IncidentSource;

    fn asked() -> Asked {
        let resource: ResourceName = "service.web".parse().unwrap();
        let arguments = BTreeMap::from([("mode".to_owned(), "soft".to_owned())]);
        Asked {
            trail: "a+b+c".to_owned(),
            run: RunId::new(Timestamp::from_millis(1), 1),
            playbook: "acme/healer".parse().unwrap(),
            release: 3,
            component: Digest::of(b"component"),
            policy: Digest::of(b"policy"),
            incident: Incident {
                id: "i-1".to_owned(),
                kind: "service_crashed".parse().unwrap(),
                target: resource.clone(),
                severity: 5,
                source: IncidentSource::Operator,
                opened_at: Timestamp::from_millis(1),
                labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
                bindings: BTreeMap::from([("target".to_owned(), "web".to_owned())]),
            },
            effects: vec![PlannedEffect {
                action: "service.start".to_owned(),
                resource: resource.to_string(),
                arguments,
            }],
            definitions: BTreeMap::from([(
                resource.to_string(),
                Defined { says: "runs /bin/web".to_owned(), digest: Digest::of(b"definition") },
            )]),
            gates: BTreeMap::from([("ask".to_owned(), (1, BTreeSet::from(["oncall".to_owned()])))]),
            until: Timestamp::from_millis(9),
        }
    }

    /// Every leaf of a JSON document, replaced one after the other by something else of its type.
    fn changed(value: &serde_json::Value) -> Vec<serde_json::Value> {
        use serde_json::Value;
        match value {
            Value::Object(fields) => {
                let one = |(key, value): (&String, &Value)| {
                    let key = key.clone();
                    changed(value).into_iter().map(move |value| (key.clone(), value)).collect::<Vec<_>>()
                };
                let all = fields.iter().flat_map(one);
                let with = |(key, value)| {
                    let mut fields = fields.clone();
                    fields.insert(key, value);
                    Value::Object(fields)
                };
                all.map(with).collect()
            }
            Value::Array(items) => {
                let one = |(at, item): (usize, &Value)| {
                    changed(item).into_iter().map(move |item| (at, item)).collect::<Vec<_>>()
                };
                let with = |(at, item)| {
                    let mut items = items.clone();
                    items[at] = item;
                    Value::Array(items)
                };
                items.iter().enumerate().flat_map(one).map(with).collect()
            }
            Value::String(text) => {
                vec![Value::String(format!("{text}0")), Value::String(text.replace(['1', 'a'], "2"))]
            }
            Value::Number(number) => vec![Value::from(number.as_u64().unwrap() + 1)],
            _ => Vec::new(),
        }
    }

    #[test]
    fn nothing_of_a_plan_can_be_changed_under_its_digest() {
        let asked = asked();
        assert_eq!(Asked::read(&asked.bytes()).unwrap(), asked);
        let document = serde_json::to_value(&asked).unwrap();
        let (mut read, all) = (0, changed(&document));
        for other in all.into_iter().filter(|other| *other != document) {
            // What still reads as a plan is another plan.
            let Ok(other) = serde_json::from_value::<Asked>(other) else { continue };
            assert_ne!(other.plan(), asked.plan(), "{other:?}");
            read += 1;
        }
        assert!(read >= 20, "{read}");
        let mut spaced = asked.bytes();
        spaced.push(b'\n');
        assert!(Asked::read(&spaced).is_err(), "not byte for byte");
    }

    #[test]
    fn what_could_not_be_read_again_is_too_large() {
        let mut asked = asked();
        assert_eq!(asked.too_large(), None);
        asked.effects = vec![asked.effects[0].clone(); 20_000];
        assert!(asked.too_large().unwrap().contains("20000 effects"));
    }
}
