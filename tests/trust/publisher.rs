//! Who signed: strangers, too few, one as two, for another's name; and what exactly they signed.

use ed25519_dalek::Signer as _;
use guardian::model::Limits;
use guardian::trust::{TrustError, TrustStore, Validity, cosign, inspect, sign};
use serde_json::json;

use super::release::{
    Host, Key, PAYLOAD_TYPE, Release, at, component, envelope_of, manifest, name, pae, signed, statement,
};

const YEAR: fn() -> Validity =
    || Validity { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2027-01-01T00:00:00Z") };

#[test]
fn a_signature_by_an_unknown_key_is_refused() {
    let release = Release::new();
    let payload = release.statement().to_string();
    let stranger = signed(payload.as_bytes(), &[&Key::new(9)]);
    let error = release.host.refuse(&release.component, &stranger);
    assert!(super::line(&error).contains("guardian trust add"), "{error}");
    // Under the hint of a trusted key it is as unknown as before.
    let bytes = Key::new(9).raw.sign(&pae(PAYLOAD_TYPE, payload.as_bytes())).to_bytes().to_vec();
    let posing = envelope_of(PAYLOAD_TYPE, payload.as_bytes(), &[(release.key.public().id().to_string(), bytes)]);
    assert!(matches!(release.host.refuse(&release.component, &posing), TrustError::NoTrustedSignature { count: 1 }));
    // A stranger beside a trusted signer does no harm.
    let both = signed(payload.as_bytes(), &[&Key::new(9), &release.key]);
    assert_eq!(release.host.verify(&release.component, &both).unwrap().signers().len(), 1);
}

#[test]
fn nobody_is_trusted_until_somebody_is() {
    let mut release = Release::new();
    let trusting = std::mem::replace(&mut release.host.trust, TrustStore::empty());
    assert!(matches!(release.host.refuse(&release.component, &release.envelope), TrustError::NobodyTrusted));
    release.host.trust = trusting;
    release.host.accept(&release.component, &release.envelope);
    release.host.trust.remove(&name("acme"), None).unwrap();
    assert!(matches!(release.host.refuse(&release.component, &release.envelope), TrustError::NobodyTrusted));
}

/// A host where two of the three keys 1, 2, 3 must sign for `acme`, and key 4 speaks for somebody else.
fn two_of_three() -> (Host, [Key; 5]) {
    let keys = [1, 2, 3, 4, 5].map(Key::new);
    let mut host = Host::new(&keys[0]);
    host.trust.add(&name("acme"), Some(name("bob")), keys[1].public(), Some(2)).unwrap();
    host.trust.add(&name("acme"), Some(name("carol")), keys[2].public(), None).unwrap();
    host.trust.add(&name("other"), None, keys[3].public(), None).unwrap();
    (host, keys)
}

#[test]
fn a_threshold_counts_different_keys_of_one_publisher() {
    let (host, [one, two, three, other, stranger]) = two_of_three();
    let bytes = component(&manifest(7));
    let payload = statement(&bytes, &manifest(7)).to_string();
    let by = |keys: &[&Key]| signed(payload.as_bytes(), keys);
    for enough in [vec![&one, &two], vec![&three, &one], vec![&one, &two, &three], vec![&stranger, &two, &other, &one]]
    {
        host.accept(&bytes, &by(&enough));
    }
    for few in [vec![&one], vec![&one, &one], vec![&one, &one, &one], vec![&one, &stranger]] {
        let error = host.refuse(&bytes, &by(&few));
        assert!(matches!(error, TrustError::Threshold { have: 1, need: 2, .. }), "{error}");
    }
    // Another publisher's key adds nothing, and cannot stand in for it either.
    assert!(matches!(host.refuse(&bytes, &by(&[&one, &other])), TrustError::ForeignName { .. }));
    // One valid, one of garbage, one over another payload.
    let message = pae(PAYLOAD_TYPE, payload.as_bytes());
    let mixed = [
        ("1".to_owned(), one.raw.sign(&message).to_bytes().to_vec()),
        ("2".to_owned(), vec![7; 64]),
        ("3".to_owned(), three.raw.sign(b"something else").to_bytes().to_vec()),
    ];
    let error = host.refuse(&bytes, &envelope_of(PAYLOAD_TYPE, payload.as_bytes(), &mixed));
    assert!(matches!(error, TrustError::Threshold { have: 1, need: 2, .. }));
}

#[test]
fn the_same_key_twice_under_two_ids_is_one_key() {
    let (host, [one, two, ..]) = two_of_three();
    let bytes = component(&manifest(7));
    let payload = statement(&bytes, &manifest(7)).to_string();
    let message = pae(PAYLOAD_TYPE, payload.as_bytes());
    let signature = |key: &Key| key.raw.sign(&message).to_bytes().to_vec();
    let posing = [(one.public().id().to_string(), signature(&one)), (two.public().id().to_string(), signature(&one))];
    let error = host.refuse(&bytes, &envelope_of(PAYLOAD_TYPE, payload.as_bytes(), &posing));
    assert!(matches!(error, TrustError::Threshold { have: 1, need: 2, .. }));
    let honest = [("x".to_owned(), signature(&one)), ("x".to_owned(), signature(&two))];
    host.accept(&bytes, &envelope_of(PAYLOAD_TYPE, payload.as_bytes(), &honest));
}

#[test]
fn another_publishers_name_is_refused() {
    let mut release = Release::new();
    let mallory = Key::new(9);
    release.host.trust.add(&name("mallory"), None, mallory.public(), None).unwrap();
    let envelope = signed(release.statement().to_string().as_bytes(), &[&mallory]);
    let error = release.host.refuse(&release.component, &envelope);
    assert!(matches!(&error, TrustError::ForeignName { signer, .. } if signer.as_str() == "mallory"), "{error}");
    assert!(super::line(&error).contains("`acme/web_restart` is signed by `mallory`"), "{error}");
    // Under their own name they may.
    let own = guardian::model::Manifest { publisher: name("mallory"), ..manifest(7) };
    let bytes = component(&own);
    let envelope = signed(statement(&bytes, &own).to_string().as_bytes(), &[&mallory]);
    assert_eq!(release.host.verify(&bytes, &envelope).unwrap().id().to_string(), "mallory/web_restart");
}

#[test]
fn a_wrong_type_is_refused() {
    let release = Release::new();
    let payload = release.statement().to_string();
    for kind in ["application/json", "application/vnd.in-toto+json ", "application/vnd.in-toto+jso", ""] {
        let signature = release.key.raw.sign(&pae(kind, payload.as_bytes())).to_bytes().to_vec();
        let envelope = envelope_of(kind, payload.as_bytes(), &[(String::new(), signature)]);
        let error = release.host.refuse(&release.component, &envelope);
        assert!(super::line(&error).contains("payload type"), "{error}");
    }
    // A signature over the bare payload, or over one type used for another, is none at all.
    let right = release.key.raw.sign(&pae(PAYLOAD_TYPE, payload.as_bytes())).to_bytes().to_vec();
    let bare = release.key.raw.sign(payload.as_bytes()).to_bytes().to_vec();
    for (kind, signature) in [("application/json", right), (PAYLOAD_TYPE, bare)] {
        let envelope = envelope_of(kind, payload.as_bytes(), &[(String::new(), signature)]);
        let error = release.host.refuse(&release.component, &envelope);
        assert!(matches!(error, TrustError::NoTrustedSignature { .. }), "{error}");
    }
}

#[test]
fn a_signed_statement_that_is_not_exactly_ours_is_refused() {
    let release = Release::new();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut statement = release.statement();
        change(&mut statement);
        release.host.verify(&release.component, &release.restated(&statement))
    };
    drop(with(&|_| {}).unwrap());
    let digest = release.statement()["subject"][0]["digest"].clone();
    type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
    let changes: [(&str, Change<'_>); 17] = [
        ("_type", &|s| s["_type"] = json!("https://in-toto.io/Statement/v0.1")),
        ("predicateType", &|s| s["predicateType"] = json!("https://slsa.dev/provenance/v1")),
        ("2 files", &|s| s["subject"] = json!([s["subject"][0], s["subject"][0]])),
        ("0 files", &|s| s["subject"] = json!([])),
        ("not a list", &|s| s["subject"] = s["subject"][0].clone()),
        ("not a JSON object", &|s| s["subject"][0] = json!(["web_restart-7.wasm", digest])),
        ("name", &|s| s["subject"][0]["name"] = json!("web_restart-8.wasm")),
        ("unknown field `sha1`", &|s| s["subject"][0]["digest"]["sha1"] = json!("00")),
        ("sha256", &|s| s["subject"][0]["digest"] = json!({"sha512": "00"})),
        ("digest", &|s| s["subject"][0]["digest"]["sha256"] = json!(digest["sha256"].to_string().to_uppercase())),
        ("unknown field", &|s| s["extra"] = json!(1)),
        ("unknown field", &|s| s["predicate"]["extra"] = json!(1)),
        ("manifest", &|s| s["predicate"]["manifest"]["colour"] = json!("red")),
        ("notAfter", &|s| drop(s["predicate"].as_object_mut().unwrap().remove("notAfter"))),
        ("not a time", &|s| s["predicate"]["notAfter"] = json!("never")),
        ("not a string", &|s| s["predicate"]["notAfter"] = json!(1_900_000_000)),
        ("not a JSON object", &|s| *s = json!([])),
    ];
    for (word, change) in changes {
        let error = with(change).unwrap_err();
        assert!(super::line(&error).contains(word), "{error} lacks {word}");
    }
    // Text that a JSON value cannot show: keys that stand twice, and bytes after the end.
    let text = release.statement().to_string();
    for (bad, word) in [
        (text.replacen('{', "{\"predicateType\":\"x\",", 1), "twice"),
        (text.replace("\"target\":\"service\"", "\"target\":\"service\",\"target\":\"probe\""), "twice"),
        (format!("{text}{{}}"), "trailing"),
        (format!("\u{feff}{text}"), "expected"),
    ] {
        let error = release.host.refuse(&release.component, &signed(bad.as_bytes(), &[&release.key]));
        assert!(super::line(&error).contains(word), "{error} lacks {word}");
    }
}

#[test]
fn a_statement_about_other_bytes_is_refused() {
    let release = Release::new();
    let other = component(&manifest(8));
    let envelope = signed(statement(&other, &manifest(7)).to_string().as_bytes(), &[&release.key]);
    assert!(matches!(release.host.refuse(&release.component, &envelope), TrustError::OtherBytes { .. }));
}

#[test]
fn nothing_is_parsed_or_looked_up_before_the_signatures_hold() {
    let release = Release::new();
    // A payload that no parser would survive in silence, unsigned: the refusal is about the signature.
    let garbage = signed(b"\xff{{{", &[&Key::new(9)]);
    assert!(matches!(release.host.refuse(&release.component, &garbage), TrustError::NoTrustedSignature { .. }));
    let history = |_: &guardian::model::PlaybookId, _: &guardian::model::Digest| -> guardian::trust::Seen {
        panic!("the trail was asked about a name that nobody signed")
    };
    let terms = guardian::trust::Terms {
        trust: &release.host.trust,
        history: &history,
        clock: &release.host.clock,
        limits: &release.host.limits,
    };
    let stranger = signed(release.statement().to_string().as_bytes(), &[&Key::new(9)]);
    assert!(guardian::trust::verify(release.component.as_slice().into(), &stranger, &terms).is_err());
}

#[test]
fn the_librarys_own_signatures_are_accepted_and_counted() {
    let (host, [one, two, ..]) = two_of_three();
    let bytes = component(&manifest(7));
    let first = sign(&bytes, &one.ours, YEAR()).unwrap();
    assert!(matches!(host.refuse(&bytes, &first), TrustError::Threshold { have: 1, need: 2, .. }));
    assert!(matches!(cosign(&bytes, &first, &one.ours), Err(TrustError::AlreadySigned)));
    let both = cosign(&bytes, &first, &two.ours).unwrap();
    let verified = host.verify(&bytes, &both).unwrap();
    assert_eq!(verified.signers().iter().map(|signer| signer.label.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);

    let other = component(&manifest(8));
    assert!(matches!(cosign(&other, &first, &two.ours), Err(TrustError::OtherBytes { .. })));
    let bare = wasm_encoder::Component::new().finish();
    assert!(matches!(sign(&bare, &one.ours, YEAR()), Err(TrustError::Section(_))));
    let Validity { not_before, not_after } = YEAR();
    let backwards = Validity { not_before: not_after, not_after: not_before };
    assert!(matches!(sign(&bytes, &one.ours, backwards), Err(TrustError::EmptyValidity { .. })));
}

#[test]
fn a_stranger_can_be_looked_at_without_being_trusted() {
    let bytes = component(&manifest(7));
    let envelope = sign(&bytes, &Key::new(9).ours, YEAR()).unwrap();
    let shown = inspect(&bytes, Some(&envelope), &Limits::default()).unwrap();
    assert_eq!(shown.manifest, manifest(7));
    let signature = shown.envelope.unwrap();
    assert!(signature.fits);
    assert_eq!(signature.hints, [Key::new(9).public().id().to_string()]);
    let other = component(&manifest(8));
    assert!(!inspect(&other, Some(&envelope), &Limits::default()).unwrap().envelope.unwrap().fits);
    assert!(inspect(b"", None, &Limits::default()).is_err());
}
