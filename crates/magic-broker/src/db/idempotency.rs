//! One answer per `Idempotency-Key`, however often a caller asks.
//!
//! A request with a key claims it before it runs. Its answer is stored by the
//! commit that keeps its rows, in the same transaction, so there is an answer
//! exactly if there are rows. A claim is a lease: when the process dies the lease
//! runs out and the next request with that key runs again. A request that has
//! outlived its lease, and finds its key taken over, cannot commit.
//!
//! A key belongs to a caller and a controller; two callers cannot meet in one.

use std::time::Duration;

use magic_contract::Failure;
use sqlx::Row;
use tokio::time::Instant;
use ulid::Ulid;

use super::Connection;
use super::pool::Database;
use super::transaction::{Entry, Mode, Transaction};
use super::{OWN_TIME, failure};
use crate::effects::now_ms;
use crate::problem;

/// How long an answer is kept.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// What a key may have; PostgreSQL indexes it.
const KEY_LIMIT: usize = 255;

/// How many entries one sweep deletes in one transaction.
const SWEEP_BATCH: i64 = 1_000;

/// A request that carries a key.
#[derive(Debug, Clone, Copy)]
pub struct IdempotentRequest<'a> {
    /// The controller's name.
    pub controller: &'a str,
    /// The key, at most 255 bytes.
    pub key: &'a str,
    /// Who asks, in a form that is the same every time; at most 255 bytes.
    pub caller: &'a str,
    /// A hash of the input; the same key with another one is a conflict.
    pub input_hash: &'a str,
}

/// The right to run the request of a key and to store its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    controller: String,
    key: String,
    caller: String,
    secret: String,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The request is to be run; the token goes into its commit, or back through
    /// [`Idempotency::release`] when it fails.
    New(Token),
    /// It ran before.
    Stored {
        /// The answer, as it was stored.
        answer: String,
        /// The controller's version that gave it.
        version: String,
    },
    /// The key was used with another input.
    Conflict,
    /// The same request is running at this moment.
    Busy,
}

/// An answer on its way into the transaction of its request.
#[derive(Debug, Clone, Copy)]
pub struct IdempotentAnswer<'a> {
    /// What [`Idempotency::claim`] gave.
    pub token: &'a Token,
    /// JSON text.
    pub answer: &'a str,
    /// The controller's version.
    pub version: &'a str,
}

/// The answers kept in one database.
#[derive(Debug, Clone)]
pub struct Idempotency {
    database: Database,
}

impl Idempotency {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Claims a key for `lease`, which is longer than the request may run.
    ///
    /// # Errors
    ///
    /// When the database fails, or the key is too long.
    pub async fn claim(
        &self,
        request: &IdempotentRequest<'_>,
        lease: Duration,
    ) -> Result<Claim, Failure> {
        if request.key.len() > KEY_LIMIT || request.caller.len() > KEY_LIMIT {
            return Err(problem::misuse(format!(
                "an Idempotency-Key has at most {KEY_LIMIT} bytes"
            )));
        }
        let step = "claim an Idempotency-Key";
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        let secret = Ulid::generate().to_string();
        let won = take(transaction.connection()?, request, &secret, lease)
            .await
            .map_err(|error| failure::of(step, &error))?;
        let claim = if won {
            Claim::New(Token {
                controller: request.controller.to_owned(),
                key: request.key.to_owned(),
                caller: request.caller.to_owned(),
                secret,
            })
        } else {
            look(transaction.connection()?, request)
                .await
                .map_err(|error| failure::of(step, &error))?
        };
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of(step, &fault.error))?;
        Ok(claim)
    }

    /// Gives a key back after a failure, so that a retry runs again.
    ///
    /// # Errors
    ///
    /// When the database fails; the key is then free when its lease ends.
    pub async fn release(&self, token: &Token) -> Result<(), Failure> {
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        match transaction.connection()? {
            Connection::Postgres(connection) => sqlx::query(
                "DELETE FROM magic.idempotency WHERE controller = $1 AND key = $2 AND caller = $3
                        AND token = $4 AND answer IS NULL",
            )
            .bind(&token.controller)
            .bind(&token.key)
            .bind(&token.caller)
            .bind(&token.secret)
            .execute(connection)
            .await
            .map(drop),
            Connection::Sqlite(connection) => sqlx::query(
                "DELETE FROM magic_idempotency WHERE controller = ?1 AND key = ?2 AND caller = ?3
                        AND token = ?4 AND answer IS NULL",
            )
            .bind(&token.controller)
            .bind(&token.key)
            .bind(&token.caller)
            .bind(&token.secret)
            .execute(connection)
            .await
            .map(drop),
        }
        .map_err(|error| failure::of("release an Idempotency-Key", &error))?;
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of("release an Idempotency-Key", &fault.error))
    }

    /// Frees every key whose request has no answer, whoever runs it.
    pub(super) async fn free(&self) -> Result<(), Failure> {
        let step = "free claimed Idempotency-Keys";
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        match transaction.connection()? {
            Connection::Postgres(connection) => {
                sqlx::query("DELETE FROM magic.idempotency WHERE answer IS NULL")
                    .execute(connection)
                    .await
                    .map(drop)
            }
            Connection::Sqlite(connection) => {
                sqlx::query("DELETE FROM magic_idempotency WHERE answer IS NULL")
                    .execute(connection)
                    .await
                    .map(drop)
            }
        }
        .map_err(|error| failure::of(step, &error))?;
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of(step, &fault.error))
    }

    /// Forgets answers older than a day, at most 1,000, and says how many there
    /// were. To be called now and then; nothing depends on when.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self) -> Result<u64, Failure> {
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        let swept = match transaction.connection()? {
            Connection::Postgres(connection) => {
                sqlx::query(
                    "DELETE FROM magic.idempotency WHERE (controller, key, caller) IN (
                       SELECT controller, key, caller FROM magic.idempotency
                        WHERE expires_at <= statement_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
                )
                .bind(SWEEP_BATCH)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
            }
            Connection::Sqlite(connection) => {
                sqlx::query(
                    "DELETE FROM magic_idempotency WHERE (controller, key, caller) IN (
                       SELECT controller, key, caller FROM magic_idempotency WHERE expires_at <= ?2 ORDER BY expires_at LIMIT ?1)",
                )
                .bind(SWEEP_BATCH)
                .bind(now_ms())
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
            }
        }
        .map_err(|error| failure::of("forget old answers", &error))?;
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of("forget old answers", &fault.error))?;
        Ok(swept)
    }
}

