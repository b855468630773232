//! What is wrong with a policy, where, and how to mend it.
//!
//! A load reports everything it finds, not only the first: an operator mends a file once. Text from files is escaped,
//! because a fragment comes from a stranger and is shown on a terminal.

use std::fmt;

use crate::durable::DurableError;
use crate::model::escape;

/// One thing that is wrong, with its place. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
    /// The line itself, escaped.
    pub source_line: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
}

impl Finding {
    /// A finding at bytes `start..end` of `text`; offsets beyond the text mean its end.
    pub(super) fn at(
        path: &str,
        text: &str,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let source_line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let head = text.get(line_start..before.len()).unwrap_or_default();
        let meant = text.get(before.len()..span.end).unwrap_or_default().lines().next().unwrap_or_default();
        Self {
            path: escape(path),
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            width: meant.chars().count().max(1),
            // One column per character, so that the caret stands right.
            source_line: escape(&source_line.replace('\t', " ")),
            message: escape(&message.into()),
            remedy: escape(&remedy.into()),
        }
    }

    /// A finding about a file as a whole.
    pub(super) fn of_file(path: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::at(path, "", 0..0, message, remedy)
    }

    /// Several lines for people: the message, the line of the file and a caret under what is meant.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = format!("error: {}\n", self.message);
        let gutter = self.line.to_string().len();
        out.push_str(&format!("{:gutter$}--> {}:{}:{}\n", "", self.path, self.line, self.column));
        if !self.source_line.is_empty() {
            let caret = "^".repeat(self.width.min(self.source_line.chars().count().max(1)));
            let indent = self.column - 1;
            out.push_str(&format!("{:gutter$} |\n{} | {}\n", "", self.line, self.source_line));
            out.push_str(&format!("{:gutter$} | {:indent$}{caret}\n", "", ""));
        }
        if !self.remedy.is_empty() {
            out.push_str(&format!("{:gutter$} = help: {}\n", "", self.remedy));
        }
        out
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(out, "; {}", self.remedy) }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no policy set. The one that was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file or folder cannot be read, or others can write it.
    #[error(transparent)]
    File(#[from] DurableError),
    /// The policies say something they may not.
    #[error("{}", summary(findings))]
    Refused {
        /// Everything that was found, by file and line; never empty.
        findings: Vec<Finding>,
    },
    /// A resource stands twice in the inventory.
    #[error("`{resource}` stands twice in the inventory; give one of them another name")]
    Twice {
        /// Which one.
        resource: String,
    },
    /// The schema made from the verbs is not one: a fault of this program.
    #[error("the generated policy schema is broken: {source}; this is a fault of guardian, please report it")]
    Schema {
        /// What Cedar says.
        source: Cause,
    },
    /// The inventory cannot be put into entities: a fault of this program.
    #[error("the inventory cannot be shown to policies: {source}; this is a fault of guardian, please report it")]
    World {
        /// What Cedar says.
        source: Cause,
    },
}

impl PolicyError {
    /// Everything that was found in the policies; empty when the reason is another.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Refused { findings } => findings,
            Self::File(_) | Self::Twice { .. } | Self::Schema { .. } | Self::World { .. } => &[],
        }
    }

    /// Several lines for people: every finding with its line of source and a caret.
    #[must_use]
    pub fn render(&self) -> String {
        match self {
            Self::Refused { findings } => findings.iter().map(Finding::render).collect::<Vec<_>>().join("\n"),
            Self::File(_) | Self::Twice { .. } | Self::Schema { .. } | Self::World { .. } => format!("error: {self}\n"),
        }
    }

    /// The refusal of these findings, or the value when there are none.
    pub(super) fn unless_clean<T>(mut findings: Vec<Finding>, value: T) -> Result<T, Self> {
        if findings.is_empty() {
            return Ok(value);
        }
        findings.sort_by(|a, b| (&a.path, a.line, a.column).cmp(&(&b.path, b.line, b.column)));
        Err(Self::Refused { findings })
    }
}

fn summary(findings: &[Finding]) -> String {
    let first = findings.first().map(ToString::to_string).unwrap_or_default();
    match findings.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more: run `guardian policy check`)", more - 1),
    }
}
