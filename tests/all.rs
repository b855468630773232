//! One test binary, so that it links once: every room's story, told through the public surface and the real parts.

mod guests;
mod policy;
mod structure;
mod trust;