/// Takes the key if nobody has it, or what was kept has expired, or whoever had
/// it for the same input has let the lease run out.
async fn take(
    connection: Connection<'_>,
    request: &IdempotentRequest<'_>,
    secret: &str,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    Ok(match connection {
        Connection::Postgres(connection) => sqlx::query(
            "INSERT INTO magic.idempotency AS i (controller, key, caller, input_hash, token, claimed_until, expires_at)
             VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 second', clock_timestamp() + $7 * interval '1 second')
             ON CONFLICT (controller, key, caller) DO UPDATE
               SET input_hash = excluded.input_hash, token = excluded.token, claimed_until = excluded.claimed_until,
                   expires_at = excluded.expires_at, answer = NULL, version = NULL
             WHERE i.expires_at <= clock_timestamp()
                OR (i.answer IS NULL AND i.claimed_until <= clock_timestamp() AND i.input_hash = excluded.input_hash)
             RETURNING 1",
        )
        .bind(request.controller)
        .bind(request.key)
        .bind(request.caller)
        .bind(request.input_hash)
        .bind(secret)
        .bind(lease.as_secs_f64())
        .bind(RETENTION.as_secs_f64())
        .fetch_optional(connection)
        .await?
        .is_some(),
        Connection::Sqlite(connection) => sqlx::query(
            "INSERT INTO magic_idempotency AS i (controller, key, caller, input_hash, token, claimed_until, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (controller, key, caller) DO UPDATE
               SET input_hash = excluded.input_hash, token = excluded.token, claimed_until = excluded.claimed_until,
                   expires_at = excluded.expires_at, answer = NULL, version = NULL
             WHERE i.expires_at <= ?8
                OR (i.answer IS NULL AND i.claimed_until <= ?8 AND i.input_hash = excluded.input_hash)
             RETURNING 1",
        )
        .bind(request.controller)
        .bind(request.key)
        .bind(request.caller)
        .bind(request.input_hash)
        .bind(secret)
        .bind(after(lease))
        .bind(after(RETENTION))
        .bind(now_ms())
        .fetch_optional(connection)
        .await?
        .is_some(),
    })
}

/// Who has the key. The attempt to take it has locked its row, so it is still there.
async fn look(
    connection: Connection<'_>,
    request: &IdempotentRequest<'_>,
) -> Result<Claim, sqlx::Error> {
    let (input_hash, answer, version): (String, Option<String>, Option<String>) = match connection {
        Connection::Postgres(connection) => {
            let row = sqlx::query(
                "SELECT input_hash, answer, version FROM magic.idempotency WHERE controller = $1 AND key = $2 AND caller = $3",
            )
            .bind(request.controller)
            .bind(request.key)
            .bind(request.caller)
            .fetch_one(connection)
            .await?;
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
        }
        Connection::Sqlite(connection) => {
            let row = sqlx::query(
                "SELECT input_hash, answer, version FROM magic_idempotency WHERE controller = ?1 AND key = ?2 AND caller = ?3",
            )
            .bind(request.controller)
            .bind(request.key)
            .bind(request.caller)
            .fetch_one(connection)
            .await?;
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
        }
    };
    Ok(match answer {
        _ if input_hash != request.input_hash => Claim::Conflict,
        None => Claim::Busy,
        Some(answer) => Claim::Stored {
            answer,
            version: version.unwrap_or_default(),
        },
    })
}

/// Stores the answer in the transaction of its request; `false` when the key is
/// another's by now.
pub(super) async fn store(
    connection: Connection<'_>,
    answer: &IdempotentAnswer<'_>,
) -> Result<bool, sqlx::Error> {
    let token = answer.token;
    let changed = match connection {
        Connection::Postgres(connection) => sqlx::query(
            "UPDATE magic.idempotency SET answer = $5, version = $6, expires_at = clock_timestamp() + $7 * interval '1 second'
              WHERE controller = $1 AND key = $2 AND caller = $3 AND token = $4 AND answer IS NULL",
        )
        .bind(&token.controller)
        .bind(&token.key)
        .bind(&token.caller)
        .bind(&token.secret)
        .bind(answer.answer)
        .bind(answer.version)
        .bind(RETENTION.as_secs_f64())
        .execute(connection)
        .await?
        .rows_affected(),
        Connection::Sqlite(connection) => sqlx::query(
            "UPDATE magic_idempotency SET answer = ?5, version = ?6, expires_at = ?7
              WHERE controller = ?1 AND key = ?2 AND caller = ?3 AND token = ?4 AND answer IS NULL",
        )
        .bind(&token.controller)
        .bind(&token.key)
        .bind(&token.caller)
        .bind(&token.secret)
        .bind(answer.answer)
        .bind(answer.version)
        .bind(after(RETENTION))
        .execute(connection)
        .await?
        .rows_affected(),
    };
    Ok(changed == 1)
}

/// That long from now, in milliseconds since the epoch.
fn after(duration: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
