//! From a literal to a bound value, by the column it is for.
//!
//! The judgement is the same for both databases and is made here, before the database sees the
//! value: it is the only place that can name the column and its type in the refusal without
//! repeating the value. What differs is the form: PostgreSQL is sent the text that its type's own
//! input function reads; SQLite is sent one of its five storage classes.

use super::catalog::{Column, Table};
use super::instant::{self, Datetime};
use super::kind::{Dialect, Kind, Scalar};
use super::literal::{self, Literal};
use super::sql::Bound;
use crate::problem;
use magic_contract::Failure;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// Arrays within arrays; PostgreSQL's own limit.
const ARRAY_DEPTH: usize = 6;

/// Why a value does not fit, as the end of a sentence about what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch(String);

impl Mismatch {
    fn given(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Binds a raw JSON value for a column.
///
/// # Errors
///
/// Misuse that names the column and its type, and never the value.
pub(crate) fn for_column(
    dialect: Dialect,
    table: &Table,
    column: &Column,
    raw: &RawValue,
) -> Result<Bound, Failure> {
    bind(dialect, column.kind, raw).map_err(|Mismatch(given)| {
        problem::misuse(format!(
            "column `{}` of `{}` is {} and takes {}; it was given {given}",
            column.name,
            table.name,
            column.declared,
            column.kind.takes(),
        ))
        .with_detail("table", table.name.clone())
        .with_detail("column", column.name.clone())
        .with_detail("type", column.declared.clone())
    })
}

/// Binds a raw JSON value for a place of that kind.
///
/// # Errors
///
/// [`Mismatch`].
pub(crate) fn bind(dialect: Dialect, kind: Kind, raw: &RawValue) -> Result<Bound, Mismatch> {
    let literal = read(raw)?;
    match (kind.array, literal) {
        (_, Literal::Null) => Ok(Bound::Null),
        (true, Literal::List(items)) => {
            let mut text = String::new();
            array(dialect, kind.scalar, items, ARRAY_DEPTH, &mut text)?;
            Ok(Bound::Text(text))
        }
        (true, other) => Err(Mismatch::given(other.given())),
        (false, literal) => scalar(dialect, kind.scalar, literal),
    }
}

/// Binds a value for a parameter that has no column: by what it is.
///
/// # Errors
///
/// [`Mismatch`].
pub(crate) fn bind_untyped(raw: &RawValue) -> Result<Bound, Mismatch> {
    Ok(match read(raw)? {
        Literal::Null => Bound::Null,
        Literal::Boolean(flag) => Bound::Integer(flag.into()),
        Literal::Integer(number) => Bound::Integer(number),
        Literal::Float(number, _) => real(number)?,
        Literal::Text(text) => Bound::Text(no_nul(text)?),
        Literal::Decimal(text) => sqlite_decimal(text)?,
        Literal::Datetime(datetime) => Bound::Text(instant::datetime_text(datetime)),
        Literal::Date(date) => Bound::Text(instant::date_text(date)),
        Literal::Time(time) => Bound::Text(instant::time_text(time)),
        Literal::Uuid(text) => Bound::Text(text),
        Literal::Bytes(bytes) => Bound::Bytes(bytes),
        Literal::List(raw) | Literal::Object(raw) | Literal::Json(raw) => json(raw.get())?,
    })
}

/// The text of an array of values that are text themselves.
pub(crate) fn array_text(values: &[Bound]) -> Bound {
    let mut text = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        element(value, &mut text);
    }
    text.push('}');
    Bound::Text(text)
}

impl Mismatch {
    /// The words.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn read(raw: &RawValue) -> Result<Literal<'_>, Mismatch> {
    Literal::read(raw).map_err(|problem| Mismatch::given(format!("something else: {problem}")))
}

fn array(
    dialect: Dialect,
    kind: Scalar,
    items: &RawValue,
    depth: usize,
    text: &mut String,
) -> Result<(), Mismatch> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Mismatch::given("lists that are nested too deeply"));
    };
    let items: Vec<&RawValue> =
        serde_json::from_str(items.get()).map_err(|_| Mismatch::given("no list"))?;
    text.push('{');
    for (index, raw) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match read(raw)? {
            Literal::Null => text.push_str("NULL"),
            // A list within an array of JSON could be either; it is read as a document.
            Literal::List(items) if kind != Scalar::Json => {
                array(dialect, kind, items, depth, text)?;
            }
            literal => {
                let value = scalar(dialect, kind, literal).map_err(|Mismatch(given)| {
                    Mismatch::given(format!("a list with {given} in it"))
                })?;
                element(&value, text);
            }
        }
    }
    text.push('}');
    Ok(())
}

