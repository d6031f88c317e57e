//! Effects that were committed with a request's rows and wait to be delivered.
//!
//! Delivery is at least once. A deliverer claims effects for the length of a
//! lease, delivers them and says so; what it does not report in time, because
//! its machine died, can be claimed again by any other. Publishes carry their
//! message's identity, so that a queue can tell a second delivery.
//!
//! The effects of one request are delivered in their order: an effect can be
//! claimed only together with, or after, all earlier ones of its request, and one
//! that fails holds back those behind it. Between requests the order is that of
//! the claims, oldest first, and nothing more is promised.
//!
//! Times are the database's clock with PostgreSQL, where several machines look
//! at one table, and this machine's with SQLite.

use std::time::Duration;

use magic_contract::Failure;
use sqlx::Row;
use tokio::time::Instant;

use super::Connection;
use super::pool::Database;
use super::transaction::{Entry, Mode, Transaction};
use super::{OWN_TIME, failure};
use crate::Effect;
use crate::effects::now_ms;

/// How many effects one claim takes at most.
const CLAIM_LIMIT: u32 = 1_000;

/// When an effect that this program cannot read is tried again: by then an
/// operator may have installed the later version that wrote it.
const UNREADABLE_DELAY: Duration = Duration::from_secs(600);

/// Holds the turn of claiming, on PostgreSQL: "outbox" in ASCII.
const TURN: i64 = 0x6f_75_74_62_6f_78;

/// One effect's place in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxId(i64);

/// An effect that is this deliverer's until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its place.
    pub id: OutboxId,
    /// The request that it belongs to. When one effect of a request fails, those
    /// after it must not be delivered; [`Outbox::failed`] gives them back.
    pub request: String,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// What to do.
    pub effect: Effect,
}

/// The outbox of one database.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
}

impl Outbox {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Ends when a request of this process has left effects, perhaps before this
    /// was called. Those of other processes ring no bell: ask for them now and then.
    pub async fn wait(&self) {
        self.database.effects().notified().await;
    }

