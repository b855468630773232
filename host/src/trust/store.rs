//! The operator's trust file: which publisher, which keys, how many of them.
//!
//! ```toml
//! version = 3
//! revoked = ["sha256:.."]          # these bytes never run, whoever signed them
//!
//! [publisher.acme]
//! threshold = 2                    # how many different keys must sign a release
//! keys.alice = "guardian-ed25519:.."
//! keys.bob = "guardian-ed25519:.."
//!
//! [floor]
//! "acme/web_restart" = 7           # no older release, not even by an operator's rollback
//! ```
//!
//! It stands in the operator's directory (`etc/trust/`), which the daemon only reads. A file or directory that others can
//! write, an unknown key, a threshold that cannot be met, and one raw key that stands twice (also under two publishers, or
//! two labels: it would count as two people) refuse the load: whoever edits this file decides what runs. The version rises
//! with every save, and a save refuses when somebody else saved in between. A file that is not there trusts nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TrustError;
use super::key::PublicKey;
use crate::durable::Folder;
use crate::model::{Digest, Name, PlaybookId, escape_to};

const FILE: &str = "publishers.toml";
/// About a thousand keys with their labels, or three thousand revoked digests.
const LARGEST: u64 = 256 * 1024;
/// Every signature is tried with every key: 16 signatures x 256 keys are 0.2 s of checks at worst.
const MOST_KEYS: usize = 256;

/// One publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// How many different keys must sign a release.
    pub threshold: u32,
    /// The keys that speak for it, by label.
    pub keys: BTreeMap<Name, PublicKey>,
}

/// The operator's trust file, read and checked.
#[derive(Clone, Debug)]
pub struct TrustStore {
    version: u64,
    revoked: BTreeSet<Digest>,
    publishers: BTreeMap<Name, Publisher>,
    floors: BTreeMap<PlaybookId, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    #[serde(default)]
    revoked: BTreeSet<Digest>,
    #[serde(default)]
    publisher: BTreeMap<Name, Table>,
    #[serde(default)]
    floor: BTreeMap<PlaybookId, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    threshold: u32,
    keys: BTreeMap<Name, String>,
}

impl TrustStore {
    /// A store that trusts nobody.
    #[must_use]
    pub const fn empty() -> Self {
        Self { version: 0, revoked: BTreeSet::new(), publishers: BTreeMap::new(), floors: BTreeMap::new() }
    }

