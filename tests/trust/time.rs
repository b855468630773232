//! Time and order: releases that go back, statements that end, clocks that lie, digests that were revoked.

use std::time::Duration;

use guardian::model::{Clock as _, Digest, Manifest};
use guardian::trust::{Standing, TrustError};

use super::release::{Release, at, component, manifest, signed, statement};

/// The release 7 of [`Release`], on a host that accepted release `accepted` before.
fn after(accepted: u64, digest: Digest) -> Release {
    let mut release = Release::new();
    release.host.seen.accepted.insert(accepted, digest);
    release
}

#[test]
fn an_older_release_is_refused_and_a_newer_one_is_not() {
    let unknown = Digest::of(b"another release");
    for newer in [8, 1_000, u64::MAX] {
        let release = after(newer, unknown);
        let error = release.host.refuse(&release.component, &release.envelope);
        assert!(matches!(error, TrustError::Older { release: 7, .. }), "{error}");
        assert!(super::line(&error).contains("playbook rollback acme/web_restart --to 7"), "{error}");
    }
    let release = after(6, unknown);
    release.host.accept(&release.component, &release.envelope);
}

#[test]
fn the_same_release_with_another_digest_is_refused() {
    let mut release = after(7, Digest::of(b"what was accepted as 7"));
    let error = release.host.refuse(&release.component, &release.envelope);
    assert!(matches!(error, TrustError::OtherContent { release: 7, .. }), "{error}");
    // Not even if the operator went back, a newer one is there, or the other one was revoked.
    release.host.seen.went_back = true;
    release.host.refuse(&release.component, &release.envelope);
    release.host.seen.accepted.insert(9, Digest::of(b"nine"));
    release.host.refuse(&release.component, &release.envelope);
    release.host.trust.revoke(Digest::of(b"what was accepted as 7")).unwrap();
    release.host.refuse(&release.component, &release.envelope);
    let release = after(7, Digest::of(&release.component));
    release.host.accept(&release.component, &release.envelope);
}

#[test]
fn going_back_needs_an_earlier_acceptance_and_the_operators_act_and_no_floor() {
    for (accepted, went_back, passes) in
        [(false, false, false), (true, false, false), (false, true, false), (true, true, true)]
    {
        let mut release = after(9, Digest::of(b"nine"));
        release.host.seen.went_back = went_back;
        if accepted {
            release.accept_before();
        }
        let verified = release.host.verify(&release.component, &release.envelope);
        assert_eq!(verified.is_ok(), passes, "accepted {accepted}, went back {went_back}");
        release.host.trust.set_floor("acme/web_restart".parse().unwrap(), 8);
        let error = release.host.refuse(&release.component, &release.envelope);
        assert!(matches!(error, TrustError::BelowFloor { release: 7, floor: 8, .. }), "{error}");
        release.host.trust.set_floor("acme/web_restart".parse().unwrap(), 7);
        assert_eq!(release.host.verify(&release.component, &release.envelope).is_ok(), passes);
    }
    // A floor of another playbook is another playbook's.
    let mut release = Release::new();
    release.host.trust.set_floor("acme/other".parse().unwrap(), 100);
    release.host.accept(&release.component, &release.envelope);
}

#[test]
fn a_release_beyond_what_a_manifest_may_say_cannot_lock_later_ones_out() {
    let release = Release::new();
    for number in [0, u64::from(u32::MAX) + 1, u64::MAX] {
        let mut statement = release.statement();
        statement["predicate"]["manifest"]["release"] = number.into();
        statement["subject"][0]["name"] = format!("web_restart-{number}.wasm").into();
        let error = release.host.refuse(&release.component, &release.restated(&statement));
        assert!(super::line(&error).contains("`release` must be between"), "{error}");
    }
}

#[test]
fn a_revoked_release_does_not_hold_the_high_water_mark() {
    let stolen = Digest::of(b"signed with a stolen key");
    let mut release = after(u64::from(u32::MAX), stolen);
    release.host.refuse(&release.component, &release.envelope);
    release.host.trust.revoke(stolen).unwrap();
    release.host.accept(&release.component, &release.envelope);
    // What was accepted and stands still holds.
    release.host.seen.accepted.insert(8, Digest::of(b"eight"));
    let error = release.host.refuse(&release.component, &release.envelope);
    assert!(matches!(error, TrustError::Older { high_water: 8, .. }), "{error}");
}

