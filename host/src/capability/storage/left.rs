//! What was to be taken and was not, and why: all of it counted, a few of it named.
//!
//! A file that its owner made immutable, took away or changed at the last moment must not keep the others from being taken.
//! But that it was left is said, because who does that on purpose wants to keep the disk full.

use std::collections::BTreeMap;
use std::path::Path;

use crate::capability::folder::shown;
use crate::model::escape_to;

/// As many are named: enough to see what kind of trouble it is.
const NAMED: usize = 5;
/// The longest path that is shown, in characters.
const PATH: usize = 120;

/// So many are told from each other, which is more than the files of a plan; whatever is beyond is only counted, and twice
/// where it is left twice.
const MOST: usize = 20_000;

/// By path, each with the reason. What did not work comes first, so that what is in the way on purpose does not hide it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOver {
    faults: BTreeMap<String, String>,
    others: BTreeMap<String, String>,
    /// INVARIANT 7: paths that are only counted.
    more: usize,
}

impl LeftOver {
    /// It is not one to take, or not any more.
    pub(super) fn note(&mut self, path: &str, why: impl Into<String>) {
        self.more += add(&mut self.others, path, why.into());
    }

    /// It was one to take, and that did not work.
    pub(super) fn fault(&mut self, path: &str, why: impl Into<String>) {
        self.more += add(&mut self.faults, path, why.into());
    }

    /// Whether anything did not work, and was not only changed or not worth it.
    pub(super) fn faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// It was taken after all.
    pub(super) fn forget(&mut self, path: &str) {
        self.faults.remove(path);
        self.others.remove(path);
    }

    /// The first few, and how many more.
    pub(super) fn words(&self) -> Vec<String> {
        let name = |(path, why): (&String, &String)| format!("`{}`: {why}", escape_to(&shown(Path::new(path)), PATH));
        let mut words: Vec<String> = self.faults.iter().chain(&self.others).take(NAMED).map(name).collect();
        let more = (self.faults.len() + self.others.len()).saturating_sub(NAMED).saturating_add(self.more);
        words.extend((more > 0).then(|| format!("and {more} more")));
        words
    }
}

/// How many were not added, for want of a place.
fn add(paths: &mut BTreeMap<String, String>, path: &str, why: String) -> usize {
    if paths.len() >= MOST && !paths.contains_key(path) {
        return 1;
    }
    paths.insert(path.to_owned(), why);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_all_are_counted() {
        let mut left = LeftOver::default();
        assert!(left.words().is_empty());
        for count in 0..8 {
            left.note(&format!("a\u{1b}[2J{count}"), "changed");
        }
        left.forget("a\u{1b}[2J0");
        let words = left.words();
        assert!(words.len() == 6 && words[5] == "and 2 more", "{words:?}");
        assert!(words[0].contains("2J1`: changed") && !words[0].contains('\u{1b}'), "{words:?}");
        assert!(!left.faulty());
        left.fault(&"x".repeat(4_000), "changed");
        assert!(left.faulty());
        assert!(left.words().iter().all(|word| word.len() < 200));
        // Whoever makes names without end fills no memory, and still is counted.
        for count in 0..MOST + 10 {
            left.note(&format!("b{count}"), "changed");
        }
        let words = left.words();
        assert!(left.others.len() == MOST && words[5] == "and 20013 more", "{words:?}");
        assert!(words[0].starts_with("`xxx"), "what did not work comes first: {words:?}");
    }
}
