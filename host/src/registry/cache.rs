//! The cache of compiled code: `<digest>-<engine>.cwasm`.
//!
//! Compiled code is native code: loading a file that somebody else wrote is the same as running their program with this
//! host's rights, outside every sandbox. So each file begins with an HMAC-SHA256 of the host key over the component's
//! digest, the engine's hash and the code. It is read once into a buffer, the MAC is checked over that buffer, and the
//! buffer itself, as a [`MacChecked`], is what the sandbox deserializes: there is no second read to win a race against. A
//! file with a wrong MAC is treated as absent, removed, and reported to the caller, who says it loudly.
//!
//! The engine's hash covers compiler version, target and settings; code of another engine has another name and is swept.

use std::fmt;

use super::{HostKey, RegistryError};
use crate::durable::Folder;
use crate::model::Digest;

/// Ties a MAC to this use and this layout of the file.
const PURPOSE: &str = "guardian compiled code 1";
const MAC: usize = 32;
const SUFFIX: &str = ".cwasm";

/// Compiled code whose MAC was checked: the only thing that may be deserialized.
///
/// It cannot be written down, copied, or conjured up:
/// ```compile_fail,E0451
/// let forged = guardian::registry::MacChecked { file: Vec::new() };
/// ```
/// ```compile_fail,E0277
/// fn needs<T: Clone>() {}
/// needs::<guardian::registry::MacChecked>();
/// ```
/// ```compile_fail,E0277
/// fn needs<T: Default>() {}
/// needs::<guardian::registry::MacChecked>();
/// ```
/// ```compile_fail,E0277
/// fn needs<T: serde::de::DeserializeOwned>() {}
/// needs::<guardian::registry::MacChecked>();
/// ```
#[must_use = "checked code that nobody loads was read for nothing"]
pub struct MacChecked {
    /// The whole file as it was read: the MAC and the code.
    file: Vec<u8>,
}

impl MacChecked {
    /// The code: exactly the bytes that the MAC was checked over.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.file.get(MAC..).unwrap_or_default()
    }
}

impl fmt::Debug for MacChecked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes of checked code", self.code().len())
    }
}

/// What the cache has.
#[derive(Debug)]
#[must_use]
pub enum Cached {
    /// The code.
    Hit(MacChecked),
    /// Nothing.
    Absent,
    /// A file that this host did not write, or that was damaged. It is removed; say so loudly.
    Tampered,
}

/// Compiled code by component and engine.
#[derive(Debug)]
pub struct CompiledCache {
    folder: Folder,
    key: HostKey,
}

impl CompiledCache {
    /// The largest code that is kept, in bytes: machine code comes to 4 to 8 times the largest component.
    pub const LARGEST: u64 = 256 << 20;

    /// Opens the cache in its directory.
    ///
    /// # Errors
    /// When others can write the directory.
    pub fn open(folder: Folder, key: HostKey) -> Result<Self, RegistryError> {
        folder.trusted()?;
        Ok(Self { folder, key })
    }

