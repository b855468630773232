//! All tests that go through the public surface, in one binary: it links once.

mod contract;
mod guests;
mod playbook_build;
