//! The stamp: which policy set this host found valid last.
//!
//! Strict validation of a policy set takes longer than running a playbook, and it says the same about the same bytes for
//! ever. So its verdict is kept: one digest, made by the policy room over everything that the verdict depends on, with a
//! MAC of the [`HostKey`]. What does not verify counts as absent, and the set is validated again; a wrong stamp can cost
//! two milliseconds, and never lets a policy in that was not validated by this host.

use super::{HostKey, RegistryError};
use crate::durable::Folder;
use crate::model::Digest;

/// Ties a MAC to this use and this layout of the file.
const PURPOSE: &str = "guardian valid policy 1";
const FILE: &str = "policy.valid";
const DIGEST: usize = 32;
const LENGTH: u64 = 64;

/// The folder of the compiled cache, for the one file there that is no code.
#[derive(Debug)]
pub struct ValidStamp {
    folder: Folder,
    key: HostKey,
}

impl ValidStamp {
    /// In the cache directory.
    ///
    /// # Errors
    /// When others can write the directory.
    pub fn open(folder: Folder, key: HostKey) -> Result<Self, RegistryError> {
        folder.trusted()?;
        Ok(Self { folder, key })
    }

    /// What was found valid last; none if nothing was, or the file is not this host's.
    #[must_use]
    pub fn get(&self) -> Option<Digest> {
        let file = self.folder.read_bounded(FILE, LENGTH).ok()?;
        let (digest, mac) = file.split_at_checked(DIGEST)?;
        let digest: [u8; DIGEST] = digest.try_into().ok()?;
        self.key.verifies(PURPOSE, &[&digest], mac).then(|| Digest::from_bytes(digest))
    }

    /// Keeps it, in the place of what was found valid before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, valid: &Digest) -> Result<(), RegistryError> {
        let mac = self.key.mac(PURPOSE, &[valid.as_bytes()]);
        Ok(self.folder.replace(FILE, &[valid.as_bytes().as_slice(), &mac].concat())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(home: &tempfile::TempDir) -> ValidStamp {
        let home = Folder::open(home.path()).unwrap();
        let key = HostKey::load_or_make(&home.make_sub("keys").unwrap()).unwrap();
        ValidStamp::open(home.make_sub("cache").unwrap(), key).unwrap()
    }

    #[test]
    fn only_what_this_host_wrote_counts() {
        let home = tempfile::tempdir().unwrap();
        let stamp = open(&home);
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        assert_eq!(stamp.get(), None);
        stamp.put(&one).unwrap();
        assert_eq!(open(&home).get(), Some(one));
        stamp.put(&two).unwrap();
        assert_eq!(stamp.get(), Some(two));
        let good = stamp.folder.read_bounded(FILE, LENGTH).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            stamp.folder.replace(FILE, &bad).unwrap();
            assert_eq!(stamp.get(), None, "byte {at}");
            stamp.folder.replace(FILE, &good[..at]).unwrap();
            assert_eq!(stamp.get(), None, "{at} bytes");
        }
        stamp.folder.replace(FILE, &[good.as_slice(), b"x"].concat()).unwrap();
        assert_eq!(stamp.get(), None);
        // Of another host.
        let other = tempfile::tempdir().unwrap();
        let theirs = open(&other);
        theirs.folder.replace(FILE, &good).unwrap();
        assert_eq!(theirs.get(), None);
    }
}
