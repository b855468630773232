//! What a run is asked for, as given, and its way into an incident.

use std::collections::BTreeMap;

use crate::inventory::Inventory;
use crate::model::{Incident, IncidentSource, Name, PlaybookId, ResourceName, RunId, Timestamp, escape_to};

use super::RunError;

/// The most labels an incident carries: what alert rules attach, times four.
const MOST_LABELS: usize = 64;
/// The longest key or value of a label, in bytes.
const LONGEST_LABEL: usize = 256;
/// All labels together, in bytes: six times this, escaped, still fits one record.
const ALL_LABELS: usize = 4 * 1_024;

/// What a run is asked for, as a person gave it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The playbook.
    pub playbook: PlaybookId,
    /// What happened.
    pub kind: Name,
    /// What it is about.
    pub target: ResourceName,
    /// How bad it is, 1 to 10.
    pub severity: u8,
    /// Claims.
    pub labels: BTreeMap<String, String>,
}

impl Request {
    /// Checks what was given against the inventory.
    ///
    /// # Errors
    /// When a name has no shape, the target is not in the inventory, the severity or a label is out of bounds.
    pub fn new(
        inventory: &Inventory,
        playbook: &str,
        kind: &str,
        target: &str,
        severity: u8,
        labels: &[String],
    ) -> Result<Self, RunError> {
        let playbook = playbook.parse().map_err(|error| RunError::Request(format!("{error}")))?;
        let kind = kind.parse().map_err(|error| RunError::Request(format!("--incident: {error}")))?;
        let target: ResourceName = target.parse().map_err(|_| inventory.unknown(target))?;
        if !inventory.has(&target) {
            return Err(inventory.unknown(&target.to_string()).into());
        }
        if !(1..=10).contains(&severity) {
            return Err(RunError::Request(format!("--severity must be between 1 and 10, not {severity}")));
        }
        Ok(Self { playbook, kind, target, severity, labels: read_labels(labels)? })
    }

    /// The incident of the run `id`, opened now by the operator.
    pub(super) fn incident(&self, run: &RunId, now: Timestamp, bindings: BTreeMap<String, String>) -> Incident {
        Incident {
            id: format!("i-{}", run.as_str().trim_start_matches("r-")),
            kind: self.kind.clone(),
            target: self.target.clone(),
            severity: self.severity,
            source: IncidentSource::Operator,
            opened_at: now,
            labels: self.labels.clone(),
            bindings,
        }
    }
}

fn read_labels(given: &[String]) -> Result<BTreeMap<String, String>, RunError> {
    if given.len() > MOST_LABELS {
        return Err(RunError::Request(format!("at most {MOST_LABELS} labels are taken, not {}", given.len())));
    }
    if given.iter().map(String::len).sum::<usize>() > ALL_LABELS {
        return Err(RunError::Request(format!("all labels together may have at most {ALL_LABELS} bytes")));
    }
    let mut labels = BTreeMap::new();
    for label in given {
        let shown = escape_to(label, 64);
        let (key, value) = label
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| RunError::Request(format!("--label takes key=value, not `{shown}`")))?;
        if key.len() > LONGEST_LABEL || value.len() > LONGEST_LABEL {
            return Err(RunError::Request(format!("the label `{shown}` is longer than {LONGEST_LABEL} bytes")));
        }
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(RunError::Request(format!("the label `{}` is given twice", escape_to(key, 64))));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_claims_with_bounds() {
        let good = read_labels(&["a=b".to_owned(), "c=d=e".to_owned(), "f=".to_owned()]).unwrap();
        assert_eq!(good.get("c").map(String::as_str), Some("d=e"));
        for bad in ["a", "=b", &format!("a={}", "x".repeat(257))] {
            assert!(read_labels(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(read_labels(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
