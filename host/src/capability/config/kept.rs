//! What lies at a name, and how it is kept: as undo material, and to notice that somebody changed it.
//!
//! A configuration can hold a password. So the bytes have a type of their own that shows nothing but how many they are;
//! they are written out at one place, the undo journal, and never into a message, a log or the trail (INVARIANT 8).
//!
//! A file is kept whole: bytes, owner, mode, time of change, and the attributes that belong to its owner's idea of it
//! (ACL, security label, `user.*`). Not kept: its inode, so a hard link elsewhere keeps the old content.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// Bytes that are nobody's business.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Content(pub(super) Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

impl TryFrom<String> for Content {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Content> for String {
    fn from(content: Content) -> Self {
        STANDARD.encode(content.0)
    }
}

/// Whose it is, and who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stamp {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits, with set-user-id and its like.
    pub(super) mode: u32,
}

/// A moment, as the file system writes it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moment {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// A regular file, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptFile {
    pub(super) content: Content,
    pub(super) stamp: Stamp,
    /// None: when it is written.
    pub(super) changed: Option<Moment>,
    /// Extended attributes, by name.
    pub(super) attributes: BTreeMap<String, Content>,
}

/// A symbolic link. What it leads to is nobody's business either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptLink {
    pub(super) target: Content,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What can be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case")]
pub(super) enum Kept {
    /// There was nothing.
    Absent,
    /// There was a file.
    File(KeptFile),
    /// There was a link.
    Link(KeptLink),
}

impl Kept {
    /// Whether this is as good as `other`: the same to everybody who reads it, whenever it was written.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::File(one), Self::File(other)) => one.content == other.content && one.stamp == other.stamp,
            (Self::Link(one), Self::Link(other)) => one == other,
            _ => false,
        }
    }

    /// The bytes of a file, or what a link leads to.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(file) => &file.content.0,
            Self::Link(link) => &link.target.0,
            Self::Absent => &[],
        }
    }
}

/// What a restore installs, as far as it takes to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Installed {
    pub(super) digest: Digest,
    pub(super) stamp: Stamp,
}

impl Installed {
    /// Whether that is what lies there.
    pub(super) fn is(&self, kept: &Kept) -> bool {
        matches!(kept, Kept::File(file) if file.stamp == self.stamp && Digest::of(&file.content.0) == self.digest)
    }
}

/// What lies at a name.
#[derive(Debug)]
pub(super) enum Seen {
    /// Something that can be put back.
    Plain(Kept),
    /// A regular file that is larger than anything that is kept.
    Large(Stamp),
    /// Anything else, in words.
    Other(&'static str),
}