#[test]
fn a_revoked_digest_never_runs() {
    let mut release = Release::new();
    let digest = Digest::of(&release.component);
    release.accept_before();
    release.host.accept(&release.component, &release.envelope);
    release.host.trust.revoke(digest).unwrap();
    assert!(
        matches!(release.host.refuse(&release.component, &release.envelope), TrustError::Revoked(found) if found == digest)
    );
    // The next release does.
    let next = manifest(8);
    let bytes = component(&next);
    let envelope = signed(statement(&bytes, &next).to_string().as_bytes(), &[&release.key]);
    release.host.accept(&bytes, &envelope);
}

#[test]
fn a_key_that_is_trusted_no_more_signs_nothing() {
    let mut release = Release::new();
    let other = super::release::Key::new(2);
    release.host.trust.add(&"acme".parse().unwrap(), None, other.public(), None).unwrap();
    release.host.accept(&release.component, &release.envelope);
    release.host.trust.remove(&"acme".parse().unwrap(), Some(&"alice".parse().unwrap())).unwrap();
    let error = release.host.refuse(&release.component, &release.envelope);
    assert!(matches!(error, TrustError::NoTrustedSignature { .. }));
}

#[test]
fn before_its_validity_nothing_passes() {
    let mut release = Release::new();
    release.host.clock.set(at("2025-12-31T23:59:59.999Z"));
    release.accept_before();
    let error = release.host.refuse(&release.component, &release.envelope);
    assert!(matches!(error, TrustError::NotYetValid { .. }), "{error}");
    release.host.clock.set(at("2026-01-01T00:00:00Z"));
    release.host.accept(&release.component, &release.envelope);
}

#[test]
fn after_its_validity_only_what_was_accepted_before_passes_and_says_so() {
    let mut release = Release::new();
    release.host.clock.set(at("2026-12-31T23:59:59.999Z"));
    let current = release.host.verify(&release.component, &release.envelope).unwrap();
    assert_eq!(current.standing(), Standing::Current);
    release.host.clock.set(at("2027-01-01T00:00:00Z"));
    let error = release.host.refuse(&release.component, &release.envelope);
    assert!(matches!(error, TrustError::Expired { .. }), "{error}");
    release.accept_before();
    let pinned = release.host.verify(&release.component, &release.envelope).unwrap();
    assert_eq!(pinned.standing(), Standing::PinnedExpired);
    // Accepted before means these bytes, not this name.
    let next = Manifest { description: "other".to_owned(), ..manifest(8) };
    let bytes = component(&next);
    let envelope = signed(statement(&bytes, &next).to_string().as_bytes(), &[&release.key]);
    assert!(matches!(release.host.refuse(&bytes, &envelope), TrustError::Expired { .. }));
}

#[test]
fn a_clock_set_back_makes_nothing_young_again() {
    let mut release = Release::new();
    let now = release.host.clock.now();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    // Within five minutes a time service may correct it.
    for (last_seen, passes) in [
        (now, true),
        (now.plus(minutes(5)), true),
        (now.plus(minutes(5) + Duration::from_millis(1)), false),
        (now.plus(minutes(60 * 24 * 365)), false),
    ] {
        release.host.seen.last_seen = Some(last_seen);
        release.host.seen.accepted.clear();
        match release.host.verify(&release.component, &release.envelope) {
            Ok(verified) => assert!(passes && verified.standing() == Standing::Current, "{last_seen}"),
            Err(error) => {
                assert!(!passes && matches!(error, TrustError::ClockBehind { .. }), "{error}");
                assert!(super::line(&error).contains("reset-clock"), "{error}");
            }
        }
        release.accept_before();
        let pinned = release.host.verify(&release.component, &release.envelope).unwrap();
        assert_eq!(pinned.standing() == Standing::PinnedClockBehind, !passes);
    }
    // With the clock before the validity as well: known to be wrong, so what was accepted still passes.
    release.host.clock.set(at("2001-01-01T00:00:00Z"));
    release.host.accept(&release.component, &release.envelope);
}
