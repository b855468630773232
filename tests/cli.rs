//! The command line from outside: every mistake gives one clear line, its own exit code, and changes nothing.

mod arguments;
mod artifacts;
mod files;
pub(crate) mod shapes;
