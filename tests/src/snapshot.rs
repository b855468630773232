//! What a folder holds: every path with its mode and a digest of its bytes, to show that a refusal left it alone.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Every file and folder below a root.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, (u32, u64)>);

impl Snapshot {
    /// Reads everything below `root`; what starts with one of `but` (relative) is left out.
    ///
    /// # Panics
    /// When something cannot be read.
    #[must_use]
    pub fn of(root: &Path, but: &[&str]) -> Self {
        let mut found = BTreeMap::new();
        walk(root, Path::new(""), but, &mut found);
        Self(found)
    }

    /// Fails with the paths that differ.
    ///
    /// # Panics
    /// When there are some.
    pub fn unchanged(&self, now: &Self, by: &str) {
        let differs = |path: &&PathBuf| self.0.get(*path) != now.0.get(*path);
        let changed: Vec<&PathBuf> = self.0.keys().chain(now.0.keys()).filter(differs).collect();
        assert!(changed.is_empty(), "{by} changed {changed:?}");
    }
}

fn walk(root: &Path, below: &Path, but: &[&str], found: &mut BTreeMap<PathBuf, (u32, u64)>) {
    for entry in std::fs::read_dir(root.join(below)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = below.join(entry.file_name());
        if but.iter().any(|left_out| path.starts_with(left_out)) {
            continue;
        }
        let about = entry.metadata().expect("its metadata");
        let mut hasher = DefaultHasher::new();
        if about.is_file() {
            std::fs::read(entry.path()).expect("its bytes").hash(&mut hasher);
        }
        found.insert(path.clone(), (about.permissions().mode(), hasher.finish()));
        if about.is_dir() {
            walk(root, &path, but, found);
        }
    }
}
