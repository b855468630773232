//! Guardian runs remediation code that its operators do not fully trust.
//!
//! A playbook is a signed WebAssembly component whose only way to the world is a capability that the host offers by
//! name. Every call passes one gate: policy decides, the audit trail holds the intent durably, the host keeps the undo,
//! and only then does a hand act. The rooms stand on floors; a room imports only from floors below it.

pub mod cli;
pub mod durable;
pub mod inventory;
pub mod model;
pub mod sandbox;
