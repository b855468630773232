//! The one test binary: the whole of Guardian, from outside.

mod trust;
