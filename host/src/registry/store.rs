//! The store of components: `sha256/<hex>.wasm`, `sha256/<hex>.wasm.dsse.json`, and the index `playbooks.json`.
//!
//! Content goes first, the index last, each file whole or not at all; so a crash leaves at most content that nothing
//! names, and the next change sweeps it. Changes take a lock, because two at once would lose one of the two in the index;
//! readers take none. What is read is read once, into a buffer whose digest is checked; that buffer is what is verified,
//! compiled and run. The few releases before the current one stay, so that an operator can go back without a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};

use super::RegistryError;
use super::index::{Entry, Index, Release};
use crate::durable::Folder;
use crate::model::{Digest, PlaybookId, Timestamp, nearest};

const INDEX: &str = "playbooks.json";
const CONTENT: &str = "sha256";
/// Hidden, so that it is no content.
const LOCK: &str = ".lock";
/// About 20,000 releases.
const LARGEST_INDEX: u64 = 4 << 20;
/// The size cap of a component is checked when it is verified; this only keeps a swapped file from filling memory.
const LARGEST_COMPONENT: u64 = 1 << 30;
/// A signature file is at most this long.
const LARGEST_ENVELOPE: u64 = 256 * 1024;
/// Releases kept of one playbook, the current one included: one to run, one to go back to, two more for when that one was
/// bad as well.
const KEPT: usize = 4;

/// Components and their signature files, by digest.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    content: Folder,
}

impl Store {
    /// Opens the store in its directory, and makes what is missing in it.
    ///
    /// # Errors
    /// When the directory, or the one below it, can be written by others or cannot be opened.
    pub fn open(folder: Folder) -> Result<Self, RegistryError> {
        folder.trusted()?;
        let content = folder.make_sub(CONTENT)?;
        content.trusted()?;
        Ok(Self { folder, content })
    }

    /// Puts a release on the shelf and makes it the current one. Whether it may run is not decided here.
    ///
    /// # Errors
    /// When the bytes do not have the digest, or a file cannot be written; the index then still says what it said.
    pub fn add(
        &self,
        id: &PlaybookId,
        release: u64,
        digest: &Digest,
        component: &[u8],
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let found = Digest::of(component);
        if found != *digest {
            return Err(RegistryError::WrongBytes { expected: *digest, found });
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        self.content.replace(&component_name(digest), component)?;
        self.content.replace(&envelope_name(digest), envelope)?;
        let entry =
            index.playbooks.entry(id.clone()).or_insert_with(|| Entry { current: release, releases: BTreeMap::new() });
        entry.current = release;
        entry.releases.insert(release, Release { digest: *digest, added: now });
        while entry.releases.len() > KEPT {
            let oldest = entry.releases.keys().copied().find(|release| *release != entry.current);
            let Some(oldest) = oldest else { break };
            entry.releases.remove(&oldest);
        }
        self.write(&index)?;
        self.sweep(&index)
    }

    /// Makes an earlier release, that still lies there, the current one.
    ///
    /// # Errors
    /// When the playbook or the release is not there, or the index cannot be written.
    pub fn select(&self, id: &PlaybookId, release: u64) -> Result<(), RegistryError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let unknown = unknown(&index, id);
        let entry = index.playbooks.get_mut(id).ok_or(unknown)?;
        if !entry.releases.contains_key(&release) {
            return Err(no_release(id, release, entry));
        }
        entry.current = release;
        self.write(&index)
    }

    /// Takes a playbook off the shelf, with all its releases.
    ///
    /// # Errors
    /// When it is not there, or a file cannot be written.
    pub fn remove(&self, id: &PlaybookId) -> Result<(), RegistryError> {
        // A refusal leaves everything as it was, the lock's file included.
        let index = self.index()?;
        if !index.playbooks.contains_key(id) {
            return Err(unknown(&index, id));
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        if index.playbooks.remove(id).is_none() {
            return Err(unknown(&index, id));
        }
        self.write(&index)?;
        self.sweep(&index)
    }

    /// What lies there.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(&self) -> Result<BTreeMap<PlaybookId, Entry>, RegistryError> {
        Ok(self.index()?.playbooks)
    }

