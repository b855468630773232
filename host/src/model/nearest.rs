//! The nearest known name, for whoever mistyped one.

/// The name in `known` that `given` was probably meant to be: at most a third of its letters wrong.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (given.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_is_found_and_far_is_not() {
        assert_eq!(nearest("chekc", ["unit", "check"]), Some("check"));
        assert_eq!(nearest("banana", ["unit", "check"]), None);
    }
}