/// One element of the text of an array, always quoted so that no text is taken for NULL or for a
/// delimiter (PostgreSQL documentation, 8.15.2).
fn element(value: &Bound, text: &mut String) {
    let Bound::Text(value) = value else {
        text.push_str("NULL");
        return;
    };
    text.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

fn scalar(dialect: Dialect, kind: Scalar, literal: Literal<'_>) -> Result<Bound, Mismatch> {
    use Dialect::{Postgres, Sqlite};
    let given = literal.given();
    let mismatch = || Mismatch::given(given);
    Ok(match (kind, literal) {
        (_, Literal::Null) => Bound::Null,

        (Scalar::Boolean, Literal::Boolean(flag)) => match dialect {
            Postgres => Bound::Text(flag.to_string()),
            Sqlite => Bound::Integer(flag.into()),
        },

        (Scalar::Integer(bits), Literal::Integer(number)) => integer(dialect, bits, number)?,
        (Scalar::Integer(bits), Literal::Decimal(text)) => {
            let whole = text
                .strip_prefix('-')
                .unwrap_or(&text)
                .bytes()
                .all(|byte| byte.is_ascii_digit());
            match (whole, text.parse()) {
                (false, _) => return Err(mismatch()),
                (true, Ok(number)) => integer(dialect, bits, number)?,
                (true, Err(_)) => return Err(out_of_range()),
            }
        }

        (Scalar::Float, Literal::Integer(number)) => match dialect {
            Postgres => Bound::Text(number.to_string()),
            // An integer stored in a column of real affinity becomes a real there.
            Sqlite => Bound::Integer(number),
        },
        (Scalar::Float, Literal::Float(number, text)) => match dialect {
            Postgres => Bound::Text(float_text(number, text)),
            Sqlite => real(number)?,
        },
        (Scalar::Float, Literal::Decimal(text)) => match (dialect, text.parse()) {
            (Postgres, _) => Bound::Text(text),
            (Sqlite, Ok(number)) => real(number)?,
            (Sqlite, Err(_)) => return Err(mismatch()),
        },

        (Scalar::Decimal, Literal::Integer(number)) => match dialect {
            Postgres => Bound::Text(number.to_string()),
            Sqlite => Bound::Integer(number),
        },
        (Scalar::Decimal, Literal::Float(number, text)) => match dialect {
            Postgres => Bound::Text(float_text(number, text)),
            Sqlite => real(number)?,
        },
        (Scalar::Decimal, Literal::Decimal(text)) => match dialect {
            Postgres => Bound::Text(text),
            Sqlite => sqlite_decimal(text)?,
        },

        (Scalar::Text, Literal::Text(text)) => Bound::Text(no_nul(text)?),
        (Scalar::Text | Scalar::Uuid, Literal::Uuid(text)) => Bound::Text(text),
        (Scalar::Uuid, Literal::Text(text)) => Bound::Text(
            literal::uuid(&text).ok_or_else(|| Mismatch::given("text that is no UUID"))?,
        ),

        (Scalar::Bytes, Literal::Bytes(bytes)) => match dialect {
            Postgres => Bound::Text(hexadecimal(&bytes)),
            Sqlite => Bound::Bytes(bytes),
        },

        (Scalar::Date, Literal::Date(date)) => Bound::Text(instant::date_text(date)),
        (Scalar::Time, Literal::Time(time)) => Bound::Text(instant::time_text(time)),
        (Scalar::LocalDatetime, Literal::Datetime(datetime @ Datetime::Local(_)))
        | (Scalar::Datetime, Literal::Datetime(datetime @ Datetime::Universal(_))) => {
            Bound::Text(instant::datetime_text(datetime))
        }
        (Scalar::Datetime, Literal::Datetime(Datetime::Local(_))) => {
            return Err(Mismatch::given(
                "one without; write datetime.now(timezone.utc) or .replace(tzinfo=..)",
            ));
        }
        (
            kind @ (Scalar::Date | Scalar::Time | Scalar::LocalDatetime | Scalar::Datetime),
            Literal::Text(text),
        ) => Bound::Text(time_from_text(dialect, kind, &text)?),

        (Scalar::Json, literal) => json_from(literal).map_err(|other| {
            Mismatch::given(if other.0.is_empty() {
                given.to_owned()
            } else {
                other.0
            })
        })?,

        (Scalar::Other, Literal::Text(text)) => Bound::Text(no_nul(text)?),
        (Scalar::Other, Literal::Integer(number)) => Bound::Text(number.to_string()),
        (Scalar::Other, Literal::Decimal(text)) => Bound::Text(text),
        (Scalar::Other, Literal::Float(number, text)) => Bound::Text(float_text(number, text)),

        (Scalar::Dynamic { .. }, Literal::Boolean(flag)) => Bound::Integer(flag.into()),
        (Scalar::Dynamic { .. }, Literal::Integer(number)) => Bound::Integer(number),
        (Scalar::Dynamic { .. }, Literal::Float(number, _)) => real(number)?,
        (Scalar::Dynamic { .. }, Literal::Decimal(text)) => sqlite_decimal(text)?,
        (Scalar::Dynamic { .. }, Literal::Uuid(text)) => Bound::Text(text),
        (Scalar::Dynamic { .. }, Literal::Bytes(bytes)) => Bound::Bytes(bytes),
        (Scalar::Dynamic { numeric }, Literal::Text(text)) => {
            if numeric && text.trim().parse::<f64>().is_ok() {
                return Err(Mismatch::given(
                    "text that SQLite would turn into a number there; declare the column TEXT",
                ));
            }
            Bound::Text(no_nul(text)?)
        }

        _ => return Err(mismatch()),
    })
}

fn integer(dialect: Dialect, bits: u8, number: i64) -> Result<Bound, Mismatch> {
    let fits = match bits {
        16 => i16::try_from(number).is_ok(),
        32 => i32::try_from(number).is_ok(),
        _ => true,
    };
    if !fits {
        return Err(out_of_range());
    }
    Ok(match dialect {
        Dialect::Postgres => Bound::Text(number.to_string()),
        Dialect::Sqlite => Bound::Integer(number),
    })
}

fn out_of_range() -> Mismatch {
    Mismatch::given("a whole number out of its range")
}

/// SQLite stores NaN as NULL without a word.
fn real(number: f64) -> Result<Bound, Mismatch> {
    if number.is_nan() {
        return Err(Mismatch::given("NaN, which SQLite cannot store"));
    }
    Ok(Bound::Real(number))
}

fn float_text(number: f64, text: Option<&str>) -> String {
    match text {
        Some(text) => text.to_owned(),
        None if number.is_nan() => "NaN".to_owned(),
        None if number > 0.0 => "Infinity".to_owned(),
        None => "-Infinity".to_owned(),
    }
}

/// SQLite has no decimal type: a column declared as one holds 64-bit integers and doubles. An
/// integer of 64 bits and any number of at most 15 significant digits come out as they went in
/// (IEEE 754 doubles, `DBL_DIG`); more would be rounded without a word.
fn sqlite_decimal(text: String) -> Result<Bound, Mismatch> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Bound::Integer(number));
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    let number: f64 = text
        .parse()
        .map_err(|_| Mismatch::given("a Decimal that is no number"))?;
    let normal = number == 0.0 || (1e-290..1e290).contains(&number.abs());
    if significant > 15 || !normal || (number == 0.0 && significant > 0) {
        return Err(Mismatch::given(
            "a Decimal that SQLite cannot keep exactly: it has more than 15 digits, or is NaN or \
             infinite; use PostgreSQL, or a TEXT column and str()",
        ));
    }
    Ok(Bound::Real(number))
}

