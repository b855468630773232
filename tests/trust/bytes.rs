//! Changed bytes: of the component and of the envelope. Between the check and the use: see `swap`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guardian::model::Manifest;
use guardian::trust::{TrustError, embed_manifest, read_manifest};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use wasm_encoder::{Component, ComponentSection as _, CustomSection, Encode as _, Module, ModuleSection};

use super::release::{CODE, NOTE, PAYLOAD_TYPE, Release, component, manifest, pae, signed, statement};

#[test]
fn the_untouched_release_is_verified_and_its_facts_are_the_signed_ones() {
    let release = Release::new();
    let verified = release.host.verify(&release.component, &release.envelope).unwrap();
    assert_eq!(verified.id().to_string(), "acme/web_restart");
    assert_eq!(verified.manifest(), &manifest(7));
    assert_eq!(&**verified.bytes(), release.component.as_slice());
    assert_eq!(*verified.digest(), guardian::model::Digest::of(&release.component));
    assert_eq!(*verified.envelope_digest(), guardian::model::Digest::of(&release.envelope));
    let signers: Vec<&str> = verified.signers().iter().map(|signer| signer.label.as_str()).collect();
    assert_eq!(signers, ["alice"]);
    assert_eq!(verified.validity().not_after.to_string(), "2027-01-01T00:00:00.000Z");
}

#[test]
fn a_flip_in_each_byte_class_is_refused() {
    let release = Release::new();
    let find = |needle: &[u8]| release.component.windows(needle.len()).position(|window| window == needle).unwrap();
    let mut code = Vec::new();
    CODE.encode(&mut code);
    let classes = [
        ("magic", 0),
        ("version", 4),
        ("layer", 6),
        ("section id", 8),
        ("section length", 9),
        ("code", find(&code)),
        ("custom section", find(NOTE)),
        ("section name", find(Manifest::SECTION.as_bytes())),
        ("manifest", find(b"\"release\":7") + 10),
        ("last byte", release.component.len() - 1),
    ];
    for (class, offset) in classes {
        for bit in 0..8 {
            let mut bytes = release.component.clone();
            bytes[offset] ^= 1 << bit;
            let error = release.host.refuse(&bytes, &release.envelope);
            assert!(matches!(error, TrustError::OtherBytes { .. }), "{class}: {error}");
        }
    }
    // And every other byte there is.
    for offset in 0..release.component.len() {
        let mut bytes = release.component.clone();
        bytes[offset] ^= 0x10;
        release.host.refuse(&bytes, &release.envelope);
    }
}

#[test]
fn a_section_added_or_cut_off_after_signing_is_refused() {
    let release = Release::new();
    let mut custom = release.component.clone();
    CustomSection { name: "x".into(), data: b"y".into() }.append_to_component(&mut custom);
    let mut module = release.component.clone();
    ModuleSection(&Module::new()).append_to_component(&mut module);
    let mut second = release.component.clone();
    let json = manifest(8).to_json();
    CustomSection { name: Manifest::SECTION.into(), data: json.as_slice().into() }.append_to_component(&mut second);
    let mut early = Component::new();
    early.section(&CustomSection { name: "signature".into(), data: b"".into() });
    let mut prepended = early.finish();
    prepended.extend_from_slice(&release.component[8..]);
    let cut = release.component[..release.component.len() - 1].to_vec();
    let twice = [release.component.as_slice(), release.component.as_slice()].concat();
    for bytes in [custom, module, second, prepended, cut, twice, Vec::new()] {
        assert!(matches!(release.host.refuse(&bytes, &release.envelope), TrustError::OtherBytes { .. }));
    }
}

#[test]
fn every_byte_of_the_envelope_counts_except_the_hint() {
    let release = Release::new();
    let good = release.host.verify(&release.component, &release.envelope).unwrap();
    let text = String::from_utf8(release.envelope.clone()).unwrap();
    let hint = text.find("\"keyid\":\"").unwrap() + 9;
    let hint = hint..hint + 64;
    for offset in 0..release.envelope.len() {
        for flip in [0x01, 0x02, 0x20, 0x80] {
            let mut bytes = release.envelope.clone();
            bytes[offset] ^= flip;
            match release.host.verify(&release.component, &bytes) {
                // The hint is not signed and decides nothing: what is verified is the same to the last fact.
                Ok(verified) => {
                    assert!(hint.contains(&offset), "byte {offset} ^ {flip:#x} was accepted");
                    assert_eq!((verified.digest(), verified.signers()), (good.digest(), good.signers()));
                }
                Err(error) => drop(super::line(&error)),
            }
        }
    }
    // The twin of the loop: a wrong hint passes, and so does none at all.
    let without = format!("{}{}", &text[..hint.start], &text[hint.end..]);
    release.host.accept(&release.component, without.as_bytes());
}

