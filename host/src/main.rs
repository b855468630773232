//! The `guardian` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    guardian::app::main()
}
