//! Files that survive: the few acts on the disk that every room below the gate needs, done once and done right.
//!
//! * [`Folder::replace`] writes a file so that a reader, or a crash at any moment, sees the old content or the new one, never a
//!   mixture: a temporary file beside it, fsync, rename, fsync of the directory.
//! * [`Folder::read_bounded`] reads a file that may be larger than anybody expects, and refuses instead of filling memory.
//! * [`Folder::trusted`] refuses a file or directory that somebody other than its owner can write, as sshd does: what only the
//!   operator may change must not be changeable by others.
//!
//! Everything takes an open [`Dir`] and a plain file name: authority is an argument, and no path leaves the directory.
//! What it does not do: locking, permissions on creation other than owner-only, and anything about content.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};

/// What went wrong with a file, with its path.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The operating system refused.
    #[error("cannot {act} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than it may be.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Somebody else can write it.
    #[error("`{}` {problem}; {remedy}", path.display())]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Who else can write it.
        problem: String,
        /// The command that mends it.
        remedy: String,
    },
}

impl DurableError {
    /// Whether the file or directory is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

fn io(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> DurableError {
    let path = path.into();
    move |source| DurableError::Io { act, path, source }
}

/// A directory held open, with the path it was opened by for messages.
#[derive(Debug)]
pub struct Folder {
    dir: Dir,
    path: PathBuf,
}

impl Folder {
    /// Opens a directory.
    ///
    /// # Ambient Authority
    /// Uses the process's own right to open any path. Called at start-up only, with the operator's paths.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        let dir = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(io("open", path))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Makes a directory and its parents, for its owner only (0700), and opens it.
    ///
    /// # Ambient Authority
    /// As [`Folder::open`].
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn make(path: &Path) -> Result<Self, DurableError> {
        let absolute = std::path::absolute(path).map_err(io("find", path))?;
        let root = Dir::open_ambient_dir("/", cap_std::ambient_authority()).map_err(io("open", "/"))?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let below = absolute.strip_prefix("/").unwrap_or(&absolute);
        root.create_dir_with(below, &builder).map_err(io("make", path))?;
        Self::open(path)
    }

    /// Opens a directory below this one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn sub(&self, name: &str) -> Result<Self, DurableError> {
        let path = self.path.join(name);
        let dir = self.dir.open_dir(name).map_err(io("open", &path))?;
        Ok(Self { dir, path })
    }

    /// Makes a directory below this one for its owner only (0700) if it is not there, and opens it.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn make_sub(&self, name: &str) -> Result<Self, DurableError> {
        let path = self.path.join(name);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        match self.dir.create_dir_with(name, &builder) {
            Ok(()) => sync_dir(&self.dir).map_err(io("sync", &self.path))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io("make", &path)(error)),
        }
        self.sub(name)
    }

    /// The open directory.
    #[must_use]
    pub const fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The path it was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its entries, sorted; hidden ones (leading dot) are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>, DurableError> {
        let entries = self.dir.entries().map_err(io("list", &self.path))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(io("list", &self.path))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The size of its files together, in bytes; folders below it are not looked into.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&self) -> Result<u64, DurableError> {
        let mut size = 0;
        for name in self.names()? {
            let path = self.path.join(&name);
            size += self.dir.symlink_metadata(&name).map_err(io("look at", path))?.len();
        }
        Ok(size)
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read or is larger.
    pub fn read_bounded(&self, name: &str, limit: u64) -> Result<Vec<u8>, DurableError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        // A pipe that lies where a file should would keep its reader waiting for ever.
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        let file = self.dir.open_with(name, &options).map_err(io("open", &path))?;
        if !file.metadata().map_err(io("look at", &path))?.is_file() {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(io("read", &path)(source));
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io("read", &path))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(DurableError::TooLarge { path, limit });
        }
        Ok(bytes)
    }

    /// Replaces a file, or makes it (0600): afterwards it is on the disk whole, or nothing has changed.
    ///
    /// # Errors
    /// When any step fails; the old content then still stands.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), DurableError> {
        self.replace_with_mode(name, bytes, 0o600)
    }

    /// The same with another mode, for files that others may read.
    ///
    /// # Errors
    /// As [`Folder::replace`].
    pub fn replace_with_mode(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
        let path = self.path.join(name);
        let temporary = format!(".{name}.{}.new", std::process::id());
        let written =
            self.write_new(&temporary, bytes, mode).and_then(|()| self.dir.rename(&temporary, &self.dir, name));
        if let Err(error) = written {
            // Nothing depends on the leftover; the error that matters is the first one.
            let _ = self.dir.remove_file(&temporary);
            return Err(io("write", &path)(error));
        }
        sync_dir(&self.dir).map_err(io("sync", &self.path))
    }

    fn write_new(&self, name: &str, bytes: &[u8], mode: u32) -> std::io::Result<()> {
        // A leftover of a crashed process with the same pid would make `create_new` fail for ever.
        let _ = self.dir.remove_file(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut file = self.dir.open_with(name, &options)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Makes a file that must not be there yet (0600), durably.
    ///
    /// # Errors
    /// When it is there already, or a step fails.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<(), DurableError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = self.dir.open_with(name, &options).map_err(io("make", &path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &path))?;
        sync_dir(&self.dir).map_err(io("sync", &self.path))
    }

    /// Makes a file (0600) without waiting for the disk: for what may be lost with the power.
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub fn write_unsynced(&self, name: &str, bytes: &[u8]) -> Result<(), DurableError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = self.dir.open_with(name, &options).map_err(io("make", &path))?;
        file.write_all(bytes).map_err(io("write", &path))
    }

    /// Removes a file, durably. One that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), DurableError> {
        match self.dir.remove_file(name) {
            Ok(()) => sync_dir(&self.dir).map_err(io("sync", &self.path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("remove", self.path.join(name))(error)),
        }
    }

    /// Removes an empty directory below this one, durably. One that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_sub(&self, name: &str) -> Result<(), DurableError> {
        match self.dir.remove_dir(name) {
            Ok(()) => sync_dir(&self.dir).map_err(io("sync", &self.path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("remove", self.path.join(name))(error)),
        }
    }

    /// Refuses the directory itself if somebody other than root and the user of this process can write it.
    ///
    /// # Errors
    /// When somebody can.
    pub fn trusted(&self) -> Result<(), DurableError> {
        let metadata = self.dir.dir_metadata().map_err(io("look at", &self.path))?;
        check_owner(&self.path, &metadata)
    }

    /// Refuses a file in it if somebody other than root and the user of this process can write it, or if it is a link.
    ///
    /// # Errors
    /// When somebody can.
    pub fn trusted_file(&self, name: &str) -> Result<(), DurableError> {
        let path = self.path.join(name);
        let metadata = self.dir.symlink_metadata(name).map_err(io("look at", &path))?;
        check_owner(&path, &metadata)
    }

    /// As [`Folder::trusted_file`], and refuses as well what anybody but its owner can read: for keys.
    ///
    /// # Errors
    /// When somebody else can read or write it.
    pub fn private_file(&self, name: &str) -> Result<(), DurableError> {
        self.trusted_file(name)?;
        let path = self.path.join(name);
        let mode = self.dir.symlink_metadata(name).map_err(io("look at", &path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let problem = format!("can be read by others (mode {mode:04o})");
            let remedy = format!("run `chmod 600 {}`; if it was open for long, make a new key", path.display());
            return Err(DurableError::Untrusted { path, problem, remedy });
        }
        Ok(())
    }
}

