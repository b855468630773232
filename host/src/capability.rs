//! The hands: the only code that touches the world for a playbook.
mod deadline;
mod error;
mod keeper;
mod service;

pub use deadline::Deadline;
pub use error::HandError;
pub use keeper::keeper_main;
pub use service::{PreparedService, SYSTEM_BUS, ServiceHand, ServiceTools, StopReason, UndoMaterial};
