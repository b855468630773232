//! The test binary: one module per room, all against the public interface of the crate.

mod policy;
