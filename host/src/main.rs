//! The program. For now only the hidden subcommand that a keeper is started with.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(word), Some(folder)) if word == "keeper" => guardian::capability::keeper_main(folder.as_ref()),
        _ => ExitCode::from(2),
    }
}
