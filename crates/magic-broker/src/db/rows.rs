//! Runs statements, and turns what comes back into JSON that keeps each value's meaning.
//!
//! PostgreSQL makes the JSON itself, a row at a time, and it is passed on unread. SQLite gives a
//! value's storage class, which says little: `5` may be a number, a decimal or a truth value. The
//! column's kind decides, and a value that its kind has no reading for is an error, since a value
//! that changes its type from row to row would be worse.

use super::catalog::Column;
use super::connection::Connection;
use super::instant::{self, Datetime};
use super::kind::{Kind, Scalar};
use super::literal;
use super::sql::{Bound, CheckedSql, Statement};
use crate::problem;
use base64::Engine as _;
use futures_util::TryStreamExt as _;
use magic_contract::Failure;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{AssertSqlSafe, Decode, Row as _, SqlSafeStr as _, SqlStr, Sqlite, ValueRef as _};
use std::fmt::Write as _;

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Its type as the database calls it.
    pub(crate) declared: String,
}

impl From<&Column> for Shown {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            kind: column.kind,
            declared: column.declared.clone(),
        }
    }
}

/// Why a statement did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The database says so.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// We say so.
    #[error("{0}")]
    Refused(Box<Failure>),
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Refused(Box::new(failure))
    }
}

/// Rows of an answer, as they come.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<Shown>,
    /// Per column of no type, what was seen in it.
    seen: Vec<Seen>,
    text: String,
    count: u64,
    most_rows: u64,
    most_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    bytes: bool,
    other: bool,
}

impl Rows {
    /// None yet.
    pub(crate) fn new(columns: Vec<Shown>, most_rows: u64, most_bytes: u64) -> Self {
        Self {
            seen: vec![Seen::default(); columns.len()],
            columns,
            text: String::new(),
            count: 0,
            most_rows,
            most_bytes,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The text of the rows, joined by commas.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The object that names the columns whose values a reader converts.
    ///
    /// # Errors
    ///
    /// When a column of no declared type holds bytes in one row and something else in another.
    pub(crate) fn columns(&self) -> Result<String, Failure> {
        let mut text = String::from("{");
        for (column, seen) in self.columns.iter().zip(&self.seen) {
            if seen.bytes && seen.other {
                return Err(unreadable(column, "bytes beside other values"));
            }
            let kind = if seen.bytes {
                Some("bytes")
            } else {
                column.kind.on_the_wire()
            };
            if let Some(kind) = kind {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(&quoted(&column.name));
                let _ = write!(text, ":\"{kind}\"");
            }
        }
        text.push('}');
        Ok(text)
    }

    /// Makes room for one more row.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.count >= self.most_rows {
            return Err(too_many_rows(self.most_rows));
        }
        if self.count > 0 {
            self.text.push(',');
        }
        self.count += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        if self.text.len() as u64 > self.most_bytes {
            return Err(too_many_bytes(self.most_bytes));
        }
        Ok(())
    }

    fn push_json(&mut self, row: Option<&str>) -> Result<(), Failure> {
        self.begin()?;
        self.text
            .push_str(row.ok_or_else(|| too_many_bytes(self.most_bytes))?);
        self.end()
    }

    fn push_sqlite(&mut self, row: &SqliteRow) -> Result<(), RunError> {
        self.begin()?;
        self.text.push('{');
        for index in 0..self.columns.len() {
            let (column, seen) = (&self.columns[index], &mut self.seen[index]);
            if index > 0 {
                self.text.push(',');
            }
            self.text.push_str(&quoted(&column.name));
            self.text.push(':');
            value(
                &mut self.text,
                column.kind.scalar,
                seen,
                row.try_get_raw(index)?,
            )
            .map_err(|what| unreadable(column, what))?;
        }
        self.text.push('}');
        Ok(self.end()?)
    }
}

fn too_many_rows(most: u64) -> Failure {
    problem::exhausted(
        "rows",
        format!(
            "the call would return more than {most} rows; ask for them in parts with `limit` and \
             `offset`, or narrow `where`"
        ),
    )
    .with_detail("limit", most)
}

fn too_many_bytes(most: u64) -> Failure {
    problem::exhausted(
        "bytes",
        format!(
            "the call would return more than {most} bytes; name the `columns` that are needed, or \
             ask for fewer rows with `limit` and `offset`"
        ),
    )
    .with_detail("limit", most)
}

fn unreadable(column: &Shown, what: &'static str) -> Failure {
    problem::backend(
        format!(
            "column `{}` is {} and holds {what} in one of the rows",
            column.name, column.declared
        ),
        false,
        "a stored value has no reading as its declared type",
    )
    .with_detail("column", column.name.clone())
}