    /// What the cache has for this component and this engine.
    ///
    /// # Errors
    /// When a file is there and cannot be read, or a bad one cannot be removed.
    pub fn get(&self, component: &Digest, engine: u64) -> Result<Cached, RegistryError> {
        let name = name(component, engine);
        let file = match self.folder.read_bounded(&name, Self::LARGEST) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(Cached::Absent),
            // Too large, a link, no file: whatever it is, this host did not write it, and it can be made again.
            Err(_) => Vec::new(),
        };
        if let Some((mac, code)) = file.split_at_checked(MAC)
            && self.key.verifies(PURPOSE, &parts(component, &engine.to_be_bytes(), code), mac)
        {
            return Ok(Cached::Hit(MacChecked { file }));
        }
        self.folder.remove(&name)?;
        Ok(Cached::Tampered)
    }

    /// Keeps code that this host's own compiler has just made, and gives it back as checked.
    ///
    /// # Errors
    /// When it is too large or cannot be written.
    pub fn put(&self, component: &Digest, engine: u64, code: &[u8]) -> Result<MacChecked, RegistryError> {
        let name = name(component, engine);
        if u64::try_from(code.len()).map_or(true, |length| length > Self::LARGEST - 32) {
            let path = self.folder.path().join(name);
            return Err(crate::durable::DurableError::TooLarge { path, limit: Self::LARGEST }.into());
        }
        let mut file = Vec::with_capacity(code.len().saturating_add(MAC));
        file.extend_from_slice(&self.key.mac(PURPOSE, &parts(component, &engine.to_be_bytes(), code)));
        file.extend_from_slice(code);
        self.folder.replace(&name, &file)?;
        Ok(MacChecked { file })
    }

    /// Removes everything that is not the code of one of these components for this engine, and what writers that are gone
    /// left half-written. Gives how many files went.
    ///
    /// # Errors
    /// When the directory cannot be read or a file not be removed.
    pub fn sweep(&self, keep: &[Digest], engine: u64) -> Result<usize, RegistryError> {
        let keep: Vec<String> = keep.iter().map(|digest| name(digest, engine)).collect();
        let failed = |source| RegistryError::System { act: "list the compiled cache", source };
        let mut removed = 0_usize;
        for entry in self.folder.dir().entries().map_err(failed)? {
            let found = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if (found.ends_with(SUFFIX) && !keep.contains(&found)) || is_abandoned(&found) {
                self.folder.remove(&found)?;
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }
}

/// Whether this is a file that [`Folder::replace`] began (`.<name>.<pid>.new`) in a process that is no more.
fn is_abandoned(found: &str) -> bool {
    let Some((_, pid)) = found.strip_suffix(".new").and_then(|rest| rest.strip_prefix('.')?.rsplit_once('.')) else {
        return false;
    };
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn name(component: &Digest, engine: u64) -> String {
    format!("{}-{engine:016x}{SUFFIX}", component.hex())
}

fn parts<'a>(component: &'a Digest, engine: &'a [u8], code: &'a [u8]) -> [&'a [u8]; 3] {
    [component.as_bytes(), engine, code]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(home: &tempfile::TempDir) -> CompiledCache {
        let home = Folder::open(home.path()).unwrap();
        let key = HostKey::load_or_make(&home.make_sub("keys").unwrap()).unwrap();
        CompiledCache::open(home.make_sub("cache").unwrap(), key).unwrap()
    }

    #[test]
    fn what_this_host_compiled_is_found_again_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let cache = open(&home);
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        assert!(matches!(cache.get(&one, 7).unwrap(), Cached::Absent));
        assert_eq!(cache.put(&one, 7, b"native").unwrap().code(), b"native");
        assert!(matches!(open(&home).get(&one, 7).unwrap(), Cached::Hit(hit) if hit.code() == b"native"));
        for (component, engine) in [(one, 8), (two, 7)] {
            assert!(matches!(cache.get(&component, engine).unwrap(), Cached::Absent));
            // The file of one component or engine under the name of another.
            let bytes = cache.folder.read_bounded(&name(&one, 7), 100).unwrap();
            cache.folder.replace(&name(&component, engine), &bytes).unwrap();
            assert!(matches!(cache.get(&component, engine).unwrap(), Cached::Tampered));
            assert!(matches!(cache.get(&component, engine).unwrap(), Cached::Absent), "a bad file was kept");
        }
        drop(cache.put(&two, 7, b"other").unwrap());
        drop(cache.put(&one, 6, b"old engine").unwrap());
        // Half-written: by a process that is no more (no pid is that high), and by one that is still at it.
        cache.folder.create(&format!(".{}.{}.new", name(&one, 7), i32::MAX), b"ha").unwrap();
        cache.folder.create(&format!(".{}.{}.new", name(&one, 7), std::process::id()), b"ha").unwrap();
        assert_eq!(cache.sweep(&[one], 7).unwrap(), 3);
        assert!(matches!(cache.get(&one, 7).unwrap(), Cached::Hit(_)));
    }

    #[test]
    fn every_changed_byte_and_every_short_file_is_tampering() {
        let home = tempfile::tempdir().unwrap();
        let cache = open(&home);
        let digest = Digest::of(b"one");
        drop(cache.put(&digest, 7, b"native").unwrap());
        let good = cache.folder.read_bounded(&name(&digest, 7), 100).unwrap();
        let flipped = (0..good.len()).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        });
        let cut = (0..good.len()).map(|end| good[..end].to_vec());
        let longer = std::iter::once([good.as_slice(), b"x"].concat());
        for bad in flipped.chain(cut).chain(longer) {
            cache.folder.replace(&name(&digest, 7), &bad).unwrap();
            assert!(matches!(cache.get(&digest, 7).unwrap(), Cached::Tampered));
        }
        cache.folder.replace(&name(&digest, 7), &good).unwrap();
        assert!(matches!(cache.get(&digest, 7).unwrap(), Cached::Hit(_)));
    }

    #[test]
    fn another_hosts_cache_is_worth_nothing() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let digest = Digest::of(b"one");
        let (our_cache, their_cache) = (open(&ours), open(&theirs));
        drop(their_cache.put(&digest, 7, b"native").unwrap());
        let bytes = their_cache.folder.read_bounded(&name(&digest, 7), 100).unwrap();
        our_cache.folder.replace(&name(&digest, 7), &bytes).unwrap();
        assert!(matches!(our_cache.get(&digest, 7).unwrap(), Cached::Tampered));
    }
}
