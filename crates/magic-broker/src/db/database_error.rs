//! What the database says, in the words of a failure.
//!
//! A constraint that a row breaks is the author's business and is named; what the row holds is not
//! repeated, and neither is any SQL. Whether trying again may help is told for everything. The
//! database's own words go to the operator's log.

use super::rows::RunError;
use crate::problem;
use magic_contract::{ErrorCode, Failure};
use serde_json::json;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// What a statement was about, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// The table, where there is one.
    pub(crate) table: Option<&'a str>,
}

impl About<'_> {
    fn place(&self) -> String {
        match self.table {
            Some(table) => format!("`{table}`"),
            None => "the statement".to_owned(),
        }
    }
}

/// Turns an error into what the controller sees.
pub(crate) fn failure(error: RunError, about: About<'_>) -> Failure {
    match error {
        RunError::Refused(failure) => *failure,
        RunError::Database(error) => database_failure(&error, about),
    }
}

/// Whether the error says that the description of a table is out of date.
pub(crate) fn means_outdated(error: &RunError) -> bool {
    let RunError::Database(sqlx::Error::Database(error)) = error else {
        return false;
    };
    match error.try_downcast_ref::<PgDatabaseError>() {
        // Undefined column, table or object; type mismatch; a plan whose result type has changed.
        Some(error) => matches!(
            error.code(),
            "42703" | "42P01" | "42704" | "42804" | "0A000"
        ),
        None => {
            error.message().contains("no such column")
                || error.message().contains("no such table")
                || error.message().contains("has no column named")
        }
    }
}

fn database_failure(error: &sqlx::Error, about: About<'_>) -> Failure {
    match error {
        sqlx::Error::Database(inner) => match inner.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => postgres(error, about),
            None => sqlite(inner.as_ref(), about),
        }
        .with_internal(error.to_string()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => problem::backend(
            "the connection to the database was lost",
            true,
            error.to_string(),
        ),
        _ => problem::backend("the database call failed", false, error.to_string()),
    }
}

fn postgres(error: &PgDatabaseError, about: About<'_>) -> Failure {
    let code = error.code();
    let table = error.table().map(ToOwned::to_owned);
    let place = table
        .as_ref()
        .map_or_else(|| about.place(), |table| format!("`{table}`"));
    let constraint = error.constraint().unwrap_or_default();
    let failure = match code {
        "23505" => {
            let columns = error.detail().and_then(key_columns);
            let of = columns
                .as_ref()
                .map(|columns| format!(" (columns {columns})"))
                .unwrap_or_default();
            constraint_failure(
                "unique",
                constraint,
                format!("a row breaks the unique constraint `{constraint}` of {place}{of}"),
            )
        }
        "23503" => constraint_failure(
            "foreign_key",
            constraint,
            format!("a row breaks the foreign key `{constraint}` of {place}"),
        ),
        "23514" => constraint_failure(
            "check",
            constraint,
            format!("a row breaks the check `{constraint}` of {place}"),
        ),
        "23P01" => constraint_failure(
            "exclusion",
            constraint,
            format!("a row breaks the exclusion constraint `{constraint}` of {place}"),
        ),
        "23502" => not_null(error.column().unwrap_or_default(), &place),
        "23001" | "23000" => constraint_failure(
            "integrity",
            constraint,
            format!("a row breaks a constraint of {place}"),
        ),
        // A trigger or a view's check said no.
        "44000" | "P0001" => problem::misuse(format!(
            "{place} does not take the row: a rule of the database refuses it"
        )),
        "428C9" => problem::misuse(format!("a column of {place} is generated; leave it out")),
        "40001" | "40P01" => problem::backend(
            "another transaction was in the way; the same request may succeed now",
            true,
            "",
        ),
        "55P03" => problem::backend("a row or table is locked by another transaction", true, ""),
        "57014" => out_of_time(),
        "25006" => read_only(about),
        "25P02" => problem::backend("the transaction has failed already", false, ""),
        "42501" => problem::backend(
            format!("the database does not let the runtime's role use {place} in this way"),
            false,
            "",
        ),
        "42703" | "42P01" | "42704" | "42883" | "0A000" if about.table.is_some() => {
            problem::backend(
                format!("{place} was changed in the meantime; the same request may succeed now"),
                true,
                "",
            )
        }
        "42703" => raw_mistake(error, "a column that it names does not exist"),
        "42P01" => raw_mistake(error, "a table that it names does not exist"),
        "42883" => raw_mistake(
            error,
            "a function or operator that it uses does not exist for values of these types",
        ),
        "42601" => raw_mistake(error, "it is no valid SQL"),
        "22001" => problem::misuse(format!("a text is too long for its column in {place}")),
        "22003" => problem::misuse(format!(
            "a number is out of range for its column in {place}"
        )),
        "22012" => problem::misuse("a number is divided by zero"),
        "54001" | "54000" | "54011" | "54023" => {
            problem::misuse("the statement is too large or too deeply nested for the database")
        }
        _ => match code.get(..2).unwrap_or_default() {
            "08" => problem::backend("the connection to the database was lost", true, ""),
            "57" => problem::backend("the database is shutting down or starting", true, ""),
            "53" => problem::backend("the database is out of resources", true, ""),
            "40" => problem::backend("the transaction was rolled back by the database", true, ""),
            "22" => problem::misuse(format!(
                "a value is not of the form that its column in {place} takes"
            )),
            "42" => raw_mistake(error, "the database cannot make sense of it"),
            _ => problem::backend("the database call failed", false, ""),
        },
    };
    failure.with_detail("sqlstate", code)
}

