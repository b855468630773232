//! Goldens: what must not change by accident. `GUARDIAN_BLESS=1` writes them anew, for a change that is meant.

/// Compares with `tests/golden/NAME`.
pub(crate) fn same(name: &str, found: &str) {
    let path = guardian_tests::workspace().join("tests/golden").join(name);
    if std::env::var_os("GUARDIAN_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n", found.trim_end())).expect("the golden is written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        found.trim_end(),
        golden.trim_end(),
        "{name} changed; if it is meant, run the test with GUARDIAN_BLESS=1"
    );
}
