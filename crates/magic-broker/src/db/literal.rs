//! A value as a controller wrote it, before any column says what it should be.
//!
//! Types of Python that JSON lacks are objects with one member whose name begins with `$`. A
//! dictionary of the author's own that happens to have such a key comes wrapped in `$json`, so an
//! object means one thing only. Text of JSON is kept as it came, because a column of JSON must not
//! lose the digits of a number on its way through this program.

use super::instant::{self, Datetime};
use base64::Engine as _;
use jiff::civil::{Date, Time};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// The most columns that one row may set, and members that one condition may have.
pub(crate) const MEMBERS: usize = 1_000;

/// Digits, in all, of a decimal number. PostgreSQL keeps at most 131,072 before the point and 16,383
/// behind it.
const DECIMAL_LENGTH: usize = 150_000;

/// How deep a JSON document may be; the parser itself ends at 128.
const JSON_DEPTH: usize = 100;

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Literal<'a> {
    /// `None`.
    Null,
    /// `True` or `False`.
    Boolean(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// A floating point number, and its text if it is finite.
    Float(f64, Option<&'a str>),
    /// Text.
    Text(String),
    /// A decimal number: the text of a valid one.
    Decimal(String),
    /// A date and time.
    Datetime(Datetime),
    /// A date.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A UUID in its canonical form.
    Uuid(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(&'a RawValue),
    /// A dictionary.
    Object(&'a RawValue),
    /// A document that says of itself that it is one.
    Json(&'a RawValue),
}

/// Why a value is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LiteralProblem {
    /// An object with a member that begins with `$` and is no known one.
    #[error("it is an object with a `$` key that means nothing here; wrap it in {{\"$json\": ..}}")]
    UnknownTag,
    /// The text of a tagged value is not of its type.
    #[error("it is a `{0}` whose text is not one")]
    BadText(&'static str),
}

impl Literal<'_> {
    /// What was given, in words.
    pub(crate) fn given(&self) -> &'static str {
        match self {
            Self::Null => "None",
            Self::Boolean(_) => "True or False",
            Self::Integer(_) => "a whole number",
            Self::Float(..) => "a float",
            Self::Text(_) => "text",
            Self::Decimal(_) => "a Decimal",
            Self::Datetime(Datetime::Local(_)) => "a datetime without an offset",
            Self::Datetime(Datetime::Universal(_)) => "a datetime with an offset",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::Uuid(_) => "a UUID",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Object(_) | Self::Json(_) => "a dictionary",
        }
    }
}

impl<'a> Literal<'a> {
    /// Reads one value.
    ///
    /// # Errors
    ///
    /// [`LiteralProblem`].
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, LiteralProblem> {
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            Some(b'[') => Self::List(raw),
            Some(b'{') => return object(raw),
            Some(b'"') => Self::Text(string(raw).ok_or(LiteralProblem::BadText("str"))?),
            _ => number(text)?,
        })
    }
}

fn number(text: &str) -> Result<Literal<'_>, LiteralProblem> {
    if !text.contains(['.', 'e', 'E']) {
        return Ok(match text.parse() {
            Ok(number) => Literal::Integer(number),
            Err(_) => Literal::Decimal(decimal(text).ok_or(LiteralProblem::BadText("int"))?),
        });
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Literal::Float(number, Some(text))),
        _ => Err(LiteralProblem::BadText("float")),
    }
}

/// The text of a JSON string. One that JSON allows and UTF-8 does not is none.
fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn object(raw: &RawValue) -> Result<Literal<'_>, LiteralProblem> {
    let keys: Keys<'_> = serde_json::from_str(raw.get()).map_err(|_| LiteralProblem::UnknownTag)?;
    if !keys.tagged {
        return Ok(Literal::Object(raw));
    }
    let Some((tag, value)) = keys.only else {
        return Err(LiteralProblem::UnknownTag);
    };
    if tag == "$json" {
        return Ok(Literal::Json(value));
    }
    let text = string(value).ok_or(LiteralProblem::UnknownTag)?;
    Ok(match tag.as_str() {
        "$decimal" => Literal::Decimal(decimal(&text).ok_or(LiteralProblem::BadText("Decimal"))?),
        "$datetime" => {
            Literal::Datetime(instant::datetime(&text).ok_or(LiteralProblem::BadText("datetime"))?)
        }
        "$date" => Literal::Date(instant::date(&text).ok_or(LiteralProblem::BadText("date"))?),
        "$time" => Literal::Time(instant::time(&text).ok_or(LiteralProblem::BadText("time"))?),
        "$uuid" => Literal::Uuid(uuid(&text).ok_or(LiteralProblem::BadText("UUID"))?),
        "$bytes" => Literal::Bytes(
            base64::engine::general_purpose::STANDARD
                .decode(&text)
                .map_err(|_| LiteralProblem::BadText("bytes"))?,
        ),
        "$float" => match text.as_str() {
            "NaN" => Literal::Float(f64::NAN, None),
            "Infinity" => Literal::Float(f64::INFINITY, None),
            "-Infinity" => Literal::Float(f64::NEG_INFINITY, None),
            _ => return Err(LiteralProblem::BadText("float")),
        },
        _ => return Err(LiteralProblem::UnknownTag),
    })
}

