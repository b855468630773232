//! Whether a path leads to what the operator put there, and to nothing that somebody else can exchange.
//!
//! A program that Guardian runs as root, or a baseline that it installs, is only as good as every folder above it: who can
//! write one of them can put another file in its place. So the path is walked from `/`, link by link, and everything on the
//! way must belong to root or to Guardian's own user and be writable by nobody else, as sshd wants it of its keys. A folder
//! with the sticky bit (`/tmp`) is passed: in it nobody can exchange what belongs to another, and what lies in it is looked
//! at as well.
//!
//! What a command is handed by its name ([`named`]) may also be a folder, a socket, or not be there yet. A path that others
//! can make lead elsewhere between this look and the use is refused even if it leads to nothing bad now.
//!
//! What it does not do: open anything. Since nobody untrusted can change what was walked, nobody can between the look and
//! the use.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::error::HandError;
use super::folder::shown;

/// As many links as the kernel follows.
const LINKS: u32 = 40;

/// Walks to a regular file that only root, this process's user and `also` can have put there, and says where it really is.
///
/// # Errors
/// When it is not there, is no regular file, or somebody else can exchange it; with the command that mends it.
pub(super) fn file(path: &Path, also: Option<u32>) -> Result<(PathBuf, Metadata), HandError> {
    match walk(path, also, Last::Judged)? {
        Some((real, metadata)) if metadata.is_file() => Ok((real, metadata)),
        _ => Err(HandError::Unavailable {
            what: format!("`{}` is no regular file", shown(path)),
            remedy: "name the file itself".to_owned(),
        }),
    }
}

/// Sees that only root, this process's user and `also` can decide what a path leads to. A file that is there is judged like
/// that of [`file`]; of a folder, a device or a socket only the name is, because what lies in it is no single thing; and
/// where nothing is, nobody else may be able to put something.
///
/// # Errors
/// When somebody else can; with the command that mends it.
pub(super) fn named(path: &Path, also: Option<u32>) -> Result<(), HandError> {
    walk(path, also, Last::Named).map(drop)
}

/// What is asked of the last name of a path, if no file has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The same as of every other.
    Judged,
    /// Only that nobody else can exchange it.
    Named,
}

/// Follows a path; none if it ends where nothing is.
fn walk(path: &Path, also: Option<u32>, last: Last) -> Result<Option<(PathBuf, Metadata)>, HandError> {
    let mut rest = parts(path);
    let mut here = PathBuf::from("/");
    let mut metadata = look(&here, path)?;
    judge(&here, &metadata, also)?;
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            here.pop();
            metadata = look(&here, path)?;
            continue;
        }
        let next = here.join(&part);
        // Whoever may make names here decides about those that nothing has, and about those that are theirs.
        let anybody = metadata.is_dir() && metadata.mode() & 0o022 != 0;
        if last == Last::Named && is_missing(&next) {
            return if anybody { Err(taken_by_anybody(&next)) } else { Ok(None) };
        }
        let found = look(&next, path)?;
        let only_named = last == Last::Named && rest.is_empty() && !found.is_file() && !found.is_symlink();
        match (only_named, anybody) {
            (false, _) => judge(&next, &found, also)?,
            (true, true) => judge_owner(&next, &found, also)?,
            (true, false) => {}
        }
        if !found.is_symlink() {
            (here, metadata) = (next, found);
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(HandError::Unavailable {
                what: format!("`{}` is a link that leads to itself", shown(path)),
                remedy: "name the file itself".to_owned(),
            });
        }
        let target = std::fs::read_link(&next).map_err(HandError::io("read a link"))?;
        if target.is_absolute() {
            here = PathBuf::from("/");
            metadata = look(&here, path)?;
        }
        rest.extend(parts(&target));
    }
    Ok(Some((here, metadata)))
}

fn is_missing(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    std::fs::symlink_metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

fn taken_by_anybody(path: &Path) -> HandError {
    HandError::Unavailable {
        what: format!("nothing is at `{}`, and anybody can put something there", shown(path)),
        remedy: "name a place in a folder that is yours, such as one in `/run`".to_owned(),
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts: Vec<OsString> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect();
    parts.reverse();
    parts
}

fn look(here: &Path, path: &Path) -> Result<Metadata, HandError> {
    std::fs::symlink_metadata(here).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => HandError::Unavailable {
            what: format!("`{}` is not there", shown(path)),
            remedy: format!("`{}` is missing: put it there, or correct guardian.toml", shown(here)),
        },
        _ => HandError::Unavailable {
            what: format!("cannot look at `{}`: {error}", shown(here)),
            remedy: "let the user of Guardian read it".to_owned(),
        },
    })
}

fn judge(here: &Path, metadata: &Metadata, also: Option<u32>) -> Result<(), HandError> {
    judge_owner(here, metadata, also)?;
    let mode = metadata.mode();
    let sticky_folder = metadata.is_dir() && mode & 0o1000 != 0;
    // A link's own mode means nothing.
    if !metadata.is_symlink() && mode & 0o022 != 0 && !sticky_folder {
        return Err(HandError::Unavailable {
            what: format!("`{}` can be written by others (mode {:04o})", shown(here), mode & 0o7777),
            remedy: format!("run `chmod go-w {}`", shown(here)),
        });
    }
    Ok(())
}

fn judge_owner(here: &Path, metadata: &Metadata, also: Option<u32>) -> Result<(), HandError> {
    let us = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != us && Some(owner) != also {
        return Err(HandError::Unavailable {
            what: format!("`{}` belongs to user {owner}, who can exchange it", shown(here)),
            remedy: format!("run `chown {us} {}`", shown(here)),
        });
    }
    Ok(())
}

/// A word for a shell, as a person would type it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::capability::left_out::left_out;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_folder_on_the_way_is_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (home.path().join("a"), home.path().join("a/b"));
        std::fs::create_dir_all(&b).unwrap();
        let program = b.join("program");
        std::fs::write(&program, "#!").unwrap();
        mode(&program, 0o755);
        symlink(&program, home.path().join("link")).unwrap();
        let all = [program.clone(), home.path().join("link"), b.join("../b/program")];
        for path in &all {
            assert_eq!(file(path, None).unwrap().0, program);
        }
        for (place, wrong) in [(&a, 0o775), (&b, 0o757), (&program, 0o722)] {
            let before = std::fs::metadata(place).unwrap().permissions();
            mode(place, wrong);
            for path in &all {
                let error = file(path, None).unwrap_err().to_string();
                assert!(error.contains("chmod go-w") && error.contains(&*place.to_string_lossy()), "{error}");
            }
            std::fs::set_permissions(place, before).unwrap();
        }
        assert!(file(&b, None).unwrap_err().to_string().contains("no regular file"));
        assert!(file(&b.join("none"), None).unwrap_err().to_string().contains("is not there"));
        symlink("loop", home.path().join("loop")).unwrap();
        assert!(file(&home.path().join("loop"), None).unwrap_err().to_string().contains("leads to itself"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_unless_it_may() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("program");
        std::fs::write(&program, "#!").unwrap();
        if std::os::unix::fs::chown(&program, Some(4_242), None).is_err() {
            return left_out("giving a file to another user (CAP_CHOWN)");
        }
        assert!(file(&program, None).unwrap_err().to_string().contains("chown"));
        assert!(file(&program, Some(4_242)).is_ok());
    }

    #[test]
    fn words_reach_a_shell_whole() {
        assert_eq!(quoted("/usr/bin/env"), "/usr/bin/env");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
