//! One test binary, so that it links once: every room's story, told through the public surface and the real parts.

mod audit;
mod cli;
mod contract;
mod coverage;
mod golden;
mod guests;
mod journey;
mod playbook_build;
mod policy;
mod structure;
mod trust;