    /// The current release of a playbook: the component, read once and its digest checked, and its signature file.
    ///
    /// # Errors
    /// When it is not there, can be written by others, or is damaged.
    pub fn load(&self, id: &PlaybookId) -> Result<(Arc<[u8]>, Vec<u8>), RegistryError> {
        let index = self.index()?;
        let entry = index.playbooks.get(id).ok_or_else(|| unknown(&index, id))?;
        self.read(id, entry, entry.current)
    }

    /// The same for a given release.
    ///
    /// # Errors
    /// As [`Store::load`], and when that release does not lie there.
    pub fn load_release(&self, id: &PlaybookId, release: u64) -> Result<(Arc<[u8]>, Vec<u8>), RegistryError> {
        let index = self.index()?;
        let entry = index.playbooks.get(id).ok_or_else(|| unknown(&index, id))?;
        self.read(id, entry, release)
    }

    fn read(&self, id: &PlaybookId, entry: &Entry, release: u64) -> Result<(Arc<[u8]>, Vec<u8>), RegistryError> {
        let expected = entry.releases.get(&release).ok_or_else(|| no_release(id, release, entry))?.digest;
        let name = component_name(&expected);
        self.content.trusted_file(&name)?;
        let component: Arc<[u8]> = self.content.read_bounded(&name, LARGEST_COMPONENT)?.into();
        let found = Digest::of(&component);
        if found != expected {
            return Err(RegistryError::Damaged { path: self.content.path().join(name), expected, found });
        }
        let envelope = envelope_name(&expected);
        self.content.trusted_file(&envelope)?;
        let envelope = self.content.read_bounded(&envelope, LARGEST_ENVELOPE)?;
        Ok((component, envelope))
    }

    fn index(&self) -> Result<Index, RegistryError> {
        match self.folder.trusted_file(INDEX) {
            Err(error) if error.is_not_found() => return Ok(Index::empty()),
            other => other?,
        }
        let bytes = self.folder.read_bounded(INDEX, LARGEST_INDEX)?;
        Index::parse(&bytes).map_err(|problem| RegistryError::Index { path: self.folder.path().join(INDEX), problem })
    }

    fn write(&self, index: &Index) -> Result<(), RegistryError> {
        Ok(self.folder.replace(INDEX, &index.to_json())?)
    }

