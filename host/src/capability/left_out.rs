//! Tests that need root: they run, or they fail, or whoever runs the tests has allowed that they are left out.

/// Says that the test which needs `what` is left out, if whoever runs the tests allowed that.
///
/// # Panics
/// When they did not: a test that did not run must not count as one that held.
pub(super) fn left_out(what: &str) {
    let allowed = std::env::var_os("GUARDIAN_TEST_WITHOUT_ROOT").is_some_and(|value| value == "1");
    assert!(
        allowed,
        "this test needs root: {what}; run it as root, or set GUARDIAN_TEST_WITHOUT_ROOT=1 to leave such tests out"
    );
    eprintln!("SKIPPED: {what}, which needs root; GUARDIAN_TEST_WITHOUT_ROOT=1 allows that");
}
