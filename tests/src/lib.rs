//! Shared scaffolding of the test binary.