/// The database's words about raw SQL quote it, so only the kind and place of the mistake go out.
fn raw_mistake(error: &PgDatabaseError, what: &str) -> Failure {
    let failure = problem::misuse(format!("the statement is not accepted: {what}"));
    match error.position() {
        Some(sqlx::postgres::PgErrorPosition::Original(place)) => {
            failure.with_detail("position", json!(place))
        }
        _ => failure,
    }
}

/// The columns in `Key (a, b)=(1, 2) already exists.`; nothing when they are expressions, since
/// these could hold anything.
fn key_columns(detail: &str) -> Option<String> {
    let columns = detail.strip_prefix("Key (")?.split_once(")=(")?.0;
    columns
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b' '))
        .then(|| columns.to_owned())
}

fn constraint_failure(kind: &'static str, name: &str, message: String) -> Failure {
    problem::misuse(message)
        .with_detail("constraint", name)
        .with_detail("kind", kind)
}

fn not_null(column: &str, place: &str) -> Failure {
    problem::misuse(format!(
        "column `{column}` of {place} must have a value, and the row gives none"
    ))
    .with_detail("column", column)
    .with_detail("kind", "not_null")
}

fn out_of_time() -> Failure {
    problem::exhausted(
        "time",
        "the database call took longer than it may; narrow `where`, or ask for fewer rows",
    )
}

fn read_only(about: About<'_>) -> Failure {
    let line = format!(
        "- db:write: {{ tables: [{}] }}",
        about.table.unwrap_or("..")
    );
    Failure::new(
        ErrorCode::TargetNotAllowed,
        format!(
            "the statement changes something, and the contract does not grant that; add under \
             `capabilities:` of the contract: {line}"
        ),
    )
    .with_detail("layer", "contract")
    .with_detail("line", line)
}

/// SQLite gives its extended result code as decimal text (<https://www.sqlite.org/rescode.html>),
/// and its messages hold names and never values.
fn sqlite(error: &dyn DatabaseError, about: About<'_>) -> Failure {
    let code: i32 = error
        .code()
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    let place = about.place();
    let named = error
        .message()
        .split_once("failed: ")
        .map_or("", |(_, name)| name);
    match (code & 0xff, code) {
        (19, 1555 | 2067) => constraint_failure(
            "unique",
            named,
            format!("a row breaks the unique constraint of the columns {named} of {place}"),
        ),
        (19, 787) => constraint_failure(
            "foreign_key",
            "",
            format!("a row breaks a foreign key of {place}"),
        ),
        (19, 275) => constraint_failure(
            "check",
            named,
            format!("a row breaks the check `{named}` of {place}"),
        ),
        (19, 1299) => not_null(
            named.rsplit_once('.').map_or(named, |(_, column)| column),
            &place,
        ),
        (19, 1811) => problem::misuse(format!(
            "{place} does not take the row: a rule of the database refuses it"
        )),
        (19, _) | (20, _) => constraint_failure(
            "integrity",
            "",
            format!("a row breaks a constraint of {place}"),
        ),
        (5 | 6, _) => problem::backend("the database is locked by another request", true, ""),
        (8, _) => read_only(about),
        (9, _) => out_of_time(),
        (7, _) => problem::backend("the database is out of memory", true, ""),
        (10 | 13 | 14, _) => problem::backend("the database cannot be written or read", true, ""),
        (18, _) => problem::misuse("a value or row is too large for the database"),
        (1, _) if about.table.is_some() && !error.message().contains("syntax") => {
            sqlite_statement(error.message(), &place)
        }
        (1, _) => problem::misuse(
            "the statement is not accepted: the database cannot make sense of it, or a name in it \
             does not exist",
        ),
        _ => problem::backend("the database call failed", false, ""),
    }
}

fn sqlite_statement(message: &str, place: &str) -> Failure {
    if message.contains("no such") || message.contains("has no column named") {
        problem::backend(
            format!("{place} was changed in the meantime; the same request may succeed now"),
            true,
            "",
        )
    } else if message.contains("generated column") {
        problem::misuse(format!("a column of {place} is generated; leave it out"))
    } else {
        problem::backend("the database call failed", false, "")
    }
}