    /// Reads `publishers.toml` in the operator's directory.
    ///
    /// # Errors
    /// When the directory or the file can be written by others, cannot be read, or its content cannot be used. A file
    /// that is not there is no error: nobody is trusted then.
    pub fn load(folder: &Folder) -> Result<Self, TrustError> {
        // INVARIANT 10: what others can write grants nothing.
        folder.trusted()?;
        match folder.trusted_file(FILE) {
            Err(error) if error.is_not_found() => return Ok(Self::empty()),
            other => other?,
        }
        let bytes = folder.read_bounded(FILE, LARGEST)?;
        let refused = |problem| TrustError::Store { file: path(folder), problem };
        let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".to_owned()))?;
        Self::parse(&text).map_err(refused)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
            format!("line {line}: {}", escape_to(error.message(), 160))
        })?;
        let mut publishers = BTreeMap::new();
        for (name, table) in file.publisher {
            let mut keys = BTreeMap::new();
            for (label, text) in table.keys {
                let key = text.parse::<PublicKey>().map_err(|error| format!("`{name}`, key `{label}`: {error}"))?;
                keys.insert(label, key);
            }
            publishers.insert(name, Publisher { threshold: table.threshold, keys });
        }
        let store = Self { version: file.version, revoked: file.revoked, publishers, floors: file.floor };
        store.check()?;
        Ok(store)
    }

    /// What must hold whenever it is read or written.
    fn check(&self) -> Result<(), String> {
        let mut seen: BTreeMap<&[u8; 32], (&Name, &Name)> = BTreeMap::new();
        for (name, publisher) in &self.publishers {
            for (label, key) in &publisher.keys {
                if let Some((other, other_label)) = seen.insert(key.as_bytes(), (name, label)) {
                    return Err(format!(
                        "the same key stands as `{label}` of `{name}` and as `{other_label}` of `{other}`; one person is one key: remove one of the two"
                    ));
                }
            }
            let keys = publisher.keys.len();
            if publisher.threshold < 1 || usize::try_from(publisher.threshold).map_or(true, |least| least > keys) {
                return Err(format!(
                    "`{name}` has the threshold {} and {keys} keys; set a threshold between 1 and the number of keys, or add keys first",
                    publisher.threshold
                ));
            }
        }
        if seen.len() > MOST_KEYS {
            return Err(format!("it has {} keys; at most {MOST_KEYS} are accepted", seen.len()));
        }
        Ok(())
    }

    /// Lets `key` speak for `publisher`, under `label` (else the first digits of its id), and sets how many keys must sign
    /// (else it stays, or is 1 for a new publisher). Gives the label.
    ///
    /// # Errors
    /// When the key or the label stands there already, or the threshold cannot be met. Nothing has changed then.
    pub fn add(
        &mut self,
        publisher: &Name,
        label: Option<Name>,
        key: PublicKey,
        threshold: Option<u32>,
    ) -> Result<Name, TrustError> {
        let label = match label {
            Some(label) => label,
            None => key.id().short().parse().map_err(|error| TrustError::Change(format!("{error}")))?,
        };
        let mut next = self.clone();
        let entry = next
            .publishers
            .entry(publisher.clone())
            .or_insert_with(|| Publisher { threshold: 1, keys: BTreeMap::new() });
        if entry.keys.contains_key(&label) {
            return Err(TrustError::Change(format!(
                "`{publisher}` has a key `{label}` already; remove it first, or choose another label with --label"
            )));
        }
        entry.keys.insert(label.clone(), key);
        entry.threshold = threshold.unwrap_or(entry.threshold);
        next.check().map_err(TrustError::Change)?;
        *self = next;
        Ok(label)
    }

    /// Trusts one key of a publisher no more, or the whole publisher.
    ///
    /// # Errors
    /// When there is no such publisher or key, or the keys left could not meet the threshold. Nothing has changed then.
    pub fn remove(&mut self, publisher: &Name, label: Option<&Name>) -> Result<(), TrustError> {
        let mut next = self.clone();
        let entry = next.publishers.get_mut(publisher).ok_or_else(|| {
            let close = |known: &&Name| strsim::damerau_levenshtein(known.as_str(), publisher.as_str()) <= 2;
            let meant = self.publishers.keys().find(close);
            let hint = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            TrustError::Change(format!("no publisher `{publisher}` is trusted{hint}; see `guardian trust list`"))
        })?;
        if let Some(label) = label {
            if entry.keys.remove(label).is_none() {
                return Err(TrustError::Change(format!(
                    "`{publisher}` has no key `{label}`; see `guardian trust list`"
                )));
            }
        } else {
            entry.keys.clear();
        }
        if entry.keys.is_empty() {
            next.publishers.remove(publisher);
        }
        next.check().map_err(TrustError::Change)?;
        *self = next;
        Ok(())
    }

    /// These bytes never run again, whoever signed them.
    ///
    /// # Errors
    /// When they are revoked already.
    pub fn revoke(&mut self, digest: Digest) -> Result<(), TrustError> {
        if !self.revoked.insert(digest) {
            return Err(TrustError::Change(format!("{digest} is revoked already")));
        }
        Ok(())
    }

    /// No release of the playbook below this one runs, not even by an operator's rollback.
    pub fn set_floor(&mut self, playbook: PlaybookId, release: u64) {
        self.floors.insert(playbook, release);
    }

    /// Writes it, one version higher (mode 0644: it holds nothing secret, and the daemon's user reads it).
    ///
    /// # Errors
    /// When others can write there, the file changed since it was read, or it cannot be written; the old one stands then.
    pub fn save(&mut self, folder: &Folder) -> Result<(), TrustError> {
        let found = Self::load(folder)?.version;
        if found != self.version {
            return Err(TrustError::Changed { file: path(folder), found, expected: self.version });
        }
        let next = self.next();
        folder.replace_with_mode(FILE, next.canonical().as_bytes(), 0o644)?;
        *self = next;
        Ok(())
    }

    /// The set as the next [`TrustStore::save`] writes it: its digest can go on the trail before the file changes.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { version: self.version.saturating_add(1), ..self.clone() }
    }

    /// The publishers, by name.
    pub fn list(&self) -> impl Iterator<Item = (&Name, &Publisher)> {
        self.publishers.iter()
    }

    /// One publisher.
    #[must_use]
    pub fn publisher(&self, name: &Name) -> Option<&Publisher> {
        self.publishers.get(name)
    }

    /// Whether these bytes are revoked.
    #[must_use]
    pub fn is_revoked(&self, digest: &Digest) -> bool {
        self.revoked.contains(digest)
    }

    /// The revoked digests.
    pub fn revoked(&self) -> impl Iterator<Item = &Digest> {
        self.revoked.iter()
    }

    /// The oldest release of the playbook that may run.
    #[must_use]
    pub fn floor(&self, playbook: &PlaybookId) -> Option<u64> {
        self.floors.get(playbook).copied()
    }

    /// Rises with every save.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The digest of its content, for the trail: the same whatever order or comments the file has.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.canonical().as_bytes())
    }

    /// Sorted maps of plain values: always the same text, and nothing in it that TOML cannot hold.
    fn canonical(&self) -> String {
        let publisher = self.publishers.iter().map(|(name, publisher)| {
            let keys = publisher.keys.iter().map(|(label, key)| (label.clone(), key.to_string())).collect();
            (name.clone(), Table { threshold: publisher.threshold, keys })
        });
        let file = File {
            version: self.version,
            revoked: self.revoked.clone(),
            publisher: publisher.collect(),
            floor: self.floors.clone(),
        };
        toml::to_string(&file).unwrap_or_default()
    }
}

