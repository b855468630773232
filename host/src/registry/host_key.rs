//! The host's own secret: 32 random bytes that never leave the machine.
//!
//! It makes the MACs of the compiled cache and keyed digests of values that must be comparable but not guessable. Each use
//! has a purpose word that is part of what is hashed, so that a MAC made for one thing is worth nothing for another. It
//! signs nothing: whoever has it can already write the cache. Lost, it costs a rebuild of the cache.

use hmac::digest::Key;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::RegistryError;
use crate::durable::Folder;

const FILE: &str = "host.key";
const LENGTH: usize = 32;
/// More than a key, so that the message about another file can say how long it is.
const LARGEST_FILE: u64 = 64 * 1024;

/// The host's own secret. Wiped from memory when dropped; never shown, never copied.
pub struct HostKey(Zeroizing<[u8; LENGTH]>);

impl HostKey {
    /// Reads `host.key` in the key directory.
    ///
    /// # Errors
    /// When it is missing, can be read or written by others, or does not have 32 bytes.
    pub fn load(keys: &Folder) -> Result<Self, RegistryError> {
        keys.trusted()?;
        keys.private_file(FILE)?;
        let bytes = Zeroizing::new(keys.read_bounded(FILE, LARGEST_FILE)?);
        let size = bytes.len();
        let mut key = Zeroizing::new([0; LENGTH]);
        if size != LENGTH {
            return Err(RegistryError::HostKey { path: keys.path().join(FILE), size });
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// Reads it, or makes it (0600) if it is not there. Two processes that do so at once end with the same key.
    ///
    /// # Errors
    /// As [`HostKey::load`], and when it cannot be made.
    pub fn load_or_make(keys: &Folder) -> Result<Self, RegistryError> {
        match Self::load(keys) {
            Err(RegistryError::File(error)) if error.is_not_found() => {}
            other => return other,
        }
        let mut key = Zeroizing::new([0; LENGTH]);
        getrandom::fill(key.as_mut_slice()).map_err(RegistryError::Random)?;
        // Written aside and linked, so that no reader ever sees half a key and the first of two makers wins.
        let aside = format!("{FILE}.{}", std::process::id());
        keys.remove(&aside)?;
        keys.create(&aside, key.as_slice())?;
        let linked = keys.dir().hard_link(&aside, keys.dir(), FILE);
        keys.remove(&aside)?;
        match linked {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(RegistryError::System { act: "make the host key", source })
            }
            _ => Self::load(keys),
        }
    }

    /// HMAC-SHA256 over the purpose and the parts, each with its length in front.
    #[must_use]
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.state(purpose, parts).finalize().into_bytes().into()
    }

    /// Whether `mac` is that, compared in constant time.
    #[must_use]
    pub fn verifies(&self, purpose: &str, parts: &[&[u8]], mac: &[u8]) -> bool {
        self.state(purpose, parts).verify_slice(mac).is_ok()
    }

    fn state(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut state = keyed(self.0.as_slice());
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            state.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            state.update(part);
        }
        state
    }
}

/// HMAC with a key of at most one block (64 bytes), padded with zeros as RFC 2104 has it.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Key::<Hmac<Sha256>>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let state = <Hmac<Sha256> as Mac>::new(&block);
    block.as_mut_slice().zeroize();
    state
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the host key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_private_and_the_same_ever_after() {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        let home = tempfile::tempdir().unwrap();
        let keys = Folder::open(home.path()).unwrap();
        assert!(HostKey::load(&keys).is_err());
        let mac = HostKey::load_or_make(&keys).unwrap().mac("test", &[b"a"]);
        let again = HostKey::load_or_make(&keys).unwrap();
        assert_eq!(again.mac("test", &[b"a"]), mac);
        assert!(again.verifies("test", &[b"a"], &mac));
        assert!(!again.verifies("other", &[b"a"], &mac));
        assert!(!again.verifies("test", &[b"", b"a"], &mac));
        assert_ne!(again.mac("test", &[b"ab", b"c"]), again.mac("test", &[b"a", b"bc"]));
        assert_eq!(keys.names().unwrap(), ["host.key"]);
        keys.dir().set_permissions(FILE, Permissions::from_mode(0o640)).unwrap();
        assert!(HostKey::load_or_make(&keys).unwrap_err().to_string().contains("chmod 600"));
        keys.replace(FILE, b"short").unwrap();
        assert!(HostKey::load_or_make(&keys).unwrap_err().to_string().contains("5 bytes"));
    }

    #[test]
    fn rfc_4231_second_vector() {
        // The construction itself, without our framing: key "Jefe".
        let mut state = keyed(b"Jefe");
        state.update(b"what do ya want for nothing?");
        let expected = [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e];
        assert_eq!(state.finalize().into_bytes()[..8], expected);
    }
}
