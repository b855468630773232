//! DSSE v1: an envelope that holds a payload, its type, and signatures over both.
//!
//! What is signed is the pre-authentication encoding, `DSSEv1 <len> <type> <len> <payload>`, so that a payload of one type
//! can never pass as another and nothing is parsed before its signature holds. The envelope itself is not signed, and is
//! therefore read more strictly than the specification asks: standard base64 only (it also allows the URL alphabet), no
//! unknown fields, no duplicate keys, nothing after the end. Every envelope accepted here is accepted by other DSSE
//! readers; not the other way round.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::TrustError;
use super::json::{Fields, parse};
use super::key::SigningKey;

/// The type of every payload here.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// A manifest has at most 64 KiB; with its statement and in base64 that is well below this.
pub(super) const LARGEST: usize = 256 * 1024;
/// More people than ever sign one release; each costs one check per trusted key.
pub(super) const MOST_SIGNATURES: usize = 16;

/// An envelope as read: nothing in it is verified.
pub(super) struct Envelope {
    pub(super) payload_type: String,
    pub(super) payload: Vec<u8>,
    pub(super) signatures: Vec<Signature>,
}

/// One signature as read.
pub(super) struct Signature {
    /// What the signer wrote about their key: a hint only.
    pub(super) hint: String,
    pub(super) bytes: [u8; 64],
}

impl Envelope {
    pub(super) fn new(payload: Vec<u8>) -> Self {
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload, signatures: Vec::new() }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > LARGEST {
            return Err(TrustError::Envelope(format!("it is longer than {LARGEST} bytes")));
        }
        Self::read(bytes).map_err(TrustError::Envelope)
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = Fields::of("the envelope", parse(bytes)?)?;
        let payload_type = fields.text("payloadType")?;
        let payload = decode("payload", &fields.text("payload")?)?;
        let list = fields.list("signatures")?;
        fields.finish()?;
        if list.is_empty() || list.len() > MOST_SIGNATURES {
            return Err(format!("it has {} signatures, not 1 to {MOST_SIGNATURES}", list.len()));
        }
        let mut signatures = Vec::with_capacity(list.len());
        for value in list {
            let mut fields = Fields::of("a signature", value)?;
            let hint = fields.optional_text("keyid")?.unwrap_or_default();
            let bytes = decode("sig", &fields.text("sig")?)?;
            fields.finish()?;
            let bytes = bytes.try_into().map_err(|_| "a signature does not have 64 bytes".to_owned())?;
            signatures.push(Signature { hint, bytes });
        }
        Ok(Self { payload_type, payload, signatures })
    }

    /// The bytes that are signed.
    pub(super) fn pae(&self) -> Vec<u8> {
        let mut out = format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, self.payload.len());
        out.reserve(self.payload.len());
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.payload);
        out
    }

    /// Adds the signature of `key`.
    pub(super) fn sign(&mut self, key: &SigningKey) {
        let bytes = key.sign(&self.pae());
        self.signatures.push(Signature { hint: key.public().id().to_string(), bytes });
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let signatures: Vec<_> = self
            .signatures
            .iter()
            .map(|signature| json!({"keyid": signature.hint, "sig": STANDARD.encode(signature.bytes)}))
            .collect();
        json!({"payloadType": self.payload_type, "payload": STANDARD.encode(&self.payload), "signatures": signatures})
            .to_string()
            .into_bytes()
    }
}

fn decode(key: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| format!("`{key}` is not standard base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_of_the_specification() {
        let envelope = Envelope {
            payload_type: "http://example.com/HelloWorld".to_owned(),
            payload: b"hello world".to_vec(),
            signatures: Vec::new(),
        };
        assert_eq!(envelope.pae(), b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn only_one_way_to_write_an_envelope() {
        let signature = STANDARD.encode([7; 64]);
        let good =
            format!(r#"{{"payloadType":"t","payload":"aGk=","signatures":[{{"keyid":"k","sig":"{signature}"}}]}}"#);
        let read = Envelope::parse(good.as_bytes()).unwrap();
        assert_eq!((read.payload.as_slice(), read.signatures.len()), (b"hi".as_slice(), 1));
        let one = format!(r#"{{"sig":"{signature}"}}"#);
        let seventeen =
            format!(r#"{{"payloadType":"t","payload":"","signatures":[{}]}}"#, [one.as_str(); 17].join(","));
        let large = good.replace("aGk=", &"A".repeat(LARGEST));
        for (bad, word) in [
            (good.replace("aGk=", "aGk"), "base64"),
            (good.replace("aGk=", "aGl="), "base64"),
            (good.replace("aGk=", "aGk=\\n"), "base64"),
            (good.replace("aGk=", "_-8="), "base64"),
            (format!("{good}x"), "trailing"),
            (format!("\u{feff}{good}"), "expected"),
            (good.replace("{\"payloadType\"", "{\"x\":1,\"payloadType\""), "unknown field"),
            (good.replace("{\"payloadType\"", "{\"payload\":\"\",\"payloadType\""), "twice"),
            (good.replace("{\"keyid\"", "{\"cert\":\"\",\"keyid\""), "unknown field"),
            (good.replace(&signature, "AAAA"), "64 bytes"),
            ("{\"payloadType\":\"t\",\"payload\":\"\",\"signatures\":[]}".to_owned(), "0 signatures"),
            (seventeen, "17 signatures"),
            (large, "longer"),
            ("[\"t\",\"\",[]]".to_owned(), "not a JSON object"),
            (String::new(), "EOF"),
        ] {
            let Err(error) = Envelope::parse(bad.as_bytes()) else { unreachable!("accepted: {word}") };
            assert!(error.to_string().contains(word), "{error} lacks {word}");
        }
    }
}
