//! The runtime's own tables beside those of the controllers.
//!
//! In PostgreSQL they have the schema `magic` to themselves; in SQLite, which
//! has no schemas, their names begin with `magic_`. Changes go forward only, and
//! each version is recorded in the transaction that makes it. Two programs that
//! start at once take turns; a program that finds a later version than it knows
//! refuses, because it would not keep promises that it has not heard of.
//!
//! A version that was released is never edited: new ones are added below it.

use sqlx::{Executor, PgConnection, SqliteConnection};

use super::pool::DatabaseError;

/// Holds the turn of updating, on PostgreSQL. The numbers of advisory locks are
/// shared by all users of a database; this one is the word "magic" in ASCII.
const TURN: i64 = 0x6d_61_67_69_63;

/// `magic.outbox`: `request` groups the effects of one request, which are
/// delivered in the order of `sequence`.
/// `magic.idempotency`: `answer` is null while the request runs, which it may
/// until `claimed_until`.
/// `magic.migrations`: what `magic migrate` has applied.
const POSTGRES: [&str; 1] = ["
CREATE TABLE magic.outbox (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  request text NOT NULL,
  effect text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  not_before timestamptz NOT NULL DEFAULT '-infinity',
  claimed_until timestamptz NOT NULL DEFAULT '-infinity',
  attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX outbox_request ON magic.outbox (request, sequence);
CREATE TABLE magic.idempotency (
  controller text NOT NULL,
  key text NOT NULL,
  caller text NOT NULL,
  input_hash text NOT NULL,
  token text NOT NULL,
  claimed_until timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  answer text,
  version text,
  PRIMARY KEY (controller, key, caller)
);
CREATE INDEX idempotency_expiry ON magic.idempotency (expires_at);
CREATE TABLE magic.migrations (
  name text PRIMARY KEY,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"];

/// The same; times are milliseconds since the epoch.
const SQLITE: [&str; 1] = ["
CREATE TABLE magic_outbox (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  request TEXT NOT NULL,
  effect TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  not_before INTEGER NOT NULL DEFAULT 0,
  claimed_until INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX magic_outbox_request ON magic_outbox (request, sequence);
CREATE TABLE magic_idempotency (
  controller TEXT NOT NULL,
  key TEXT NOT NULL,
  caller TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  token TEXT NOT NULL,
  claimed_until INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  answer TEXT,
  version TEXT,
  PRIMARY KEY (controller, key, caller)
) STRICT, WITHOUT ROWID;
CREATE INDEX magic_idempotency_expiry ON magic_idempotency (expires_at);
CREATE TABLE magic_migrations (
  name TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"];

/// Brings the tables up to date.
pub(super) async fn update_postgres(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    if recorded_postgres(connection).await? == latest(&POSTGRES) {
        return Ok(());
    }
    let result = advance_postgres(connection).await;
    if result.is_err() {
        // The connection is closed by the caller; this is for one that is kept.
        let _ = connection.execute(sqlx::raw_sql("ROLLBACK")).await;
    }
    result
}

async fn advance_postgres(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::Schema { source };
    connection
        .execute(sqlx::raw_sql("BEGIN"))
        .await
        .map_err(failed)?;
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock($1)")
        .bind(TURN)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let recorded = recorded_postgres(connection).await?;
    if recorded == 0 {
        // An administrator may have made the schema for a role that may not.
        let there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'magic')",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        if !there {
            connection
                .execute(sqlx::raw_sql("CREATE SCHEMA magic"))
                .await
                .map_err(failed)?;
        }
        connection
            .execute(sqlx::raw_sql(
                "CREATE TABLE magic.version (number bigint PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())",
            ))
            .await
            .map_err(failed)?;
    }
    for (number, change) in missing(&POSTGRES, recorded) {
        connection
            .execute(sqlx::raw_sql(change))
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO magic.version (number) VALUES ($1)")
            .bind(number)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    connection
        .execute(sqlx::raw_sql("COMMIT"))
        .await
        .map(drop)
        .map_err(failed)
}

async fn recorded_postgres(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    let failed = |source| DatabaseError::Schema { source };
    if !has_table(connection, "version").await.map_err(failed)? {
        return Ok(0);
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM magic.version")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    known(found, latest(&POSTGRES))
}

/// Whether the schema has a table, by the catalogue's rows. `to_regclass` would
/// answer from this session's memory, which waiting for an advisory lock does not
/// refresh, and so not see what whoever held the lock has made.
pub(super) async fn has_table(
    connection: &mut PgConnection,
    name: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = 'magic' AND c.relname = $1)",
    )
    .bind(name)
    .fetch_one(connection)
    .await
}

/// Brings the tables up to date.
pub(super) async fn update_sqlite(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    if recorded_sqlite(connection).await? == latest(&SQLITE) {
        return Ok(());
    }
    let result = advance_sqlite(connection).await;
    if result.is_err() {
        let _ = connection.execute(sqlx::raw_sql("ROLLBACK")).await;
    }
    result
}

async fn advance_sqlite(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::Schema { source };
    connection
        .execute(sqlx::raw_sql("BEGIN IMMEDIATE"))
        .await
        .map_err(failed)?;
    let recorded = recorded_sqlite(connection).await?;
    if recorded == 0 {
        connection
            .execute(sqlx::raw_sql(
                "CREATE TABLE magic_version (number INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL DEFAULT (unixepoch() * 1000)) STRICT",
            ))
            .await
            .map_err(failed)?;
    }
    for (number, change) in missing(&SQLITE, recorded) {
        connection
            .execute(sqlx::raw_sql(change))
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO magic_version (number) VALUES (?1)")
            .bind(number)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    connection
        .execute(sqlx::raw_sql("COMMIT"))
        .await
        .map(drop)
        .map_err(failed)
}

async fn recorded_sqlite(connection: &mut SqliteConnection) -> Result<i64, DatabaseError> {
    let failed = |source| DatabaseError::Schema { source };
    let there: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'magic_version'",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if there == 0 {
        return Ok(0);
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM magic_version")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    known(found, latest(&SQLITE))
}

fn latest(changes: &[&'static str]) -> i64 {
    i64::try_from(changes.len()).unwrap_or(i64::MAX)
}

/// The changes after the recorded version, with their numbers.
fn missing(
    changes: &'static [&'static str],
    recorded: i64,
) -> impl Iterator<Item = (i64, &'static str)> {
    (1..)
        .zip(changes.iter().copied())
        .filter(move |(number, _)| *number > recorded)
}

fn known(found: i64, known: i64) -> Result<i64, DatabaseError> {
    if found > known {
        return Err(DatabaseError::Later { found, known });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes are numbered from 1, and only those that are missing are made.
    #[test]
    fn versions_go_forward() {
        static CHANGES: [&str; 3] = ["a", "b", "c"];
        assert_eq!(missing(&CHANGES, 0).count(), 3);
        assert_eq!(
            missing(&CHANGES, 1).collect::<Vec<_>>(),
            [(2, "b"), (3, "c")]
        );
        assert!(matches!(
            known(4, latest(&CHANGES)),
            Err(DatabaseError::Later { found: 4, known: 3 })
        ));
    }
}
