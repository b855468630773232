//! Cutting a file into its statements, before Cedar reads them one by one.
//!
//! One by one means: every statement's mistakes are reported, each keeps its own text and place for `explain`, and no
//! statement can hide in another. The cut knows three things of the language: strings, `//` comments and `;`. If it ever
//! cut wrongly, Cedar would refuse the pieces; it cannot change what a policy means.
//!
//! The sizes stop a stranger's fragment from exhausting the stack: Cedar's tree of a statement is walked by recursion.

use std::ops::Range;

use super::finding::Finding;

/// The largest file, in bytes: some five thousand policies; more belong in several files.
pub(super) const FILE_BYTES: u64 = 1 << 20;
/// The longest statement, in words and signs: ten times the longest policy seen in practice, and a tree of at most some
/// five hundred levels, which a thread's usual 2 MiB of stack hold with room to spare (a test tries).
const TOKENS: usize = 1_000;
/// The deepest nesting of brackets: people stop reading at four.
const NESTING: usize = 64;

/// The places of the statements in `text`, each from its first token to its `;`, with what is wrong with their shape.
pub(super) fn statements(path: &str, text: &str) -> (Vec<Range<usize>>, Vec<Finding>) {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    let mut close = |shape: &Shape, end: usize| match shape.problem() {
        None => found.push(shape.start..end),
        Some((message, remedy)) => {
            findings.push(Finding::at(path, text, shape.start..shape.start, message, remedy));
        }
    };
    let mut open: Option<Shape> = None;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte.is_ascii_whitespace() {
            continue;
        }
        if byte == b'/' && bytes.next_if(|(_, next)| *next == b'/').is_some() {
            while bytes.next_if(|(_, next)| *next != b'\n').is_some() {}
            continue;
        }
        let shape = open.get_or_insert_with(|| Shape::at(at));
        shape.token(byte);
        if byte == b'"' {
            while let Some((_, inner)) = bytes.next() {
                match inner {
                    b'\\' => drop(bytes.next()),
                    b'"' => break,
                    _ => {}
                }
            }
        } else if is_word(byte) {
            while bytes.next_if(|(_, next)| is_word(*next)).is_some() {}
        } else if byte == b';' {
            close(shape, at + 1);
            open = None;
        }
    }
    if let Some(shape) = open {
        close(&shape, text.len());
    }
    (found, findings)
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// How large a statement is so far.
struct Shape {
    start: usize,
    tokens: usize,
    depth: usize,
    deepest: usize,
}

impl Shape {
    const fn at(start: usize) -> Self {
        Self { start, tokens: 0, depth: 0, deepest: 0 }
    }

    fn token(&mut self, first: u8) {
        self.tokens += 1;
        match first {
            b'(' | b'[' | b'{' => self.depth += 1,
            b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.deepest = self.deepest.max(self.depth);
    }

    fn problem(&self) -> Option<(String, &'static str)> {
        if self.tokens > TOKENS {
            let message = format!("the policy is longer than {TOKENS} words and signs");
            Some((message, "split it; several permits add up"))
        } else if self.deepest > NESTING {
            Some((format!("brackets are nested deeper than {NESTING}"), "write the condition flat"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        statements("a.cedar", text).0.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn strings_and_comments_hide_semicolons() {
        assert_eq!(cut("// a; b\na \"x;\\\";\" b; // c;\n d;"), ["a \"x;\\\";\" b;", "d;"]);
        assert_eq!(cut("  // only words\n"), Vec::<&str>::new());
        assert_eq!(cut("a; b"), ["a;", "b"]);
        assert_eq!(cut("\"never closed; "), ["\"never closed; "]);
    }

    #[test]
    fn what_would_exhaust_the_stack_is_refused() {
        let deep = format!("a {}{};", "(".repeat(65), ")".repeat(65));
        let long = format!("a {};", "+ a ".repeat(500));
        for (text, word) in [(deep, "nested"), (long, "longer")] {
            let (found, findings) = statements("a.cedar", &text);
            assert!(found.is_empty() && findings[0].message.contains(word), "{findings:?}");
        }
        assert_eq!(cut(&format!("a {};", "+a ".repeat(499))).len(), 1);
        assert_eq!(cut(&format!("a {}{};", "(".repeat(64), ")".repeat(64))).len(), 1);
    }
}
