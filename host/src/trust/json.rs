//! JSON read strictly: what two readers could read differently is refused.
//!
//! The usual reader takes the last of two equal keys, takes a list where a record is meant, and skips what it does not
//! know. A signed text that the publisher's tool, an auditor's tool and this host understand differently is an attack in
//! itself, so here a duplicate key at any depth, a value of another type, an unknown field, a byte order mark and bytes
//! after the end are all errors. Depth is bounded by the reader (128).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::model::escape_to;

/// How much of an unexpected name or message is shown.
const SHOWN: usize = 96;

/// Reads one JSON value and nothing else.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice::<Strict>(bytes)
        .map(|Strict(value)| value)
        .map_err(|error| escape_to(&error.to_string(), SHOWN))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(Self)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The fields of one record, taken out one by one; what is left at the end is unknown and refused.
pub(super) struct Fields {
    what: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(what: &'static str, value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self { what, map }),
            _ => Err(format!("{what} is not a JSON object")),
        }
    }

    pub(super) fn take(&mut self, key: &'static str) -> Result<Value, String> {
        self.map.remove(key).ok_or_else(|| format!("{} has no `{key}`", self.what))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<String, String> {
        match self.take(key)? {
            Value::String(text) => Ok(text),
            _ => Err(format!("`{key}` of {} is not a string", self.what)),
        }
    }

    pub(super) fn optional_text(&mut self, key: &'static str) -> Result<Option<String>, String> {
        if self.map.contains_key(key) { self.text(key).map(Some) } else { Ok(None) }
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<Value>, String> {
        match self.take(key)? {
            Value::Array(values) => Ok(values),
            _ => Err(format!("`{key}` of {} is not a list", self.what)),
        }
    }

    pub(super) fn finish(self) -> Result<(), String> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{} has an unknown field `{}`", self.what, escape_to(key, SHOWN))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"a":1,"b":2,"\u0061":3}]}"#,
            "{} {}",
            "{}x",
            "\u{feff}{}",
            "",
            "{\"a\":1,}",
            "'a'",
            "NaN",
            "1e999",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(parse(&[b'"', 0xff, b'"']).is_err());
        assert_eq!(parse(br#"{"a":[1,null,"x"]}"#).unwrap(), serde_json::json!({"a": [1, null, "x"]}));
    }
}
