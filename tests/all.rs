//! All tests that go through the public surface, in one binary: it links once.

mod guests;
