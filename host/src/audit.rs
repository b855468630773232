//! The audit trail: what was intended is on the disk before it is done.
//!
//! Every effect passes [`Trail::begin`]; it returns an [`Intent`] only after the record is durable, and a hand acts on
//! nothing less (INVARIANT 1). The outcome follows with the next batch. Refusals, reads, checks and the ends of runs stand
//! on the same trail, and what the rest of the house remembers (high-water marks, quotas, runs) is a projection of it.
//!
//! It guards against: acting without a record (a crash at any moment, a full disk, a deleted or replaced file); quiet
//! changes of what was recorded (checksums, a Merkle tree, signed checkpoints); a trail put back to an earlier state;
//! two writers; a guest that fills the disk by asking. It does not guard the un-witnessed tail against root on the same
//! machine: whoever holds the log's key can rewrite what no outsider has a checkpoint of. `docs/audit-format.md` says
//! exactly what is promised, byte by byte.
//!
//! [`segment`] keeps batches, [`commit`] shares one fdatasync among many callers, [`tree`] and [`checkpoint`] make them
//! checkable, [`opening`] tells a crash from damage, [`projection`] and [`snapshot`] say what holds now.

mod checkpoint;
mod commit;
mod effects;
mod error;
mod frame;
mod inheritance;
mod intent;
mod lock;
mod opening;
mod options;
mod projection;
mod publish;
mod reader;
mod record;
mod refusals;
mod scan;
mod segment;
mod shared;
mod snapshot;
mod storage;
mod succession;
mod trail;
mod tree;
mod upkeep;
mod verify;
mod watch;

pub use checkpoint::{Checkpoint, PublicKey};
pub use effects::{Effect, Fate, Later, Since};
pub use error::AuditError;
pub use intent::{Intent, IntentDraft, ReadTicket};
pub use lock::Lock as TrailLock;
pub use options::AuditOptions;
pub use projection::{
    HighWater, OpenIntent, REMEMBERED_RUNS, RunSummary, State, UNDOABLE_EFFECTS, UNDOABLE_RUNS, Used, Waiting,
};
pub use reader::{Filter, Reader, Shown};
pub use record::{
    Body, Found, LARGEST_RECORD, RECORD_VERSION, Record, RefusingRoom, StoreChange, SuccessorKind, TrustChange,
};
pub use storage::MemoryLog;
pub use succession::Succession;
pub use trail::{Trail, TrailStatus};
pub use verify::Verified;

#[cfg(test)]
mod tests;
