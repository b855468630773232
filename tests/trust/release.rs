//! A publisher's release made by hand: component, statement, envelope, keys, and the host that judges it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use guardian::durable::Folder;
use guardian::model::{Digest, Limits, Manifest, ManualClock, Name, PlaybookId, Timestamp};
use guardian::trust::{PublicKey, Seen, SigningKey, Terms, TrustError, TrustStore, VerifiedPlaybook, verify};
use serde_json::{Value, json};
use wasm_encoder::{
    CodeSection, Component, CustomSection, Function, FunctionSection, Instruction, Module, ModuleSection, TypeSection,
};

pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Stands in the code of the component, where a test finds it.
pub(crate) const CODE: i32 = 0x1122_3344;
/// Stands in a custom section of the component.
pub(crate) const NOTE: &[u8] = b"a note of the tool chain";

/// One key in both implementations.
pub(crate) struct Key {
    pub(crate) raw: ed25519_dalek::SigningKey,
    pub(crate) ours: SigningKey,
}

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let line = format!("guardian-ed25519-private:{}\n", STANDARD.encode([seed; 32]));
        folder.create("key", line.as_bytes()).unwrap();
        let raw = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let ours = SigningKey::load(&folder, "key").unwrap();
        assert_eq!(raw.verifying_key().as_bytes(), ours.public().as_bytes());
        Self { raw, ours }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.ours.public()
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn manifest(release: u64) -> Manifest {
    Manifest::from_toml(&format!(
        "publisher='acme'\nname='web_restart'\nversion='1.0.{release}'\nrelease={release}\ndescription='d'\n\
         capabilities=['service']\nroles={{target='service'}}"
    ))
    .unwrap()
}

/// A small valid component with code, a note and this manifest as its last section.
pub(crate) fn component(manifest: &Manifest) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut function = Function::new([]);
    function.instruction(&Instruction::I32Const(CODE)).instruction(&Instruction::Drop).instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.section(&CustomSection { name: "note".into(), data: NOTE.into() });
    guardian::trust::embed_manifest(&component.finish(), manifest).unwrap()
}

/// The statement that a correct publisher makes about these bytes.
pub(crate) fn statement(component: &[u8], manifest: &Manifest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": format!("{}-{}.wasm", manifest.name, manifest.release),
            "digest": {"sha256": Digest::of(component).hex()},
        }],
        "predicateType": "https://guardian.dev/playbook-release/v1",
        "predicate": {
            "manifest": manifest,
            "notBefore": "2026-01-01T00:00:00Z",
            "notAfter": "2027-01-01T00:00:00Z",
        },
    })
}

/// The pre-authentication encoding, written a second time.
pub(crate) fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

pub(crate) fn envelope_of(kind: &str, payload: &[u8], signatures: &[(String, Vec<u8>)]) -> Vec<u8> {
    let signatures: Vec<Value> =
        signatures.iter().map(|(hint, bytes)| json!({"keyid": hint, "sig": STANDARD.encode(bytes)})).collect();
    json!({"payloadType": kind, "payload": STANDARD.encode(payload), "signatures": signatures}).to_string().into_bytes()
}

/// An envelope over this payload, signed by these keys.
pub(crate) fn signed(payload: &[u8], keys: &[&Key]) -> Vec<u8> {
    let message = pae(PAYLOAD_TYPE, payload);
    let signatures: Vec<(String, Vec<u8>)> =
        keys.iter().map(|key| (key.public().id().to_string(), key.raw.sign(&message).to_bytes().to_vec())).collect();
    envelope_of(PAYLOAD_TYPE, payload, &signatures)
}

/// The host that judges: `acme` is trusted with one key, the clock stands in the middle of 2026, nothing was seen before.
pub(crate) struct Host {
    pub(crate) trust: TrustStore,
    pub(crate) clock: ManualClock,
    pub(crate) seen: Seen,
    pub(crate) limits: Limits,
}

impl Host {
    pub(crate) fn new(key: &Key) -> Self {
        let mut trust = TrustStore::empty();
        trust.add(&name("acme"), Some(name("alice")), key.public(), None).unwrap();
        Self {
            trust,
            clock: ManualClock::at(at("2026-06-01T12:00:00Z")),
            seen: Seen::default(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn verify(&self, component: &[u8], envelope: &[u8]) -> Result<VerifiedPlaybook, TrustError> {
        let history = |_: &PlaybookId, _: &Digest| self.seen.clone();
        let terms = Terms { trust: &self.trust, history: &history, clock: &self.clock, limits: &self.limits };
        verify(Arc::from(component), envelope, &terms)
    }

    /// Verifies what must pass.
    #[track_caller]
    pub(crate) fn accept(&self, component: &[u8], envelope: &[u8]) {
        drop(self.verify(component, envelope).unwrap());
    }

    /// Verifies what must be refused, and gives the reason.
    #[track_caller]
    pub(crate) fn refuse(&self, component: &[u8], envelope: &[u8]) -> TrustError {
        let error = self.verify(component, envelope).unwrap_err();
        super::line(&error);
        error
    }
}

/// The correct release 7 of `acme/web_restart`, its signer, and a host that trusts them.
pub(crate) struct Release {
    pub(crate) key: Key,
    pub(crate) component: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    pub(crate) host: Host,
}

impl Release {
    pub(crate) fn new() -> Self {
        let key = Key::new(1);
        let manifest = manifest(7);
        let component = component(&manifest);
        let envelope = signed(statement(&component, &manifest).to_string().as_bytes(), &[&key]);
        let host = Host::new(&key);
        Self { key, component, envelope, host }
    }

    /// The trail says that these very bytes were accepted before.
    pub(crate) fn accept_before(&mut self) {
        self.host.seen.accepted.insert(7, Digest::of(&self.component));
    }

    pub(crate) fn statement(&self) -> Value {
        statement(&self.component, &manifest(7))
    }

    /// The same release with another statement, signed by its own key.
    pub(crate) fn restated(&self, statement: &Value) -> Vec<u8> {
        signed(statement.to_string().as_bytes(), &[&self.key])
    }
}
