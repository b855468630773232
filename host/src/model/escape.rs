//! Escaping, for every door through which text leaves.
//!
//! Guests, manifests, services and file names can hold anything: terminal control sequences that rewrite what an
//! operator sees, line breaks that forge log lines, bidirectional marks that reorder a policy on the screen, invisible
//! characters that make two names look alike. Whatever is shown to a person goes through here; nothing is dropped, it
//! is only spelled out.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is shown as its code: control characters, and the Unicode characters that reorder, hide or join
/// text. The list is Unicode's `Bidi_Control` and `Default_Ignorable_Code_Point` properties as far as they occur
/// outside emoji, plus line and paragraph separators.
const fn is_dangerous(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text on one line, with everything spelled out that a terminal or a reader could misread.
#[must_use]
pub fn escape(text: &str) -> String {
    if text.chars().any(|c| is_dangerous(c) || c == '\\') {
        let mut out = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if is_dangerous(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out
    } else {
        text.to_owned()
    }
}

/// The same, cut after `longest` characters of the original.
#[must_use]
pub fn escape_to(text: &str, longest: usize) -> String {
    let cut: Cow<'_, str> = match text.char_indices().nth(longest) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    };
    escape(&cut)
}

/// A JSON text with every dangerous character spelled as JSON spells characters, so that it means the same to a parser
/// and nothing to a terminal. Such characters stand only inside strings; line feeds between them are left alone.
#[must_use]
pub fn escape_json(json: &str) -> String {
    if !json.chars().any(|c| is_dangerous(c) && c != '\n') {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_dangerous(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_raw() {
        assert_eq!(escape("\u{1b}[2Jgone\n\u{202e}evil"), "\\u{1b}[2Jgone\\n\\u{202e}evil");
        assert_eq!(escape("a\\nb"), "a\\\\nb");
        assert_eq!(escape("naïve · 服务"), "naïve · 服务");
        assert_eq!(escape_to("abcdef", 3), "abc…");
    }

    #[test]
    fn json_means_the_same_to_a_parser_and_nothing_to_a_terminal() {
        let value = serde_json::json!({ "said": "\u{9b}2J\u{202e}\u{7f}\u{e0001}ok" });
        let text = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| is_dangerous(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