    /// Claims at most `limit` effects, and never more than 1,000, oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails. Effects may then be claimed by nobody until the
    /// lease ends.
    pub async fn claim(&self, limit: u32, lease: Duration) -> Result<Vec<Claimed>, Failure> {
        if !self.any_due().await? {
            return Ok(Vec::new());
        }
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        let rows = claim(transaction.connection()?, limit.min(CLAIM_LIMIT), lease)
            .await
            .map_err(|error| failure::of("claim effects", &error))?;
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of("claim effects", &fault.error))?;
        let mut claimed = Vec::with_capacity(rows.len());
        let mut unreadable = Vec::new();
        for row in rows {
            match serde_json::from_str(&row.effect) {
                Ok(effect) if !unreadable.contains(&row.request) => claimed.push(Claimed {
                    id: OutboxId(row.sequence),
                    request: row.request,
                    attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
                    effect,
                }),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, sequence = row.sequence, "an effect in the outbox cannot be read");
                    self.failed(&[OutboxId(row.sequence)], UNREADABLE_DELAY)
                        .await?;
                    unreadable.push(row.request);
                }
            }
        }
        Ok(claimed)
    }

    /// These effects are delivered; they are forgotten.
    ///
    /// # Errors
    ///
    /// When the database fails; they will then be delivered again.
    pub async fn done(&self, ids: &[OutboxId]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        self.change("forget delivered effects", async |connection| {
            match connection {
                Connection::Postgres(connection) => {
                    sqlx::query("DELETE FROM magic.outbox WHERE sequence = ANY ($1)")
                        .bind(numbers(ids))
                        .execute(connection)
                        .await?;
                }
                Connection::Sqlite(connection) => {
                    sqlx::query(
                        "DELETE FROM magic_outbox WHERE sequence IN (SELECT value FROM json_each(?1))",
                    )
                    .bind(json_numbers(ids))
                    .execute(connection)
                    .await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// These effects could not be delivered: they, and with them all later ones
    /// of their requests, can be claimed again after `delay`.
    ///
    /// # Errors
    ///
    /// When the database fails; they can then be claimed when their lease ends.
    pub async fn failed(&self, ids: &[OutboxId], delay: Duration) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        self.change("give effects back", async |connection| {
            match connection {
                Connection::Postgres(connection) => {
                    sqlx::query(
                        "WITH failed AS (SELECT request, min(sequence) AS first FROM magic.outbox
                                          WHERE sequence = ANY ($1) GROUP BY request)
                         UPDATE magic.outbox o
                            SET claimed_until = '-infinity',
                                not_before = CASE WHEN o.sequence = f.first
                                  THEN statement_timestamp() + $2 * interval '1 second' ELSE o.not_before END
                           FROM failed f WHERE o.request = f.request AND o.sequence >= f.first",
                    )
                    .bind(numbers(ids))
                    .bind(delay.as_secs_f64())
                    .execute(connection)
                    .await?;
                }
                Connection::Sqlite(connection) => {
                    sqlx::query(
                        "WITH failed AS (SELECT request, min(sequence) AS first FROM magic_outbox
                                          WHERE sequence IN (SELECT value FROM json_each(?1)) GROUP BY request)
                         UPDATE magic_outbox
                            SET claimed_until = 0,
                                not_before = CASE WHEN sequence = f.first THEN ?2 ELSE not_before END
                           FROM failed f WHERE magic_outbox.request = f.request AND sequence >= f.first",
                    )
                    .bind(json_numbers(ids))
                    .bind(now_ms().saturating_add(millis(delay)))
                    .execute(connection)
                    .await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Frees what is claimed, by whomever, and what was put off: whoever starts
    /// the runtime anew may have mended what it waited for.
    pub(super) async fn free(&self) -> Result<(), Failure> {
        self.change(
            "free claimed effects",
            async |connection| match connection {
                Connection::Postgres(connection) => {
                    let all = "UPDATE magic.outbox SET claimed_until = '-infinity', not_before = '-infinity'";
                    sqlx::query(all).execute(connection).await.map(drop)
                }
                Connection::Sqlite(connection) => {
                    let all = "UPDATE magic_outbox SET claimed_until = 0, not_before = 0";
                    sqlx::query(all).execute(connection).await.map(drop)
                }
            },
        )
        .await
    }

    /// How many effects there are, claimed or not.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn depth(&self) -> Result<u64, Failure> {
        let number = self
            .ask(
                "SELECT count(*) FROM magic.outbox",
                "SELECT count(*) FROM magic_outbox WHERE ?1 >= 0",
            )
            .await?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// Whether a claim may find anything, asked without taking anybody's turn.
    async fn any_due(&self) -> Result<bool, Failure> {
        let number = self
            .ask(
                "SELECT count(*) FROM (SELECT FROM magic.outbox WHERE claimed_until <= statement_timestamp()
                   AND not_before <= statement_timestamp() LIMIT 1) due",
                "SELECT count(*) FROM (SELECT 1 FROM magic_outbox WHERE claimed_until <= ?1 AND not_before <= ?1 LIMIT 1)",
            )
            .await?;
        Ok(number > 0)
    }

    /// One number; SQLite's statement is given the time.
    async fn ask(&self, postgres: &'static str, sqlite: &'static str) -> Result<i64, Failure> {
        let entry = Entry::own(Instant::now() + OWN_TIME);
        let mut transaction = Transaction::begin(&self.database, Mode::ReadOnly, &entry).await?;
        let number = match transaction.connection()? {
            Connection::Postgres(connection) => {
                sqlx::query_scalar(postgres).fetch_one(connection).await
            }
            Connection::Sqlite(connection) => {
                sqlx::query_scalar(sqlite)
                    .bind(now_ms())
                    .fetch_one(connection)
                    .await
            }
        }
        .map_err(|error| failure::of("look at the outbox", &error))?;
        transaction.release();
        Ok(number)
    }

    async fn change(
        &self,
        step: &str,
        statements: impl AsyncFnOnce(Connection<'_>) -> Result<(), sqlx::Error>,
    ) -> Result<(), Failure> {
        let until = Instant::now() + OWN_TIME;
        let mut transaction =
            Transaction::begin(&self.database, Mode::ReadWrite, &Entry::own(until)).await?;
        statements(transaction.connection()?)
            .await
            .map_err(|error| failure::of(step, &error))?;
        transaction
            .commit(until)
            .await
            .map_err(|fault| failure::of(step, &fault.error))
    }
}

/// Puts the effects of one request into the outbox, in its transaction.
pub(super) async fn insert(
    connection: Connection<'_>,
    request: &str,
    effects: &[Effect],
) -> Result<(), sqlx::Error> {
    let mut texts = Vec::with_capacity(effects.len());
    for effect in effects {
        texts.push(encoded(effect)?);
    }
    match connection {
        Connection::Postgres(connection) => {
            sqlx::query(
                "INSERT INTO magic.outbox (request, effect)
                 SELECT $1, e.effect FROM unnest($2::text[]) WITH ORDINALITY AS e (effect, position) ORDER BY e.position",
            )
            .bind(request)
            .bind(texts)
            .execute(connection)
            .await?;
        }
        Connection::Sqlite(connection) => {
            sqlx::query(
                "INSERT INTO magic_outbox (request, effect, created_at)
                 SELECT ?1, value, ?3 FROM json_each(?2) ORDER BY key",
            )
            .bind(request)
            .bind(encoded(&texts)?)
            .bind(now_ms())
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

struct Stored {
    sequence: i64,
    request: String,
    effect: String,
    attempts: i32,
}

async fn claim(
    connection: Connection<'_>,
    limit: u32,
    lease: Duration,
) -> Result<Vec<Stored>, sqlx::Error> {
    let mut claimed = match connection {
        Connection::Postgres(connection) => {
            // One claim at a time: two at once would each see the other's rows as
            // free, and could part the effects of one request.
            sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock($1)")
                .bind(TURN)
                .execute(&mut *connection)
                .await?;
            let rows = sqlx::query(
                "WITH due AS (
                   SELECT o.sequence FROM magic.outbox o
                    WHERE o.claimed_until <= statement_timestamp() AND o.not_before <= statement_timestamp()
                      AND NOT EXISTS (SELECT FROM magic.outbox e WHERE e.request = o.request AND e.sequence < o.sequence
                            AND (e.claimed_until > statement_timestamp() OR e.not_before > statement_timestamp()))
                    ORDER BY o.sequence LIMIT $1 FOR UPDATE OF o SKIP LOCKED)
                 UPDATE magic.outbox o
                    SET claimed_until = statement_timestamp() + $2 * interval '1 second', attempts = o.attempts + 1
                   FROM due WHERE o.sequence = due.sequence
                 RETURNING o.sequence, o.request, o.effect, o.attempts",
            )
            .bind(i64::from(limit))
            .bind(lease.as_secs_f64())
            .fetch_all(connection)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(Stored {
                        sequence: row.try_get(0)?,
                        request: row.try_get(1)?,
                        effect: row.try_get(2)?,
                        attempts: row.try_get(3)?,
                    })
                })
                .collect::<Result<Vec<_>, sqlx::Error>>()?
        }
        Connection::Sqlite(connection) => {
            let now = now_ms();
            let rows = sqlx::query(
                "UPDATE magic_outbox SET claimed_until = ?3, attempts = attempts + 1
                  WHERE sequence IN (
                    SELECT o.sequence FROM magic_outbox o
                     WHERE o.claimed_until <= ?1 AND o.not_before <= ?1
                       AND NOT EXISTS (SELECT 1 FROM magic_outbox e WHERE e.request = o.request
                             AND e.sequence < o.sequence AND (e.claimed_until > ?1 OR e.not_before > ?1))
                     ORDER BY o.sequence LIMIT ?2)
                 RETURNING sequence, request, effect, attempts",
            )
            .bind(now)
            .bind(i64::from(limit))
            .bind(now.saturating_add(millis(lease)))
            .fetch_all(connection)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(Stored {
                        sequence: row.try_get(0)?,
                        request: row.try_get(1)?,
                        effect: row.try_get(2)?,
                        attempts: row.try_get(3)?,
                    })
                })
                .collect::<Result<Vec<_>, sqlx::Error>>()?
        }
    };
    claimed.sort_unstable_by_key(|row| row.sequence);
    Ok(claimed)
}

fn encoded(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn numbers(ids: &[OutboxId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

fn json_numbers(ids: &[OutboxId]) -> String {
    serde_json::Value::from(numbers(ids)).to_string()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
