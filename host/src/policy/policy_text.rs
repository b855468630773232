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
/// The largest statement, in bytes: ten times the longest policy seen in practice, and a tree of some two thousand levels.
const STATEMENT_BYTES: usize = 8 << 10;
/// The deepest nesting of brackets: people stop reading at four.
const NESTING: usize = 64;

/// The places of the statements in `text`, each from its first token to its `;`, with what is wrong with their shape.
pub(super) fn statements(path: &str, text: &str) -> (Vec<Range<usize>>, Vec<Finding>) {
    let mut found = Vec::new();
    let mut findings = Vec::new();
    let mut start = None;
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                while bytes.next_if(|(_, next)| *next != b'\n').is_some() {}
                continue;
            }
            b'"' => {
                while let Some((_, inner)) = bytes.next() {
                    match inner {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        if !byte.is_ascii_whitespace() {
            start.get_or_insert(at);
        }
        if byte == b';' {
            let range = start.take().unwrap_or(at)..at + 1;
            accept(path, text, range, deepest, &mut found, &mut findings);
            (depth, deepest) = (0, 0);
        }
    }
    if let Some(start) = start {
        accept(path, text, start..text.len(), deepest, &mut found, &mut findings);
    }
    (found, findings)
}

fn accept(
    path: &str,
    text: &str,
    range: Range<usize>,
    deepest: usize,
    found: &mut Vec<Range<usize>>,
    findings: &mut Vec<Finding>,
) {
    let head = range.start..range.start;
    if range.len() > STATEMENT_BYTES {
        let message = format!("the policy is longer than {STATEMENT_BYTES} bytes");
        findings.push(Finding::at(path, text, head, message, "split it; several permits add up"));
    } else if deepest > NESTING {
        let message = format!("brackets are nested deeper than {NESTING}");
        findings.push(Finding::at(path, text, head, message, "write the condition flat"));
    } else {
        found.push(range);
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
        let long = format!("a {};", "&& a ".repeat(2_000));
        for (text, word) in [(deep, "nested"), (long, "longer")] {
            let (found, findings) = statements("a.cedar", &text);
            assert!(found.is_empty() && findings[0].message.contains(word), "{findings:?}");
        }
        assert_eq!(cut(&format!("a {}{};", "(".repeat(64), ")".repeat(64))).len(), 1);
    }
}
