//! A mistake on the command line as one line: what is wrong, and the nearest thing that would be right.
//!
//! clap renders a mistake as a page with usage and advice. That is right for a person who asked for help, and wrong for
//! whoever reads a log: so the page is folded into the one line that every other mistake of Guardian takes. What was
//! typed is escaped, as everything is that somebody else wrote.

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};

use super::Arguments;
use crate::model::escape_to;

/// How much of a folded page is shown: the longest that clap makes of our own words fits twice.
const SHOWN: usize = 1_000;

/// What is wrong, in one line.
pub(super) fn one_line(error: &clap::Error) -> String {
    let page = error.render().to_string();
    let mut line = String::new();
    for part in page.lines().map(str::trim).take_while(|part| !part.starts_with("Usage:")) {
        let part = part.strip_prefix("error: ").unwrap_or(part);
        if part.is_empty() || part.starts_with("For more information") {
            continue;
        }
        let joint = match (line.is_empty(), part.strip_prefix("tip: ")) {
            (true, _) => "",
            (false, Some(_)) => "; ",
            (false, None) => " ",
        };
        line.push_str(joint);
        line.push_str(part.strip_prefix("tip: ").unwrap_or(part));
    }
    if let Some(near) = near_command(error) {
        line.push_str(&format!("; did you mean '{near}'?"));
    }
    format!("{}; `--help` shows what there is", escape_to(&line, SHOWN))
}

/// The nearest command to a mistyped one, where clap knows none: to it the letters of `rnu` are too few.
fn near_command(error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(given)), None) =
        (error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::SuggestedSubcommand))
    else {
        return None;
    };
    // The usage names the command that was asked for another below it: `guardian audit [OPTIONS] <COMMAND>`.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let path = usage.split_whitespace().skip_while(|word| *word != "guardian").skip(1);
    let mut command = Arguments::command();
    for word in path {
        let Some(below) = command.find_subcommand(word).cloned() else { break };
        command = below;
    }
    let names = command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    crate::model::nearest(given, names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn a_mistake_is_one_line_with_the_nearest_name() {
        for (given, words) in [
            (&["guardian", "stauts"][..], &["stauts", "'status'"][..]),
            (&["guardian", "rnu"], &["rnu", "'run'"]),
            (&["guardian", "audit", "lsit"], &["lsit", "'list'"]),
            (&["guardian", "status", "--jsno"], &["--jsno", "'--json'"]),
            (&["guardian", "plan"], &["--incident <KIND>", "--target <RESOURCE>"]),
            (&["guardian", "x\u{1b}[2J\ny"], &["\\u{1b}[2J"]),
        ] {
            let line = one_line(&Arguments::try_parse_from(given).unwrap_err());
            assert!(!line.contains(char::is_control), "{line:?}");
            for word in words {
                assert!(line.contains(word), "{line}");
            }
        }
    }
}
