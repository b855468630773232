//! One test binary: every room's story, told against the real parts.

mod structure;
