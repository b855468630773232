//! One statement of a policy file: where it stands, and what Cedar makes of it.
//!
//! A finding has to point at a line of the operator's own file, while Cedar is given all statements of all files as one
//! text, because that is several times cheaper. A [`Place`] keeps the two together. A [`Read`] is a statement that is a
//! policy and keeps its own rules; whether all of them together are a set in force is for [`super::load`] to say.

use std::ops::Range;

use cedar_policy::{Policy, PolicyId, PolicySet as CedarSet};
use miette::Diagnostic;

use super::finding::Finding;
use super::load::{Kind, Loaded};
use super::policy_text;
use super::rules::{self, Notes};

/// Where a statement stands: for findings about it.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) shown: String,
    /// What a policy there may do.
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) range: Range<usize>,
    /// Where the statement begins in the text that Cedar was given.
    origin: usize,
    /// Its first line, counted from 1: kept, because counting anew for every policy would be quadratic in the file.
    pub(super) line: usize,
}

impl<'a> Place<'a> {
    /// The statements of one file; what is too long or too deep to be parsed is a finding.
    pub(super) fn all(shown: &str, text: &'a str, kind: Kind, into: &mut Vec<Self>, findings: &mut Vec<Finding>) {
        let (statements, misshapen) = policy_text::statements(shown, text);
        findings.extend(misshapen);
        let (mut line, mut counted) = (1, 0);
        for range in statements {
            line += text.get(counted..range.start).unwrap_or_default().matches('\n').count();
            counted = range.start;
            into.push(Place { shown: shown.to_owned(), kind, text, range, origin: 0, line });
        }
    }

    /// The statement.
    pub(super) fn statement(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    /// A finding at the first place where the statement says `words`, else at its head.
    pub(super) fn finding(&self, words: &str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        let at = self.statement().find(words).filter(|_| !words.is_empty());
        let span = at.map_or(0..0, |at| at..at + words.len());
        self.finding_at(span, message, remedy)
    }

    /// A finding at a place within the statement.
    fn finding_at(&self, span: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        let span = self.range.start + span.start..self.range.start + span.end;
        Finding::at(&self.shown, self.text, span, message, remedy)
    }

    /// The same for an error of Cedar, which says where and sometimes how to mend it.
    pub(super) fn cedar(&self, error: &dyn Diagnostic, message: String, remedy: &str) -> Finding {
        let label = error.labels().and_then(|mut labels| labels.next());
        let span = label.as_ref().map_or(0..0, |label| {
            let start = label.offset().saturating_sub(self.origin);
            start..start + label.len()
        });
        let said = label.as_ref().and_then(|label| label.label()).map(|label| format!(": {label}")).unwrap_or_default();
        let help = error.help().map_or_else(|| remedy.to_owned(), |help| help.to_string());
        self.finding_at(span, format!("{message}{said}"), help)
    }
}

/// A policy that was read and is not yet accepted.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) notes: Notes,
    pub(super) policy: Policy,
    pub(super) place: Place<'a>,
}

impl Read<'_> {
    pub(super) fn accepted(self) -> Loaded {
        let Notes { id, why, approvers, quorum, scope } = self.notes;
        Loaded {
            id,
            kind: self.place.kind,
            why,
            approvers,
            quorum,
            path: self.place.shown,
            line: self.place.line,
            scope,
            policy: self.policy,
        }
    }
}

/// The policies of all these statements, read as one text: a parser of Cedar builds its lexer anew each time, which costs
/// more than most policies. None if anything is wrong with any of them, or if Cedar cuts the text up in another way than we
/// did; then each is read by itself, and says what is wrong.
fn together(places: &mut [Place<'_>]) -> Option<Vec<Policy>> {
    let mut text = String::new();
    for place in places.iter_mut() {
        place.origin = text.len();
        text.push_str(place.text.get(place.range.clone())?);
        text.push('\n');
    }
    let set: CedarSet = text.parse().ok()?;
    // Cedar numbers them in the order of the text.
    let number = |policy: &Policy| policy.id().to_string().strip_prefix("policy")?.parse::<usize>().ok();
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_cached_key(number);
    let same = |(policy, place): (&Policy, &Place<'_>)| policy.to_cedar().as_deref() == Some(place.statement());
    (policies.len() == places.len() && policies.iter().zip(places.iter()).all(same)).then_some(policies)
}

impl<'a> Read<'a> {
    /// Reads every statement; those that are no policy, or not an acceptable one, become findings.
    pub(super) fn all(mut places: Vec<Place<'a>>, findings: &mut Vec<Finding>) -> Vec<Self> {
        let mut policies = together(&mut places).map(Vec::into_iter);
        let mut read = Vec::new();
        for mut place in places {
            let policy = match policies.as_mut().and_then(Iterator::next) {
                Some(policy) => Ok(policy),
                None => {
                    place.origin = 0;
                    Policy::parse(None, place.statement())
                }
            };
            match policy {
                Err(errors) => {
                    for error in errors.iter() {
                        findings.push(place.cedar(error, error.to_string(), "see docs/policy.md for the form"));
                    }
                }
                Ok(policy) => match rules::check(&policy, &place) {
                    Ok(notes) => {
                        let policy = policy.new_id(PolicyId::new(&notes.id));
                        read.push(Self { notes, policy, place });
                    }
                    Err(found) => findings.extend(found),
                },
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places<'a>(texts: &[&'a str]) -> Vec<Place<'a>> {
        let (mut places, mut findings) = (Vec::new(), Vec::new());
        for text in texts {
            Place::all("p.cedar", text, Kind::Permit, &mut places, &mut findings);
        }
        assert!(findings.is_empty(), "{findings:?}");
        places
    }

    #[test]
    fn statements_are_read_together_and_stay_what_they_are() {
        let files = [
            "// one; two\n@id(\"a\") permit (principal, action, resource);\n\n  @id(\"b\")\nforbid (principal, action, resource) \
             when { context.x == \"; // no comment\" };",
            "@id(\"c\") permit (principal, action, resource) // why\n unless { true };\n// end",
        ];
        let mut good = places(&files);
        let read = together(&mut good).expect("nothing is wrong with them");
        let ids: Vec<_> = read.iter().filter_map(|policy| policy.annotation("id")).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        // Eleven and more: the tenth is not read as the second.
        let many: String = (0..30).map(|n| format!("@id(\"n{n}\") permit (principal, action, resource);")).collect();
        let read = together(&mut places(&[&many])).unwrap();
        assert!(read.iter().enumerate().all(|(n, policy)| policy.annotation("id") == Some(&format!("n{n}"))));
        for bad in
            ["permit (principal, action, resource)", "nonsense;", "permit (principal == ?principal, action, resource);"]
        {
            assert!(together(&mut places(&[files[0], bad, files[1]])).is_none(), "{bad}");
        }
    }
}
