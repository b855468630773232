//! One test binary, so that it links once: every room's story, told through the public surface and the real parts.
#![allow(clippy::disallowed_methods, reason = "tests act from outside, as a person or an attacker does")]

mod audit;
mod besides;
mod cli;
mod contract;
mod coverage;
mod golden;
mod guests;
mod journey;
mod people;
mod playbook_build;
mod policy;
mod structure;
mod trust;