/// Collects the rows of a statement whose first columns are those of `rows`.
///
/// # Errors
///
/// [`RunError`].
pub(crate) async fn collect(
    connection: &mut Connection<'_>,
    statement: &Statement,
    rows: &mut Rows,
) -> Result<(), RunError> {
    match connection {
        Connection::Postgres(connection) => {
            let mut stream = postgres_query(statement).fetch(&mut **connection);
            while let Some(row) = stream.try_next().await? {
                rows.push_json(row.try_get(0)?)?;
            }
        }
        Connection::Sqlite(connection) => {
            let mut stream = sqlite_query(statement).fetch(&mut **connection);
            while let Some(row) = stream.try_next().await? {
                let fits: Option<bool> = row.try_get(rows.columns.len())?;
                if fits != Some(true) {
                    return Err(too_many_bytes(rows.most_bytes).into());
                }
                rows.push_sqlite(&row)?;
            }
        }
    }
    Ok(())
}

/// Collects the rows of raw SQL in SQLite, whose columns `describe` tells from the first row.
///
/// # Errors
///
/// [`RunError`].
pub(crate) async fn collect_raw(
    connection: &mut sqlx::SqliteConnection,
    statement: &Statement,
    rows: &mut Rows,
) -> Result<(), RunError> {
    let mut stream = sqlite_query(statement).fetch(connection);
    while let Some(row) = stream.try_next().await? {
        rows.push_sqlite(&row)?;
    }
    Ok(())
}

/// Runs a statement that gives nothing back, and tells how many rows it changed.
///
/// # Errors
///
/// [`RunError`].
pub(crate) async fn execute(
    connection: &mut Connection<'_>,
    statement: &Statement,
) -> Result<u64, RunError> {
    Ok(match connection {
        Connection::Postgres(connection) => postgres_query(statement)
            .execute(&mut **connection)
            .await?
            .rows_affected(),
        Connection::Sqlite(connection) => sqlite_query(statement)
            .execute(&mut **connection)
            .await?
            .rows_affected(),
    })
}

/// Runs a statement that gives one number.
///
/// # Errors
///
/// [`RunError`].
pub(crate) async fn number(
    connection: &mut Connection<'_>,
    statement: &Statement,
) -> Result<i64, RunError> {
    Ok(match connection {
        Connection::Postgres(connection) => postgres_query(statement)
            .fetch_one(&mut **connection)
            .await?
            .try_get(0)?,
        Connection::Sqlite(connection) => sqlite_query(statement)
            .fetch_one(&mut **connection)
            .await?
            .try_get(0)?,
    })
}

// The three places where text becomes SQL. A `Statement` is made by `sql::Writer` alone, and
// `CheckedSql` by the checker of raw SQL.

/// The text of checked SQL, to be prepared.
pub(crate) fn checked_text(sql: &CheckedSql) -> SqlStr {
    AssertSqlSafe(sql.as_str().to_owned()).into_sql_str()
}

fn postgres_query(
    statement: &Statement,
) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.text().to_owned()))
        .persistent(statement.is_worth_keeping());
    for value in statement.values() {
        query = match value {
            Bound::Null => query.bind(None::<String>),
            Bound::Text(text) => query.bind(text.as_str()),
            // The kinds below are SQLite's; as text they mean the same.
            Bound::Integer(number) => query.bind(number.to_string()),
            Bound::Real(number) => query.bind(number.to_string()),
            Bound::Bytes(_) => query.bind(None::<String>),
        };
    }
    query
}

