//! Reads request bodies: strict JSON, one document, no key twice, within limits.
//!
//! Two readers that disagree about a document are an attack waiting to happen, so what the standard
//! leaves open is closed here. A key that is given twice is refused (elsewhere the last or the first
//! wins). Numbers: an integer that fits 64 bits, signed or unsigned, keeps its value; every other
//! number becomes the nearest 64-bit float; a number beyond the floats is refused. Money and long
//! identifiers therefore travel as strings or as integers. Nothing may follow the document but
//! white space, and a byte order mark is refused, as RFC 8259 lets a reader do.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error_code::ErrorCode;
use crate::failure::{Failure, Reason};
use crate::violation::shorten;

/// How large and how deep a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// The most bytes.
    pub bytes: usize,
    /// The deepest nesting of arrays and objects. The parser itself ends at 127.
    pub depth: usize,
    /// The most values, members and items at every level counted. A tree of small values takes many
    /// times the memory of its text, which the bytes alone do not bound.
    pub values: usize,
}

impl Default for JsonLimits {
    /// 8 MiB and 100 levels, the limits of the worker's channel, and 250,000 values.
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            depth: 100,
            values: 250_000,
        }
    }
}

/// Reads one JSON document.
///
/// # Errors
/// E1004 with `details.line` and `details.column` of the place where reading stopped.
pub fn read_json(bytes: &[u8], limits: JsonLimits) -> Result<Value, Failure> {
    if bytes.len() > limits.bytes {
        let message = format!(
            "the body has {} bytes, more than {}",
            bytes.len(),
            limits.bytes
        );
        return Err(
            Failure::new(ErrorCode::UnacceptableBody, message).with_reason(Reason::TooLarge)
        );
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(refuse(
            "the body is empty, and one JSON document is expected",
            1,
            1,
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(&bytes[..error.valid_up_to()]);
        refuse("the body is not UTF-8", line, column)
    })?;
    if text.starts_with('\u{feff}') {
        return Err(refuse("the body starts with a byte order mark", 1, 1));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values_left = Cell::new(limits.values);
    let value = Strict {
        depth_left: limits.depth,
        values_left: &values_left,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        let text = error.to_string();
        // The parser appends the place to its message; here the place has fields of its own.
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message);
        let message = match message {
            "recursion limit exceeded" => TOO_DEEP,
            other => other,
        };
        refuse(
            &format!("the body is not acceptable JSON: {message}"),
            error.line(),
            error.column(),
        )
    })
}

const TOO_MANY: &str = "there are too many values";
const TOO_DEEP: &str = "arrays and objects are nested too deeply";

fn refuse(message: &str, line: usize, column: usize) -> Failure {
    Failure::new(
        ErrorCode::UnacceptableBody,
        format!("{message} (line {line}, column {column})"),
    )
    .with_reason(Reason::Json)
    .with_detail("line", line)
    .with_detail("column", column)
}

fn place(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    (line, before.len() - start + 1)
}

/// Builds a value while counting depth and values, and refusing repeated keys.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    values_left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        self.depth_left
            .checked_sub(1)
            .map(|depth_left| Self {
                depth_left,
                ..*self
            })
            .ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.values_left.get().checked_sub(1);
        self.values_left
            .set(left.ok_or_else(|| D::Error::custom(TOO_MANY))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let inner = self.deeper::<A::Error>()?;
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let inner = self.deeper::<A::Error>()?;
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key `{}` is given twice",
                    shorten(&key)
                )));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
