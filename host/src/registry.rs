//! What lies on this host: components with their signatures, their compiled code, and the host's own key.
//!
//! * [`Store`]: content-addressed components and signature files, and the index that says which release of a playbook is
//!   the current one. The store is a shelf, not a proof: whoever loads from it verifies again, from the loaded buffer.
//! * [`CompiledCache`]: native code, the one thing here that would run without any sandbox if somebody else had made it.
//!   Each file carries a MAC of the [`HostKey`]; it is read once, checked, and only the checked buffer ([`MacChecked`]) can
//!   be deserialized.
//! * [`ValidStamp`]: which policy set was found valid last, so that the same one is not validated again by every process.
//! * [`Compiler`]: compiles in a process of its own that can be killed, because a compiler fed by strangers is an attack
//!   surface (time, memory, crashes) even where the code is never run.
//!
//! What it does not do: it does not know who is trusted, it fetches nothing, and it never runs what it keeps. Directories
//! and files that others can write are refused.

mod cache;
mod compile;
mod confine;
mod host_key;
mod index;
mod stamp;
mod store;

use std::path::PathBuf;

pub use cache::{Cached, CompiledCache, MacChecked};
pub use compile::{Compiled, Compiler};
pub use confine::confine;
pub use host_key::HostKey;
pub use index::{Entry, Release};
pub use stamp::ValidStamp;
pub use store::Store;

use crate::durable::DurableError;
use crate::model::{Digest, PlaybookId};

/// Why the registry cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file could not be read or written, or others can write it.
    #[error(transparent)]
    File(#[from] DurableError),
    /// The operating system refused an act that is not about one file.
    #[error("cannot {act}: {source}")]
    System {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The index of the store cannot be used.
    #[error("`{}` cannot be used: {problem}; move it away and add the playbooks again", path.display())]
    Index {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such playbook.
    #[error("no playbook `{playbook}` is in the store{}; see `guardian playbook list`", nearest(nearest_name))]
    Unknown {
        /// What was asked for.
        playbook: PlaybookId,
        /// What was probably meant.
        nearest_name: Option<PlaybookId>,
    },
    /// There is no such release any more.
    #[error("release {release} of `{playbook}` is not in the store; it has {known}")]
    NoRelease {
        /// Of what.
        playbook: PlaybookId,
        /// What was asked for.
        release: u64,
        /// The releases it has.
        known: String,
    },
    /// The bytes on the disk are not what their name says.
    #[error("`{}` is damaged: its content is {found}, not {expected}; take it out with `guardian playbook remove` and add it again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it must be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The bytes to add are not what the caller says.
    #[error("the bytes to add are {found}, not {expected}")]
    WrongBytes {
        /// What was said.
        expected: Digest,
        /// What they are.
        found: Digest,
    },
    /// The host key is not a host key.
    #[error("`{}` is not a host key: it has {size} bytes, not 32; remove it to have a new one made (the compiled cache is then built anew)", path.display())]
    HostKey {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        size: usize,
    },
    /// The machine gives no random bytes.
    #[error("cannot make the host key: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

fn nearest(name: &Option<PlaybookId>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