    /// Removes content that nothing names, and the temporary files of writers that are gone. Only under the lock: outside
    /// of it, content that nothing names yet may be another writer's.
    fn sweep(&self, index: &Index) -> Result<(), RegistryError> {
        let entries = self.content.dir().entries().map_err(|source| system("list the store", source))?;
        for entry in entries {
            let name = entry.map_err(|source| system("list the store", source))?.file_name();
            let name = name.to_string_lossy();
            let named = name
                .split_once('.')
                .and_then(|(hex, _)| Digest::from_hex(hex).ok())
                .is_some_and(|digest| index.holds(&digest));
            if !named {
                self.content.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Waits for other writers; none takes longer than writing one component. Released when dropped, also by a crash.
    fn lock(&self) -> Result<std::fs::File, RegistryError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        let file =
            self.folder.dir().open_with(LOCK, &options).map_err(|source| system("open the store's lock", source))?;
        let file = file.into_std();
        file.lock().map_err(|source| system("lock the store", source))?;
        Ok(file)
    }
}

fn component_name(digest: &Digest) -> String {
    format!("{}.wasm", digest.hex())
}

fn envelope_name(digest: &Digest) -> String {
    format!("{}.wasm.dsse.json", digest.hex())
}

const fn system(act: &'static str, source: std::io::Error) -> RegistryError {
    RegistryError::System { act, source }
}

fn unknown(index: &Index, id: &PlaybookId) -> RegistryError {
    let asked = id.to_string();
    let known: Vec<String> = index.playbooks.keys().map(ToString::to_string).collect();
    let nearest_name = nearest(&asked, known.iter().map(String::as_str)).and_then(|name| name.parse().ok());
    RegistryError::Unknown { playbook: id.clone(), nearest_name }
}

fn no_release(id: &PlaybookId, release: u64, entry: &Entry) -> RegistryError {
    let known: Vec<String> = entry.releases.keys().map(u64::to_string).collect();
    RegistryError::NoRelease { playbook: id.clone(), release, known: known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PlaybookId {
        text.parse().unwrap()
    }

    fn add(store: &Store, playbook: &str, release: u64, bytes: &[u8]) {
        let now = Timestamp::from_millis(release);
        store.add(&id(playbook), release, &Digest::of(bytes), bytes, b"{}", now).unwrap();
    }

    fn open(home: &tempfile::TempDir) -> Store {
        Store::open(Folder::open(home.path()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_added_is_loaded_listed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        add(&store, "acme/x", 1, b"one");
        add(&store, "acme/y", 1, b"one");
        add(&store, "acme/x", 2, b"two");
        assert_eq!(&*store.load(&id("acme/x")).unwrap().0, b"two");
        store.select(&id("acme/x"), 1).unwrap();
        assert_eq!(&*open(&home).load(&id("acme/x")).unwrap().0, b"one");
        assert_eq!(store.list().unwrap()[&id("acme/x")].releases.len(), 2);
        store.remove(&id("acme/x")).unwrap();
        assert_eq!(&*store.load(&id("acme/y")).unwrap().0, b"one", "shared content was removed");
        assert_eq!(store.content.names().unwrap().len(), 2);
        let error = store.load(&id("acme/z")).unwrap_err().to_string();
        assert!(error.contains("did you mean `acme/y`?"), "{error}");
        assert!(store.remove(&id("other/far_away")).unwrap_err().to_string().contains("no playbook"));
        assert!(matches!(store.select(&id("acme/y"), 9), Err(RegistryError::NoRelease { .. })));
    }

    #[test]
    fn old_releases_go_but_never_the_current_one() {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        for release in 1..=9_u8 {
            add(&store, "acme/x", release.into(), &[release]);
        }
        let kept: Vec<u64> = store.list().unwrap()[&id("acme/x")].releases.keys().copied().collect();
        assert_eq!(kept, [6, 7, 8, 9]);
        assert_eq!(store.content.names().unwrap().len(), 8);
    }

    #[test]
    fn leftovers_of_a_crash_are_swept_and_damage_is_found() {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        let orphan = component_name(&Digest::of(b"orphan"));
        store.content.replace(&orphan, b"orphan").unwrap();
        store.content.create(".half.1.new", b"ha").unwrap();
        add(&store, "acme/x", 1, b"one");
        assert_eq!(store.content.dir().entries().unwrap().count(), 2);
        let name = component_name(&Digest::of(b"one"));
        store.content.replace(&name, b"onf").unwrap();
        assert!(matches!(store.load(&id("acme/x")), Err(RegistryError::Damaged { .. })));
        let wrong = store.add(&id("acme/x"), 2, &Digest::of(b"a"), b"b", b"{}", Timestamp::from_millis(0));
        assert!(matches!(wrong, Err(RegistryError::WrongBytes { .. })));
    }

    #[test]
    fn a_strange_index_or_an_open_file_is_refused() {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        add(&store, "acme/x", 1, b"one");
        let good = String::from_utf8(store.folder.read_bounded(INDEX, LARGEST_INDEX).unwrap()).unwrap();
        for (bad, word) in [
            (good.replace("\"format\": 1", "\"format\": 2"), "format 2"),
            (good.replace("\"current\": 1", "\"current\": 2"), "current release 2"),
            (good.replace("\"current\"", "\"x\": 1, \"current\""), "unknown field"),
            (good.replace("acme/x", "acme"), "playbook"),
            (good[..good.len() / 2].to_owned(), "EOF"),
            (String::new(), "EOF"),
        ] {
            store.folder.replace(INDEX, bad.as_bytes()).unwrap();
            let error = store.list().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("add the playbooks again"), "{error} lacks {word}");
        }
        store.folder.replace(INDEX, good.as_bytes()).unwrap();
        let name = component_name(&Digest::of(b"one"));
        store.content.dir().set_permissions(&name, Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(store.load(&id("acme/x")), Err(RegistryError::File(_))));
        store.folder.dir().set_permissions(CONTENT, Permissions::from_mode(0o777)).unwrap();
        assert!(Store::open(Folder::open(home.path()).unwrap()).is_err());
    }

    #[test]
    fn two_writers_lose_nothing() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let home = &home;
                scope.spawn(move || {
                    let store = open(home);
                    for n in 0..5_u8 {
                        add(&store, &format!("w{writer}/p{n}"), 1, &[writer, n]);
                    }
                });
            }
        });
        let store = open(&home);
        assert_eq!(store.list().unwrap().len(), 20);
        for id in store.list().unwrap().keys() {
            store.load(id).unwrap();
        }
    }
}
