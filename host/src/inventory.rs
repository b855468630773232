//! The operator's named resources, and the settings beside them: everything that `guardian.toml` says.
//!
//! A playbook can name nothing that does not stand here. The file is read once, strictly: an unknown key, a missing unit
//! or a value out of bounds refuses the start with the line and the nearest known name, because a typo in `healed` must
//! not quietly mean "no check".

mod resource;

pub use resource::{Attempts, Check, CommandLine, Healed, Inventory, Look, Probe, Service, Supervisor};