/// fsync of a directory: makes the names in it durable.
///
/// # Errors
/// When the file system refuses.
pub fn sync_dir(dir: &Dir) -> std::io::Result<()> {
    // A read-only handle of its own: `Dir` may have been opened with O_PATH, which cannot be synced.
    dir.open(".")?.sync_all()
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), DurableError> {
    let us = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    let untrusted =
        |problem: String, remedy: String| Err(DurableError::Untrusted { path: path.to_owned(), problem, remedy });
    if metadata.is_symlink() {
        return untrusted("is a symbolic link".to_owned(), "put the file itself there".to_owned());
    }
    if owner != 0 && owner != us {
        return untrusted(format!("belongs to user {owner}"), format!("run `chown {us} {}`", path.display()));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return untrusted(
            format!("can be written by others (mode {mode:04o})"),
            format!("run `chmod go-w {}`", path.display()),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_is_whole_and_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        folder.replace("a", b"one").unwrap();
        folder.replace("a", b"two").unwrap();
        assert_eq!(folder.read_bounded("a", 3).unwrap(), b"two");
        assert!(matches!(folder.read_bounded("a", 2), Err(DurableError::TooLarge { .. })));
        assert_eq!(folder.names().unwrap(), ["a"]);
        assert_eq!(folder.dir().metadata("a").unwrap().mode() & 0o777, 0o600);
        assert!(folder.create("a", b"three").is_err());
    }

    #[test]
    fn what_others_can_write_is_refused() {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        folder.replace("a", b"one").unwrap();
        folder.trusted().unwrap();
        folder.trusted_file("a").unwrap();
        for mode in [0o620, 0o602] {
            folder.dir().set_permissions("a", Permissions::from_mode(mode)).unwrap();
            let error = folder.trusted_file("a").unwrap_err().to_string();
            assert!(error.contains("chmod go-w"), "{error}");
        }
        folder.dir().set_permissions("a", Permissions::from_mode(0o640)).unwrap();
        folder.trusted_file("a").unwrap();
        assert!(folder.private_file("a").unwrap_err().to_string().contains("chmod 600"));
        folder.dir().set_permissions("a", Permissions::from_mode(0o600)).unwrap();
        folder.private_file("a").unwrap();
        folder.dir().symlink("a", "b").unwrap();
        assert!(folder.trusted_file("b").is_err());
    }
}
