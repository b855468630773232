//! Guardian runs remediation code that its operators do not fully trust.
//!
//! A playbook is a signed WebAssembly component whose only way to the world is a capability that the host offers by
//! name. Every call passes one gate: policy decides, the audit trail holds the intent durably, the host keeps the undo,
//! and only then does a hand act. The rooms stand on floors; a room imports only from floors below it.

pub mod app;
#[allow(clippy::disallowed_methods, reason = "the trail is its own files, written in batches and never whole")]
pub mod audit;
#[allow(clippy::disallowed_methods, reason = "the hands touch the world; nothing else does")]
pub mod capability;
pub mod cli;
#[allow(clippy::disallowed_methods, reason = "the one place that replaces files")]
pub mod durable;
pub mod gate;
pub mod inventory;
pub mod model;
pub mod orders;
pub mod policy;
#[allow(clippy::disallowed_methods, reason = "it starts the compiling process and locks the store")]
pub mod registry;
pub mod run;
pub mod sandbox;
pub mod trust;
