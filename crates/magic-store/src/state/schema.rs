//! Bringing the tables up to date: forward only, each change in one transaction
//! with its record.
//!
//! A record holds the hash of what was applied. A program that finds a record
//! that it does not know, or another text under a number that it knows, refuses:
//! it would not keep promises that it has not heard of. Programs that start at
//! once take turns, and whoever comes second finds the work done.
//!
//! In PostgreSQL the tables have the schema `magic_state` to themselves; a SQLite
//! file holds nothing else, and one that does is not taken.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use sqlx::{Executor, PgConnection, Row as _, SqliteConnection};

use super::open::OpenError;

mod tables;

use tables::MIGRATIONS;

/// Holds the turn of updating, on PostgreSQL: "magicup" in ASCII.
const TURN: i64 = 0x6d_61_67_69_63_75_70;

/// One change of the tables.
#[derive(Debug)]
struct Migration {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// A change that was applied, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    number: i64,
    sha256: String,
}

fn hash(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The texts that are still to be applied, with their numbers and names.
///
/// # Errors
///
/// [`OpenError::Later`] or [`OpenError::Changed`] when the records are not those
/// of an earlier state of this program.
fn pending(
    known: &[(&'static str, &'static str)],
    records: &[Record],
) -> Result<Vec<(i64, &'static str, &'static str)>, OpenError> {
    let latest = i64::try_from(known.len()).unwrap_or(i64::MAX);
    let found = records.iter().map(|record| record.number).max();
    if let Some(found) = found.filter(|found| *found > latest) {
        return Err(OpenError::Later {
            found,
            known: latest,
        });
    }
    let mut pending = Vec::new();
    for (number, (name, text)) in (1..).zip(known) {
        match records.iter().find(|record| record.number == number) {
            None => pending.push((number, *name, *text)),
            Some(record) if record.sha256 == hash(text) => {}
            Some(_) => return Err(OpenError::Changed { number }),
        }
    }
    Ok(pending)
}

fn failed(source: sqlx::Error) -> OpenError {
    OpenError::Schema { source }
}

/// Brings the tables up to date. The connection is not to be used after an error.
pub(super) async fn update_sqlite(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let known = MIGRATIONS.map(|migration| (migration.name, migration.sqlite));
    let run = |statement: &'static str| sqlx::raw_sql(statement);
    connection
        .execute(run("BEGIN IMMEDIATE"))
        .await
        .map_err(failed)?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    if !tables.iter().any(|name| name == "migrations") {
        if let Some(table) = tables.into_iter().next() {
            return Err(OpenError::Foreign { table });
        }
        let make = "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";
        connection.execute(run(make)).await.map_err(failed)?;
    }
    let rows = sqlx::query("SELECT number, sha256 FROM migrations ORDER BY number")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(Record {
            number: row.try_get(0).map_err(failed)?,
            sha256: row.try_get(1).map_err(failed)?,
        });
    }
    for (number, name, text) in pending(&known, &records)? {
        connection.execute(run(text)).await.map_err(failed)?;
        sqlx::query("INSERT INTO migrations VALUES ($1, $2, $3, unixepoch() * 1000)")
            .bind(number)
            .bind(name)
            .bind(hash(text))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    connection
        .execute(run("COMMIT"))
        .await
        .map(drop)
        .map_err(failed)
}

/// Brings the tables up to date. The connection is not to be used after an error.
pub(super) async fn update_postgres(connection: &mut PgConnection) -> Result<(), OpenError> {
    let known = MIGRATIONS.map(|migration| (migration.name, migration.postgres));
    let run = |statement: &'static str| sqlx::raw_sql(statement);
    connection.execute(run("BEGIN")).await.map_err(failed)?;
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock($1)")
        .bind(TURN)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    // By the catalogue's rows: `to_regclass` and `IF NOT EXISTS` answer from what
    // this session remembers, which waiting for the turn does not refresh. An
    // administrator may have made the schema for a role that may not.
    let there = |kind: &'static str| sqlx::query_scalar::<_, bool>(kind);
    let schema =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'magic_state')";
    if !there(schema)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?
    {
        connection
            .execute(run("CREATE SCHEMA magic_state"))
            .await
            .map_err(failed)?;
    }
    connection
        .execute(run("SET LOCAL search_path = magic_state"))
        .await
        .map_err(failed)?;
    let table = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'magic_state' AND c.relname = 'migrations')";
    if !there(table)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?
    {
        let make = "CREATE TABLE migrations (number bigint PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())";
        connection.execute(run(make)).await.map_err(failed)?;
    }
    let rows = sqlx::query("SELECT number, sha256 FROM migrations ORDER BY number")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(Record {
            number: row.try_get(0).map_err(failed)?,
            sha256: row.try_get(1).map_err(failed)?,
        });
    }
    for (number, name, text) in pending(&known, &records)? {
        connection.execute(run(text)).await.map_err(failed)?;
        sqlx::query("INSERT INTO migrations (number, name, sha256) VALUES ($1, $2, $3)")
            .bind(number)
            .bind(name)
            .bind(hash(text))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    connection
        .execute(run("COMMIT"))
        .await
        .map(drop)
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what is missing is applied; what another program did is refused.
    #[test]
    fn changes_go_forward() {
        const KNOWN: [(&str, &str); 2] = [("one", "a"), ("two", "b")];
        let record = |number, text| Record {
            number,
            sha256: hash(text),
        };
        let numbers = |records: &[Record]| {
            let pending = pending(&KNOWN, records)?;
            Ok::<_, OpenError>(pending.iter().map(|one| one.0).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[]).unwrap(), [1, 2]);
        assert_eq!(numbers(&[record(1, "a")]).unwrap(), [2]);
        assert!(
            numbers(&[record(1, "a"), record(2, "b")])
                .unwrap()
                .is_empty()
        );
        assert!(matches!(
            numbers(&[record(1, "a"), record(2, "c")]),
            Err(OpenError::Changed { number: 2 })
        ));
        assert!(matches!(
            numbers(&[record(1, "a"), record(2, "b"), record(3, "c")]),
            Err(OpenError::Later { found: 3, known: 2 })
        ));
    }
}
