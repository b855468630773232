//! Trust, attacked from outside: each attack is built for real, and each refusal has a twin that passes.
//!
//! Envelopes are made here by hand (`release`), with a second implementation of the signed encoding, so that a mistake in
//! the library's own signer cannot hide the same mistake in its verifier.

mod bytes;
mod publisher;
mod release;
mod swap;
mod time;

use guardian::trust::TrustError;

/// The error's text, after making sure that it is one line that a person can act on.
fn line(error: &TrustError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 600, "{text}");
    text
}