fn no_nul(text: String) -> Result<String, Mismatch> {
    if text.contains('\0') {
        return Err(Mismatch::given("text with the character NUL in it"));
    }
    Ok(text)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// JSON input has no dates, so text in the form of one is taken for one.
fn time_from_text(dialect: Dialect, kind: Scalar, text: &str) -> Result<String, Mismatch> {
    // What PostgreSQL gives out for its infinities it also takes back.
    let infinite = matches!(text, "infinity" | "-infinity");
    if infinite && dialect == Dialect::Postgres && kind != Scalar::Time {
        return Ok(text.to_owned());
    }
    let (read, what) = match kind {
        Scalar::Date => (
            instant::date(text).map(instant::date_text),
            "text that is no date such as 2026-01-31",
        ),
        Scalar::Time => (
            instant::time(text).map(instant::time_text),
            "text that is no time such as 10:00:00",
        ),
        Scalar::LocalDatetime => (
            instant::datetime(text)
                .filter(|datetime| matches!(datetime, Datetime::Local(_)))
                .map(instant::datetime_text),
            "text that is no datetime such as 2026-01-31T10:00:00, without an offset",
        ),
        _ => (
            instant::datetime(text)
                .filter(|datetime| matches!(datetime, Datetime::Universal(_)))
                .map(instant::datetime_text),
            "text that is no datetime such as 2026-01-31T10:00:00+00:00, with its offset",
        ),
    };
    read.ok_or_else(|| Mismatch::given(what))
}

/// The text of a document. `None` is SQL's NULL; a JSON null can be said only by a document that
/// says that it is one.
fn json_from(literal: Literal<'_>) -> Result<Bound, Mismatch> {
    let text = match literal {
        Literal::Boolean(flag) => flag.to_string(),
        Literal::Integer(number) => number.to_string(),
        Literal::Float(_, Some(text)) => text.to_owned(),
        Literal::Text(text) => serde_json::Value::String(text).to_string(),
        // A whole number beyond 64 bits comes as a decimal, and JSON has room for it.
        Literal::Decimal(text)
            if text
                .strip_prefix('-')
                .unwrap_or(&text)
                .bytes()
                .all(|byte| byte.is_ascii_digit()) =>
        {
            text
        }
        Literal::List(raw) | Literal::Object(raw) | Literal::Json(raw) => raw.get().to_owned(),
        _ => return Err(Mismatch(String::new())),
    };
    json(&text)
}

fn json(text: &str) -> Result<Bound, Mismatch> {
    literal::storable_json(text).map_err(Mismatch::given)?;
    Ok(Bound::Text(text.to_owned()))
}

#[cfg(test)]
mod tests;
