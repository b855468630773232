//! The manifest: what a playbook says of itself.
//!
//! Written by the author as `playbook.toml`, embedded in the component as the custom section `guardian:manifest` (JSON),
//! repeated in the signed statement. Inside the bytes it is inside every digest and every signature. It asks; it grants
//! nothing. Unknown keys are refused, so that a manifest cannot say something to a person that the host does not read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::{Name, PlaybookId, ResourceKind};
use super::verb::Interface;

/// The name of the custom section.
const SECTION: &str = "guardian:manifest";
/// Large enough for every description; a manifest is read before its signature is checked only by tools.
const LARGEST: usize = 64 * 1024;

/// What a playbook says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Who signs it.
    pub publisher: Name,
    /// Its name among the publisher's playbooks.
    pub name: Name,
    /// Semantic version, for people.
    pub version: String,
    /// Release, for the host: rises with every release, never goes back.
    pub release: u64,
    /// One sentence for the person who decides whether to trust it.
    pub description: String,
    /// Incident kinds it is made for.
    #[serde(default)]
    pub triggers: BTreeSet<Name>,
    /// 1 (last resort) to 10 (first choice), among playbooks with the same trigger.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// The interfaces it asks for. Must be exactly those it imports.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    /// Resources it works on, by role; the operator binds each. `target` is bound to the incident's target.
    #[serde(default)]
    pub roles: BTreeMap<Name, String>,
    /// Values the operator can set.
    #[serde(default)]
    pub parameters: BTreeMap<Name, Parameter>,
}

const fn default_priority() -> u8 {
    5
}

/// A value the operator can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it must look like.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it is if the operator says nothing; without it the operator must say something.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub default: Option<String>,
    /// One sentence for the operator.
    pub description: String,
}

/// What a parameter must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl ParameterType {
    /// Whether `value` looks like this.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer => value.parse::<i64>().is_ok(),
            Self::Boolean => matches!(value, "true" | "false"),
        }
    }
}

/// A manifest that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// It is not TOML or JSON of the right shape.
    #[error("the manifest cannot be read: {0}")]
    Shape(String),
    /// A value in it is out of bounds.
    #[error("the manifest's `{key}` {problem}")]
    Value {
        /// Which key.
        key: String,
        /// What is wrong with it and how to mend it.
        problem: String,
    },
}

impl Manifest {
    /// The custom section it is embedded in.
    pub const SECTION: &'static str = SECTION;

    /// Reads a `playbook.toml`.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key, lacks one, or a value is out of bounds.
    pub fn from_toml(text: &str) -> Result<Self, InvalidManifest> {
        let manifest: Self = toml::from_str(text).map_err(|error| shape_of(text, &error))?;
        manifest.checked()
    }

    /// Reads the JSON of a custom section or of a statement.
    ///
    /// # Errors
    /// When it is too large, not JSON of this shape, or a value is out of bounds.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        if bytes.len() > LARGEST {
            return Err(InvalidManifest::Shape(format!("it is longer than {LARGEST} bytes")));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| InvalidManifest::Shape(super::escape(&error.to_string())))?;
        manifest.checked()
    }

    /// The JSON to embed. The same manifest always gives the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `publisher/name`.
    #[must_use]
    pub fn id(&self) -> PlaybookId {
        PlaybookId { publisher: self.publisher.clone(), name: self.name.clone() }
    }

    fn checked(self) -> Result<Self, InvalidManifest> {
        let wrong = |key: &str, problem: String| Err(InvalidManifest::Value { key: key.to_owned(), problem });
        let semver: Vec<&str> = self.version.splitn(3, '.').collect();
        if semver.len() != 3
            || self.version.len() > 64
            || !self.version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
        {
            return wrong("version", "is not a semantic version like 1.4.0".to_owned());
        }
        if self.release == 0 || self.release > u64::from(u32::MAX) {
            return wrong("release", format!("must be between 1 and {}", u32::MAX));
        }
        if !(1..=10).contains(&self.priority) {
            return wrong("priority", "must be between 1 and 10".to_owned());
        }
        if self.description.is_empty() || self.description.len() > 1_000 {
            return wrong("description", "must have 1 to 1,000 bytes".to_owned());
        }
        if let Some(unknown) = self.capabilities.iter().find(|word| Interface::from_word(word).is_none()) {
            let known: Vec<&str> = Interface::ALL.iter().map(|interface| interface.word()).collect();
            let shown = super::escape_to(unknown, 64);
            return wrong(
                "capabilities",
                format!("names `{shown}`, which this host does not offer; it offers {}", known.join(", ")),
            );
        }
        if let Some((role, kind)) =
            self.roles.iter().find(|(_, kind)| !ResourceKind::ALL.iter().any(|known| known.word() == kind.as_str()))
        {
            return wrong(
                "roles",
                format!("gives `{role}` the kind `{}`, which this host does not have", super::escape_to(kind, 64)),
            );
        }
        for (name, parameter) in &self.parameters {
            if parameter.default.as_ref().is_some_and(|value| !parameter.kind.fits(value)) {
                return wrong("parameters", format!("gives `{name}` a default that is not of its type"));
            }
        }
        Ok(self)
    }
}

/// One line with the place: an excerpt of somebody else's file is for an editor, not for a message.
fn shape_of(text: &str, error: &toml::de::Error) -> InvalidManifest {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.as_bytes().iter().take(start).filter(|byte| **byte == b'\n').count() + 1;
    InvalidManifest::Shape(format!("line {line}: {}", super::escape_to(error.message(), 300)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "publisher = 'guardian'\nname = 'service_crashed'\nversion = '0.1.0'\nrelease = 1\ndescription = 'd'\n";

    #[test]
    fn toml_and_json_agree() {
        let manifest =
            Manifest::from_toml(&format!("{GOOD}capabilities = ['service', 'log']\nroles = {{ target = 'service' }}"))
                .unwrap();
        assert_eq!(Manifest::from_json(&manifest.to_json()), Ok(manifest));
    }

    #[test]
    fn each_bad_value_is_named() {
        for (line, word) in [
            ("priority = 11", "priority"),
            ("capabilities = ['wasi']", "wasi"),
            ("roles = { target = 'planet' }", "planet"),
            ("colour = 'red'", "colour"),
            ("parameters = { n = { type = 'integer', default = 'x', description = 'd' } }", "parameters"),
        ] {
            let error = Manifest::from_toml(&format!("{GOOD}{line}")).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
        assert!(Manifest::from_toml(&GOOD.replace("release = 1", "release = 0")).is_err());
    }
}
