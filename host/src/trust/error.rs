//! Why a key, a trust file or a playbook is refused: each in one line, with what to do about it.

use crate::durable::DurableError;
use crate::model::{Digest, InvalidManifest, LimitHit, Name, PlaybookId, Timestamp};

/// Why a key, a trust file or a playbook is refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A person's signed word cannot be taken.
    #[error("the signed word cannot be taken: {0}")]
    Word(String),
    /// A file could not be read or written, or others can write it.
    #[error(transparent)]
    File(#[from] DurableError),
    /// The machine gives no random bytes.
    #[error("cannot make a key: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// A text is not a public key.
    #[error("not a public key: {problem}; a public key is one line, `guardian-ed25519:` and 44 base64 characters")]
    PublicKey {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file is not a private key.
    #[error("`{file}` is not a private key: {problem}; make one with `guardian key new`")]
    PrivateKey {
        /// Which file.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The trust file cannot be used.
    #[error("`{file}` cannot be used: {problem}")]
    Store {
        /// Which file.
        file: String,
        /// What is wrong with it and how to mend it.
        problem: String,
    },
    /// A change to the trust file makes no sense.
    #[error("{0}")]
    Change(String),
    /// The trust file was changed by somebody else in between.
    #[error("`{file}` was changed meanwhile (version {found}, expected {expected}); look at it and try again")]
    Changed {
        /// Which file.
        file: String,
        /// The version on the disk.
        found: u64,
        /// The version that was read before.
        expected: u64,
    },
    /// The component is too large.
    #[error("the component has {size} bytes; {hit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        hit: LimitHit,
    },
    /// The component cannot be read as one.
    #[error("not a webassembly component: {0}; build it with `guardian playbook build`")]
    Component(String),
    /// The component has no manifest, or more than one.
    #[error("the component {0}; build it with `guardian playbook build`")]
    Section(&'static str),
    /// The manifest in the component cannot be used.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// The envelope is not exactly what a DSSE envelope is.
    #[error("the signature file is malformed: {0}; get it again from the publisher")]
    Envelope(String),
    /// There is no signature file beside it.
    #[error(
        "`{file}` is not signed: there is no `{file}.dsse.json`; sign it with `guardian playbook sign {file} --key KEY`"
    )]
    Unsigned {
        /// The component's file.
        file: String,
    },
    /// Nobody is trusted yet.
    #[error("no publisher is trusted yet; to trust one, run `guardian trust add KEY --publisher NAME`")]
    NobodyTrusted,
    /// No signature is by a trusted key over these bytes.
    #[error(
        "none of its signatures ({count}) is valid and by a trusted key; if you trust the publisher, run `guardian trust add KEY --publisher NAME`, else get the signature file again"
    )]
    NoTrustedSignature {
        /// How many signatures the envelope has.
        count: usize,
    },
    /// Fewer keys signed than the operator wants.
    #[error(
        "{have} of the {need} keys that `{publisher}` needs have signed it; ask another holder to run `guardian playbook sign`"
    )]
    Threshold {
        /// Whose keys.
        publisher: Name,
        /// How many distinct keys signed.
        have: usize,
        /// How many must.
        need: u32,
    },
    /// The signed payload is not what it must be.
    #[error(
        "the signed statement cannot be used: {0}; the publisher must sign the release again with `guardian playbook sign`"
    )]
    Statement(String),
    /// The statement is about other bytes.
    #[error(
        "the signed statement is about {signed}, these bytes are {found}; they were changed after signing, or the two files do not belong together; if you built it anew, remove the old signature and sign again"
    )]
    OtherBytes {
        /// The digest that was signed.
        signed: Digest,
        /// The digest of the bytes in memory.
        found: Digest,
    },
    /// The manifest in the component is not the one in the statement.
    #[error(
        "the manifest in the component is not the one that was signed; the publisher must build and sign the release again"
    )]
    OtherManifest,
    /// A publisher signed a name that is not theirs.
    #[error("`{playbook}` is signed by `{signer}`, whose keys do not speak for `{}`; if they shall, run `guardian trust add KEY --publisher {}`", playbook.publisher, playbook.publisher)]
    ForeignName {
        /// The playbook it says it is.
        playbook: PlaybookId,
        /// Whose keys signed it.
        signer: Name,
    },
    /// The digest is revoked.
    #[error("{0} is revoked in `publishers.toml`; use a newer release")]
    Revoked(Digest),
    /// The release is below the operator's floor.
    #[error(
        "release {release} of `{playbook}` is below the floor of {floor} in `publishers.toml`; use a newer release"
    )]
    BelowFloor {
        /// Which playbook.
        playbook: PlaybookId,
        /// Its release.
        release: u64,
        /// The oldest that may run.
        floor: u64,
    },
    /// A newer release was accepted before.
    #[error(
        "release {release} of `{playbook}` is older than {high_water}, which was accepted before; to go back to an accepted release, run `guardian playbook rollback {playbook} --to {release}`"
    )]
    Older {
        /// Which playbook.
        playbook: PlaybookId,
        /// Its release.
        release: u64,
        /// The newest release that was accepted.
        high_water: u64,
    },
    /// The same release was accepted with other content.
    #[error(
        "release {release} of `{playbook}` was accepted as {accepted}, this is {found}; one of the two is not the publisher's: ask them, or wait for a newer release"
    )]
    OtherContent {
        /// Which playbook.
        playbook: PlaybookId,
        /// Its release.
        release: u64,
        /// The digest that was accepted.
        accepted: Digest,
        /// The digest of these bytes.
        found: Digest,
    },
    /// The clock stands before a time that was already seen.
    #[error(
        "the clock says {now}, but the trail has seen {last_seen}: only playbooks accepted before may run; set the clock, or run `guardian trust reset-clock --reason WHY` if the trail's time was wrong"
    )]
    ClockBehind {
        /// What the clock says.
        now: Timestamp,
        /// The latest time on the trail.
        last_seen: Timestamp,
    },
    /// The statement is not valid yet.
    #[error("the signature is valid from {not_before}, and it is {now}; wait, or check the clock")]
    NotYetValid {
        /// When it begins.
        not_before: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// The statement is not valid any more.
    #[error("the signature expired at {not_after}, and it is {now}; ask the publisher to sign the release again")]
    Expired {
        /// When it ended.
        not_after: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// The validity to sign with is empty.
    #[error("a signature cannot end ({not_after}) before it begins ({not_before})")]
    EmptyValidity {
        /// When it would begin.
        not_before: Timestamp,
        /// When it would end.
        not_after: Timestamp,
    },
    /// This key has signed this release already.
    #[error("this key has signed the release already; a threshold counts different keys")]
    AlreadySigned,
}
