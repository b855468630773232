//! The vocabulary: what every other room talks about, and nothing that touches the world.
//!
//! One word has one meaning here, in the WIT files, in the documentation and on the screen. The types are plain data:
//! they can be copied, compared and sent over a pipe. None of them is a proof of anything; the proofs (a verified
//! playbook, a permit, an intent) are made by the rooms that earn them and cannot be built from what is here.
//!
//! Everything that a guest, a manifest or a service may have written is checked for shape when it enters one of these
//! types ([`ResourceName`], [`PlaybookId`]) and escaped when it leaves through a door ([`escape`]).

mod action;
mod actor;
mod clock;
mod digest;
mod error;
mod escape;
mod glass;
mod incident;
mod limits;
mod manifest;
mod name;
mod nearest;
mod order;
mod reply;
mod run;
mod verb;

pub use action::Action;
pub use actor::Actor;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use digest::{Digest, InvalidDigest};
pub use error::{Denial, DenialCode, ErrorCode, GuestError};
pub use escape::{escape, escape_json, escape_to};
pub use glass::Glass;
pub use incident::{Incident, IncidentSource};
pub use limits::{LimitHit, LimitName, Limits};
pub use manifest::{InvalidManifest, Manifest, Parameter, ParameterType};
pub use name::{InvalidName, Name, PlaybookId, ResourceKind, ResourceName, RunId};
pub use nearest::nearest;
pub use order::{Given, Order};
pub use reply::{
    CommandResult, ConfigState, ConfigStatus, ExitStatus, Outcome, Reading, Reclaimed, Reply, Report, ServiceState,
    ServiceStatus, StorageUsage, UndoReference, Verdict,
};
pub use run::{RunEvent, RunState};
pub use verb::{ActionGroup, ConfigVerb, EffectClass, Interface, LogLevel, ServiceVerb, StorageVerb, Verb};