#[test]
fn an_envelope_that_two_readers_could_read_differently_is_refused() {
    let release = Release::new();
    let text = String::from_utf8(release.envelope.clone()).unwrap();
    let url_alphabet = {
        let (start, end) = (text.find("\"sig\":\"").unwrap() + 7, text.rfind('"').unwrap());
        let signature = &text[start..end];
        assert_eq!(signature.len(), 88);
        text.replace(signature, &signature.replace('+', "-").replace('/', "_").replace('=', ""))
    };
    for bad in [
        text.replacen('{', "{\"payloadType\":\"x\",", 1),
        text.replacen('{', &format!("{{\"payloadType\":\"{PAYLOAD_TYPE}\","), 1),
        text.replacen('{', "{\"extra\":1,", 1),
        format!("{text} {{}}"),
        format!("{text}\0"),
        format!("\u{feff}{text}"),
        url_alphabet,
        text[..text.len() - 1].to_owned(),
        String::new(),
    ] {
        let error = release.host.refuse(&release.component, bad.as_bytes());
        assert!(matches!(error, TrustError::Envelope(_)), "{error}: {bad}");
    }
    let large = format!("{text}{}", " ".repeat(256 * 1024));
    assert!(super::line(&release.host.refuse(&release.component, large.as_bytes())).contains("longer"));
    // Space after the end is nothing that two readers disagree about.
    release.host.accept(&release.component, format!("{text}\n").as_bytes());
}

#[test]
fn a_second_spelling_of_a_signature_is_refused() {
    use ed25519_dalek::Signer as _;
    // The order of the group, little-endian: S + L verifies wherever S does, if nobody looks.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let release = Release::new();
    let payload = release.statement().to_string();
    let mut signature = release.key.raw.sign(&pae(PAYLOAD_TYPE, payload.as_bytes())).to_bytes();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    let bad = super::release::envelope_of(PAYLOAD_TYPE, payload.as_bytes(), &[(String::new(), signature.to_vec())]);
    let error = release.host.refuse(&release.component, &bad);
    assert!(matches!(error, TrustError::NoTrustedSignature { count: 1 }));
}

#[test]
fn the_size_cap_comes_before_everything() {
    let mut release = Release::new();
    release.host.limits.component_mib = 1;
    let error = release.host.refuse(&vec![0; (1 << 20) + 1], b"not even an envelope");
    assert!(super::line(&error).contains("component_mib"), "{error}");
    // The twin: of exactly that size it is looked at.
    let plain = component(&manifest(7));
    let padding = (1 << 20) - plain.len() - 8;
    let mut exact = Component::new();
    exact.section(&CustomSection { name: "pad".into(), data: vec![0; padding].into() });
    let mut exact = embed_manifest(&exact.finish(), &manifest(7)).unwrap();
    exact.truncate(1 << 20);
    assert!(!matches!(release.host.refuse(&exact, &release.envelope), TrustError::TooLarge { .. }));
}

#[test]
fn a_manifest_that_differs_from_the_statement_is_refused() {
    let release = Release::new();
    let shown = Manifest { description: "harmless".to_owned(), ..manifest(7) };
    let hidden = Manifest { capabilities: ["service".to_owned(), "probe".to_owned()].into(), ..shown.clone() };
    let bytes = component(&hidden);
    let envelope = signed(statement(&bytes, &shown).to_string().as_bytes(), &[&release.key]);
    assert!(matches!(release.host.refuse(&bytes, &envelope), TrustError::OtherManifest));
    let envelope = signed(statement(&bytes, &hidden).to_string().as_bytes(), &[&release.key]);
    release.host.accept(&bytes, &envelope);
    // Equal only after defaults are filled in is not equal: two tools could fill in differently.
    let mut spare = serde_json::to_value(manifest(7)).unwrap();
    spare.as_object_mut().unwrap().remove("triggers");
    let mut restated = release.statement();
    restated["predicate"]["manifest"] = spare;
    assert!(matches!(release.host.refuse(&release.component, &release.restated(&restated)), TrustError::OtherManifest));
}

#[test]
fn a_component_without_a_manifest_is_refused_even_if_signed() {
    let release = Release::new();
    let bytes = Component::new().finish();
    let envelope = signed(statement(&bytes, &manifest(7)).to_string().as_bytes(), &[&release.key]);
    assert!(matches!(release.host.refuse(&bytes, &envelope), TrustError::Section(_)));
    assert!(read_manifest(&bytes).is_err());
}

/// Made once: making keys touches the disk.
static RELEASE: LazyLock<Release> = LazyLock::new(Release::new);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// Two thousand random mutations: nothing is ever accepted but the signed bytes with the signed facts.
    #[test]
    fn no_mutation_is_accepted(
        edits in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<u8>(), 0_u8..4), 1..4),
    ) {
        let release = &*RELEASE;
        let (mut bytes, mut envelope) = (release.component.clone(), release.envelope.clone());
        for (component, at, value, act) in edits {
            let file = if component { &mut bytes } else { &mut envelope };
            let at = usize::from(at) % file.len().max(1);
            match act {
                0 if at < file.len() => file[at] = value,
                1 => file.insert(at, value),
                2 if at < file.len() => drop(file.remove(at)),
                _ => file.truncate(at),
            }
        }
        if let Ok(verified) = release.host.verify(&bytes, &envelope) {
            prop_assert_eq!(&bytes, &release.component);
            let good = release.host.verify(&release.component, &release.envelope).unwrap();
            prop_assert_eq!(verified.signers(), good.signers());
            prop_assert_eq!(verified.validity(), good.validity());
            // What is signed is the same to the bit: only the hint or space between tokens can differ.
            let payload = |bytes: &[u8]| {
                let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                STANDARD.decode(value["payload"].as_str().unwrap()).unwrap()
            };
            prop_assert!(payload(&envelope) == payload(&release.envelope));
        }
    }
}