/// A decimal number in the form that both databases read, or nothing. Python writes exponents as
/// `E+5`; so may we.
pub(crate) fn decimal(text: &str) -> Option<String> {
    if text.len() > DECIMAL_LENGTH {
        return None;
    }
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Some(text.to_owned());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits_of = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        (1..=6).contains(&digits_of.len()) && digits(digits_of)
    });
    let valid = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_fits;
    valid.then(|| text.to_owned())
}

/// A UUID in its canonical form, or nothing: 32 hexadecimal digits, with or without the hyphens in
/// their places.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hyphened = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|place| bytes[*place] == b'-');
    if !hyphened && bytes.len() != 32 {
        return None;
    }
    let digits: String = text
        .chars()
        .enumerate()
        .filter(|(place, _)| !(hyphened && matches!(place, 8 | 13 | 18 | 23)))
        .map(|(_, character)| character.to_ascii_lowercase())
        .collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    ))
}

/// Whether a document can be stored in both databases: not too deep, and without the character that
/// PostgreSQL has no place for.
pub(crate) fn storable_json(text: &str) -> Result<(), &'static str> {
    const NUL: &str = "a document with the character NUL in it";
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "a document that is too deep or no JSON")?;
    let mut waiting = vec![(&value, 0_usize)];
    while let Some((value, depth)) = waiting.pop() {
        if depth > JSON_DEPTH {
            return Err("a document that is too deep");
        }
        match value {
            serde_json::Value::String(text) if text.contains('\0') => return Err(NUL),
            serde_json::Value::Array(items) => {
                waiting.extend(items.iter().map(|item| (item, depth + 1)));
            }
            serde_json::Value::Object(members) => {
                if members.keys().any(|key| key.contains('\0')) {
                    return Err(NUL);
                }
                waiting.extend(members.values().map(|member| (member, depth + 1)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What must be known of an object to tell what it is.
struct Keys<'a> {
    tagged: bool,
    only: Option<(String, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Keys<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Keys<'de>, A::Error> {
                let Some((key, value)) = members.next_entry::<String, &'de RawValue>()? else {
                    return Ok(Keys {
                        tagged: false,
                        only: None,
                    });
                };
                let mut tagged = key.starts_with('$');
                let mut only = Some((key, value));
                while let Some((key, IgnoredAny)) = members.next_entry::<String, IgnoredAny>()? {
                    tagged |= key.starts_with('$');
                    only = None;
                }
                Ok(Keys { tagged, only })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The members of an object in their order. No name is there twice, since two readers could
/// disagree about which one counts, and there are at most [`MEMBERS`].
#[derive(Debug)]
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.len() == MEMBERS {
                        return Err(A::Error::custom("an object with too many members"));
                    }
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom("a name is given twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, LiteralProblem> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        Literal::read(raw).map(|literal| format!("{} {literal:?}", literal.given()))
    }

    #[test]
    fn objects_mean_one_thing() {
        for (text, begins) in [
            (r#"{"a": 1, "b": 2}"#, Ok("a dictionary Object")),
            (r#"{"$json": {"$decimal": "1"}}"#, Ok("a dictionary Json")),
            (r#"{"$decimal": "1.10"}"#, Ok("a Decimal Decimal(\"1.10\")")),
            (
                r#"{"$decimal": "1.1.0"}"#,
                Err(LiteralProblem::BadText("Decimal")),
            ),
            (r#"{"$decimal": 1}"#, Err(LiteralProblem::UnknownTag)),
            (
                r#"{"$decimal": "1", "a": 2}"#,
                Err(LiteralProblem::UnknownTag),
            ),
            (r#"{"a": 2, "$x": 1}"#, Err(LiteralProblem::UnknownTag)),
            (r#"{"$bytes": "AAE="}"#, Ok("bytes Bytes([0, 1])")),
            (r#"{"$float": "NaN"}"#, Ok("a float Float(NaN, None)")),
            (
                r#"{"$uuid": "A0EEBC999C0B4EF8BB6D6BB9BD380A11"}"#,
                Ok("a UUID Uuid(\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\")"),
            ),
            (
                "9223372036854775807",
                Ok("a whole number Integer(9223372036854775807)"),
            ),
            (
                "9223372036854775808",
                Ok("a Decimal Decimal(\"9223372036854775808\")"),
            ),
            ("1e999", Err(LiteralProblem::BadText("float"))),
            (r#""\ud800""#, Err(LiteralProblem::BadText("str"))),
        ] {
            let read = read(text);
            match begins {
                Ok(begins) => assert!(
                    read.as_ref().is_ok_and(|read| read.starts_with(begins)),
                    "{text}: {read:?}"
                ),
                Err(problem) => assert_eq!(read, Err(problem), "{text}"),
            }
        }
    }

    #[test]
    fn members_are_unique_and_bounded() {
        assert!(serde_json::from_str::<Members<'_>>(r#"{"a": 1, "b": 2}"#).is_ok());
        assert!(serde_json::from_str::<Members<'_>>(r#"{"a": 1, "a": 2}"#).is_err());
        let many: Vec<String> = (0..=MEMBERS).map(|n| format!("\"{n}\": 1")).collect();
        let text = format!("{{{}}}", many.join(","));
        assert!(serde_json::from_str::<Members<'_>>(&text).is_err());
    }
}