fn path(folder: &Folder) -> String {
    folder.path().join(FILE).display().to_string()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test edits files from outside")]
mod tests {
    use super::super::SigningKey;
    use super::*;

    fn key() -> PublicKey {
        SigningKey::generate().unwrap().public()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_saved_is_loaded_and_the_version_rises() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let mut store = TrustStore::load(&folder).unwrap();
        assert_eq!((store.version(), store.list().count()), (0, 0));
        store.add(&name("acme"), Some(name("alice")), key(), None).unwrap();
        store.add(&name("acme"), None, key(), Some(2)).unwrap();
        store.revoke(Digest::of(b"bad")).unwrap();
        assert!(store.revoke(Digest::of(b"bad")).is_err());
        store.set_floor("acme/x".parse().unwrap(), 7);
        // What goes on the trail before the save is what a run reads afterwards, and nothing else would be.
        let (before, promised) = (store.digest(), store.next().digest());
        store.save(&folder).unwrap();
        let again = TrustStore::load(&folder).unwrap();
        assert_eq!(again.digest(), promised);
        assert_ne!(again.digest(), before);
        assert_eq!((again.version(), again.digest()), (1, store.digest()));
        assert_eq!(again.publisher(&name("acme")).unwrap().threshold, 2);
        assert_eq!(again.floor(&"acme/x".parse().unwrap()), Some(7));
        assert!(again.is_revoked(&Digest::of(b"bad")) && !again.is_revoked(&Digest::of(b"good")));
        store.save(&folder).unwrap();
        let mut stale = again;
        assert!(matches!(stale.save(&folder), Err(TrustError::Changed { found: 2, expected: 1, .. })));
    }

    #[test]
    fn a_key_counts_once_and_a_threshold_can_be_met() {
        let mut store = TrustStore::empty();
        let shared = key();
        store.add(&name("acme"), Some(name("alice")), shared.clone(), None).unwrap();
        for publisher in ["acme", "other"] {
            let error = store.add(&name(publisher), Some(name("bob")), shared.clone(), None).unwrap_err();
            assert!(error.to_string().contains("same key"), "{error}");
        }
        for threshold in [0, 3, u32::MAX] {
            assert!(store.add(&name("acme"), Some(name("bob")), key(), Some(threshold)).is_err());
        }
        store.add(&name("acme"), Some(name("bob")), key(), Some(2)).unwrap();
        assert!(store.remove(&name("acme"), Some(&name("bob"))).unwrap_err().to_string().contains("threshold"));
        assert!(store.remove(&name("acme"), Some(&name("carol"))).is_err());
        assert!(store.remove(&name("nobody"), None).is_err());
        store.remove(&name("acme"), None).unwrap();
        assert_eq!(store.list().count(), 0);
    }

    #[test]
    fn a_file_that_could_mislead_refuses_the_load() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let (one, two) = (key(), key());
        let good = format!("version = 1\n[publisher.acme]\nthreshold = 1\nkeys.alice = \"{one}\"\n");
        folder.replace(FILE, good.as_bytes()).unwrap();
        assert_eq!(TrustStore::load(&folder).unwrap().list().count(), 1);
        for (bad, word) in [
            (good.replace("threshold = 1", "threshold = 0"), "threshold"),
            (good.replace("threshold = 1", "threshold = 2"), "threshold"),
            (good.replace("threshold = 1\n", ""), "threshold"),
            (format!("{good}keys.bob = \"{one}\"\n"), "same key"),
            (format!("{good}[publisher.other]\nthreshold = 1\nkeys.x = \"{one}\"\n"), "same key"),
            (format!("{good}keys.alice = \"{two}\"\n"), "line 5"),
            (format!("{good}colour = 1\n"), "colour"),
            (good.replace("version = 1\n", ""), "version"),
            (good.replace("guardian-ed25519:", "ed25519:"), "alice"),
            (format!("revoked = [\"abc\"]\n{good}"), "sha256"),
            (good.replace("acme", "Acme"), "line"),
        ] {
            folder.replace(FILE, bad.as_bytes()).unwrap();
            let error = TrustStore::load(&folder).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(FILE) && !error.contains('\n'), "{error} lacks {word}");
        }
    }

    #[test]
    fn a_file_or_directory_that_others_can_write_refuses_the_load() {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        let home = tempfile::tempdir().unwrap();
        let above = Folder::open(home.path()).unwrap();
        let folder = above.make_sub("trust").unwrap();
        TrustStore::empty().save(&folder).unwrap();
        TrustStore::load(&folder).unwrap();
        for mode in [0o664, 0o646] {
            folder.dir().set_permissions(FILE, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(TrustStore::load(&folder), Err(TrustError::File(_))));
        }
        folder.dir().set_permissions(FILE, Permissions::from_mode(0o644)).unwrap();
        above.dir().set_permissions("trust", Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(TrustStore::load(&folder), Err(TrustError::File(_))));
    }
}
