//! What a terminal shows: colour only where a person looks, and nothing raw.
//!
//! Everything that was written by a guest, a manifest, a service or a file name goes through [`crate::model::escape`]
//! before it comes here; this module adds the only control sequences that reach the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// A terminal, a pipe, or a JSON consumer.
#[derive(Debug)]
pub(super) struct Screen {
    colour: bool,
    json: bool,
    silent: bool,
    flag: String,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// It is as it should be.
    Good,
    /// It needs a look.
    Warn,
    /// It was refused, or did not work.
    Bad,
    /// It is beside the point.
    Faint,
    /// It heads a section.
    Head,
}

/// Why something could not be shown.
static LOST: OnceLock<String> = OnceLock::new();

/// Why not everything was shown, if so: an answer that is cut off must not look like a whole one.
pub(super) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// The text with `flag` (` --home DIR`, or nothing) in every command it proposes: a proposal that is copied must mean this
/// home. Left alone are commands that name a home already, and those that need none.
pub(super) fn for_home(text: &str, flag: &str) -> String {
    const HOMELESS: [&str; 4] = ["key ", "playbook build", "playbook sign", "playbook inspect"];
    const COMMAND: &str = "`guardian ";
    let mut parts = text.split(COMMAND);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(COMMAND);
        match part.split_once('`') {
            Some((command, rest))
                if !command.contains("--home") && !HOMELESS.iter().any(|word| command.starts_with(word)) =>
            {
                out.push_str(&format!("{command}{flag}`{rest}"));
            }
            _ => out.push_str(part),
        }
    }
    out
}

impl Screen {
    /// The screen of this process, for the home that `flag` leads to. Colour needs a terminal and no `NO_COLOR`
    /// (<https://no-color.org>).
    #[must_use]
    pub(super) fn new(json: bool, flag: String) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: wanted && !dumb && !json && std::io::stdout().is_terminal(), json, silent: false, flag }
    }

    /// A screen that shows nothing, for commands that another command runs on its way.
    #[must_use]
    pub(super) const fn silent() -> Self {
        Self { colour: false, json: false, silent: true, flag: String::new() }
    }

    /// Bytes as they are, for another program to read.
    pub(super) fn raw(&self, bytes: &[u8]) {
        if let Err(error) = std::io::stdout().write_all(bytes) {
            let _ = LOST.set(error.to_string());
        }
    }

    /// Whether the caller wants JSON.
    #[must_use]
    pub(super) const fn json(&self) -> bool {
        self.json
    }

    /// The text in that tone.
    #[must_use]
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Head => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// One line on standard output. A reader that went away (`| head`) is no error; anything else is one at the end, see
    /// [`lost`]: what has begun goes on.
    pub(super) fn line(&self, text: &str) {
        if let Err(error) = writeln!(std::io::stdout().lock(), "{text}")
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            let _ = LOST.set(error.to_string());
        }
    }

    /// One line for people, left out when JSON is wanted.
    pub(super) fn say(&self, text: &str) {
        if !self.json && !self.silent {
            self.line(&for_home(text, &self.flag));
        }
    }

    /// One line for people on standard error, beside what standard output holds for another program.
    pub(super) fn aside(&self, text: &str) {
        if !self.json && !self.silent {
            // Who cannot read it has what counts on standard output.
            let _ = writeln!(std::io::stderr().lock(), "{}", for_home(text, &self.flag));
        }
    }

    /// One JSON document: `{"guardian": 1, "kind": KIND, ...}`.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub(super) fn document(&self, kind: &str, value: &serde_json::Value) -> Result<(), serde_json::Error> {
        let mut document = serde_json::Map::new();
        document.insert("guardian".to_owned(), JSON_VERSION.into());
        document.insert("kind".to_owned(), kind.into());
        match value {
            serde_json::Value::Object(fields) => document.extend(fields.clone()),
            other => {
                document.insert("items".to_owned(), other.clone());
            }
        }
        self.line(&crate::model::escape_json(&serde_json::to_string_pretty(&document)?));
        Ok(())
    }

    /// Rows in columns as wide as their widest cell.
    pub(super) fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
        };
        let line = |cells: Vec<&str>| {
            let last = cells.len().saturating_sub(1);
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let gap = if column == last { 0 } else { width(column).saturating_sub(cell.chars().count()) + 2 };
                format!("{cell}{}", " ".repeat(gap))
            });
            padded.collect::<String>()
        };
        self.say(&self.paint(Tone::Faint, &line(head.to_vec())));
        for row in rows {
            self.say(&line(row.iter().map(String::as_str).collect()));
        }
    }
}

/// A number of things in words: `1 effect`, `2 effects`.
pub(super) fn counted(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// The version of every `--json` shape; it rises when a field changes its meaning or goes away.
pub const JSON_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::for_home;

    #[test]
    fn proposals_name_the_home_that_they_are_about() {
        let flag = " --home /h";
        for (text, shown) in [
            ("run `guardian audit verify`, then", "run `guardian audit verify --home /h`, then"),
            ("`guardian a` or `guardian b`", "`guardian a --home /h` or `guardian b --home /h`"),
            ("run `guardian init --home /x`", "run `guardian init --home /x`"),
            ("`guardian key new` `guardian playbook sign F`", "`guardian key new` `guardian playbook sign F`"),
            ("guardian verify, `guardian.toml`, `guardian is", "guardian verify, `guardian.toml`, `guardian is"),
        ] {
            assert_eq!(for_home(text, flag), shown);
            assert_eq!(for_home(text, ""), text);
        }
    }
}