fn sqlite_query(
    statement: &Statement,
) -> sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.text().to_owned()))
        .persistent(statement.is_worth_keeping());
    for value in statement.values() {
        query = match value {
            Bound::Null => query.bind(None::<String>),
            Bound::Integer(number) => query.bind(*number),
            Bound::Real(number) => query.bind(*number),
            Bound::Text(text) => query.bind(text.clone()),
            Bound::Bytes(bytes) => query.bind(bytes.clone()),
        };
    }
    query
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends one value of SQLite. The error says what it is that has no reading.
fn value(
    out: &mut String,
    kind: Scalar,
    seen: &mut Seen,
    value: SqliteValueRef<'_>,
) -> Result<(), &'static str> {
    const UNDECODABLE: &str = "a value that cannot be decoded";
    if value.is_null() {
        out.push_str("null");
        return Ok(());
    }
    let storage = value.type_info().to_string();
    seen.other |= storage != "BLOB";
    match storage.as_str() {
        "INTEGER" => {
            let number = <i64 as Decode<Sqlite>>::decode(value).map_err(|_| UNDECODABLE)?;
            integer(out, kind, number)
        }
        "REAL" => {
            let number = <f64 as Decode<Sqlite>>::decode(value).map_err(|_| UNDECODABLE)?;
            real(out, kind, number)
        }
        "TEXT" => {
            let text =
                <&str as Decode<Sqlite>>::decode(value).map_err(|_| "text that is not UTF-8")?;
            out.push_str(&text_value(kind, text)?);
            Ok(())
        }
        _ => {
            let bytes = <&[u8] as Decode<Sqlite>>::decode(value).map_err(|_| UNDECODABLE)?;
            match kind {
                Scalar::Bytes => {}
                Scalar::Dynamic { .. } => seen.bytes = true,
                Scalar::Uuid => {
                    let digits: String = bytes
                        .iter()
                        .take(17)
                        .map(|byte| format!("{byte:02x}"))
                        .collect();
                    out.push_str(&quoted(&literal::uuid(&digits).ok_or("bytes")?));
                    return Ok(());
                }
                _ => return Err("bytes"),
            }
            out.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
            out.push('"');
            Ok(())
        }
    }
}

fn integer(out: &mut String, kind: Scalar, number: i64) -> Result<(), &'static str> {
    let _ = match (kind, number) {
        (Scalar::Boolean, 0) => write!(out, "false"),
        (Scalar::Boolean, 1) => write!(out, "true"),
        (Scalar::Decimal, _) => write!(out, "\"{number}\""),
        (
            Scalar::Uuid
            | Scalar::Bytes
            | Scalar::Date
            | Scalar::Time
            | Scalar::LocalDatetime
            | Scalar::Datetime,
            _,
        ) => return Err("a number"),
        _ => write!(out, "{number}"),
    };
    Ok(())
}

fn real(out: &mut String, kind: Scalar, number: f64) -> Result<(), &'static str> {
    match kind {
        Scalar::Decimal if number.is_finite() => {
            // The shortest digits that mean this double, which are those that were stored.
            let _ = if (1e-7..1e16).contains(&number.abs()) || number == 0.0 {
                write!(out, "\"{number}\"")
            } else {
                write!(out, "\"{number:e}\"")
            };
        }
        Scalar::Float if number.is_infinite() => {
            out.push_str(if number > 0.0 {
                "\"Infinity\""
            } else {
                "\"-Infinity\""
            });
        }
        Scalar::Uuid
        | Scalar::Bytes
        | Scalar::Date
        | Scalar::Time
        | Scalar::LocalDatetime
        | Scalar::Datetime => return Err("a number"),
        _ => {
            let number = serde_json::Number::from_f64(number).ok_or("an infinite number")?;
            let _ = write!(out, "{number}");
        }
    }
    Ok(())
}

/// The JSON of a text value.
fn text_value(kind: Scalar, text: &str) -> Result<String, &'static str> {
    Ok(match kind {
        Scalar::Decimal => quoted(&literal::decimal(text).ok_or("text that is no number")?),
        Scalar::Float => return Err("text"),
        Scalar::Uuid => quoted(&literal::uuid(text).ok_or("text that is no UUID")?),
        Scalar::Bytes => quoted(&base64::engine::general_purpose::STANDARD.encode(text.as_bytes())),
        Scalar::Date => quoted(
            &instant::date(text)
                .map(instant::date_text)
                .ok_or("text that is no date")?,
        ),
        Scalar::Time => quoted(
            &instant::time(text)
                .map(instant::time_text)
                .ok_or("text that is no time")?,
        ),
        Scalar::LocalDatetime => quoted(
            &instant::datetime(text)
                .map(instant::datetime_text)
                .ok_or("text that is no datetime")?,
        ),
        // What SQLite's own functions write is UTC and does not say so.
        Scalar::Datetime => {
            let datetime = match instant::datetime(text).ok_or("text that is no datetime")? {
                Datetime::Local(local) => Datetime::Universal(local),
                universal => universal,
            };
            quoted(&instant::datetime_text(datetime))
        }
        Scalar::Json => {
            let raw: &RawValue = serde_json::from_str(text).map_err(|_| "text that is no JSON")?;
            raw.get().to_owned()
        }
        Scalar::Boolean
        | Scalar::Integer(_)
        | Scalar::Text
        | Scalar::Other
        | Scalar::Dynamic { .. } => quoted(text),
    })
}
