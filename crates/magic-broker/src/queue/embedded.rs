//! The embedded store: one SQLite file, one connection, one writer.
//!
//! Every operation is one transaction that is on disk when it returns (write-
//! ahead log, `synchronous=FULL`). One connection serves them all in the order
//! in which they came: SQLite has one writer anyway, and a pool of one waits in
//! a fair line instead of polling a lock.
//!
//! What was not written is not acknowledged. After an I/O error nobody knows
//! what the kernel still holds of the pages (a second `fsync` may report success
//! for data that is gone), so the store then refuses everything until the
//! process is started anew and SQLite has recovered its log, whose frames carry
//! checksums. The rows carry one too, since the database's pages do not: a body
//! that does not match its own is put aside and never delivered.

mod open;

pub use open::OpenError;

use super::{
    DeadLetter, Delivery, Published, QueueError, QueueKey, QueueOptions, RECEIVE_BYTES, Received,
    Return, Returned, Waiters, check_backlog, milliseconds, most_attempts, nonce,
};
use crate::store::StoreError;
use sha2::{Digest, Sha256};
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const STORE: &str = "queue store";

/// How long a waiting consumer goes without looking, in case another process
/// wrote into the file.
const LOOK: Duration = Duration::from_secs(5);

/// How often one `receive` goes on after it has found nothing but poison.
const ROUNDS: usize = 10;

/// How many forgotten identities one publish clears away.
const CLEARED: i64 = 100;

#[derive(Debug)]
pub(super) struct EmbeddedQueues {
    pool: SqlitePool,
    clock: Clock,
    waiters: Waiters,
    broken: AtomicBool,
}

/// Milliseconds since the epoch that never run backwards within one process.
#[derive(Debug)]
struct Clock {
    started: Instant,
    started_ms: i64,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            started_ms: crate::effects::now_ms(),
        }
    }

    fn now(&self) -> i64 {
        self.started_ms
            .saturating_add(milliseconds(self.started.elapsed()))
    }
}

type Write = Transaction<'static, Sqlite>;

impl EmbeddedQueues {
    pub(super) async fn publish(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        id: &str,
        body: &str,
    ) -> Result<Published, QueueError> {
        let now = self.clock.now();
        let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let mut write = self.begin().await?;
        sqlx::query(
            "DELETE FROM tombstones WHERE (queue, id) IN
               (SELECT queue, id FROM tombstones WHERE expires_at <= ?1 LIMIT ?2)",
        )
        .bind(now)
        .bind(CLEARED)
        .execute(&mut *write)
        .await
        .map_err(|error| self.failed(&error))?;
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ?1 AND id = ?2)
                 OR EXISTS (SELECT 1 FROM tombstones
                            WHERE queue = ?1 AND id = ?2 AND expires_at > ?3)",
        )
        .bind(key.as_str())
        .bind(id)
        .bind(now)
        .fetch_one(&mut *write)
        .await
        .map_err(|error| self.failed(&error))?;
        if known {
            return Ok(Published::Duplicate);
        }
        let (messages, bytes) = backlog(&mut *write, key)
            .await
            .map_err(|error| self.failed(&error))?;
        check_backlog(options, key, messages, bytes, body.len())?;
        sqlx::query(
            "INSERT INTO messages (queue, owner, id, body, size, digest, published_at, visible_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )
        .bind(key.as_str())
        .bind(key.owner())
        .bind(id)
        .bind(body)
        .bind(size)
        .bind(digest(id, body.as_bytes()))
        .bind(now)
        .execute(&mut *write)
        .await
        .map_err(|error| self.failed(&error))?;
        self.commit(write).await?;
        self.waiters.ring(key.as_str());
        Ok(Published::Added)
    }

    /// How many messages and bytes wait for the queue's owner.
    pub(super) async fn backlog(&self, key: &QueueKey) -> Result<(u64, u64), QueueError> {
        self.check_sound()?;
        backlog(&self.pool, key)
            .await
            .map_err(|error| self.failed(&error).into())
    }

    pub(super) async fn receive(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        max: u32,
        lease: Duration,
    ) -> Result<Received, QueueError> {
        let now = self.clock.now();
        let until = now.saturating_add(milliseconds(lease));
        let most = most_attempts(options, key);
        let mut received = Received::default();
        let mut bytes = 0_usize;
        let mut changed = false;
        let mut write = self.begin().await?;
        'rounds: for _ in 0..ROUNDS {
            let wanted = usize::try_from(max).unwrap_or(0) - received.deliveries.len();
            let candidates: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT seq, attempts FROM messages WHERE queue = ?1 AND visible_at <= ?2
                 ORDER BY visible_at, seq LIMIT ?3",
            )
            .bind(key.as_str())
            .bind(now)
            .bind(i64::try_from(wanted).unwrap_or(0))
            .fetch_all(&mut *write)
            .await
            .map_err(|error| self.failed(&error))?;
            if candidates.is_empty() {
                break;
            }
            for (seq, attempts) in candidates {
                changed = true;
                if most.is_some_and(|most| attempts >= i64::from(most)) {
                    let id = self.bury(&mut write, options, key, seq, None, now).await?;
                    received.buried.push(id);
                    continue;
                }
                let Some(delivery) = self.deliver(&mut write, key, seq, until).await? else {
                    continue;
                };
                bytes += delivery.body.len();
                received.deliveries.push(delivery);
                if bytes >= RECEIVE_BYTES {
                    break 'rounds;
                }
            }
            if received.deliveries.len() >= usize::try_from(max).unwrap_or(0) {
                break;
            }
        }
        if changed {
            self.commit(write).await?;
        }
        if !received.buried.is_empty() {
            self.waiters.ring(key.dead_letters().as_str());
        }
        Ok(received)
    }

    pub(super) async fn ack(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        receipt: &str,
    ) -> Result<bool, QueueError> {
        let mut write = self.begin().await?;
        let expires = self
            .clock
            .now()
            .saturating_add(milliseconds(options.remember));
        let Some((seq, _)) = self.find(&mut write, key, receipt).await? else {
            return Ok(false);
        };
        self.entomb(&mut write, seq, expires).await?;
        sqlx::query("DELETE FROM messages WHERE seq = ?1")
            .bind(seq)
            .execute(&mut *write)
            .await
            .map_err(|error| self.failed(&error))?;
        self.commit(write).await?;
        Ok(true)
    }

    pub(super) async fn extend(
        &self,
        key: &QueueKey,
        receipt: &str,
        time: Duration,
    ) -> Result<bool, QueueError> {
        self.check_sound()?;
        let until = self.clock.now().saturating_add(milliseconds(time));
        let done =
            sqlx::query("UPDATE messages SET visible_at = ?3 WHERE queue = ?1 AND receipt = ?2")
                .bind(key.as_str())
                .bind(receipt)
                .bind(until)
                .execute(&self.pool)
                .await
                .map_err(|error| self.failed(&error))?;
        // A lease that was cut short is over earlier than waiters believe.
        self.waiters.ring(key.as_str());
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn give_back(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        receipt: &str,
        what: Return<'_>,
    ) -> Result<Returned, QueueError> {
        let now = self.clock.now();
        let mut write = self.begin().await?;
        let Some((seq, attempts)) = self.find(&mut write, key, receipt).await? else {
            return Ok(Returned::Unknown);
        };
        let most = most_attempts(options, key);
        let (delay, reason, buries) = match what {
            Return::Retry { delay, reason } => {
                let last = most.is_some_and(|most| attempts >= i64::from(most));
                (delay.min(super::LONGEST_LEASE), reason, last)
            }
            Return::Bury { reason } => (Duration::ZERO, Some(reason), most.is_some()),
        };
        if buries {
            let id = self
                .bury(&mut write, options, key, seq, reason, now)
                .await?;
            self.commit(write).await?;
            self.waiters.ring(key.dead_letters().as_str());
            return Ok(Returned::Buried(id));
        }
        // What made a dead letter of it stays, whatever happens to it there.
        sqlx::query(
            "UPDATE messages SET visible_at = ?2, receipt = NULL,
               reason = CASE WHEN dead_attempts IS NULL THEN coalesce(?3, reason) ELSE reason END
             WHERE seq = ?1",
        )
        .bind(seq)
        .bind(now.saturating_add(milliseconds(delay)))
        .bind(reason)
        .execute(&mut *write)
        .await
        .map_err(|error| self.failed(&error))?;
        self.commit(write).await?;
        self.waiters.ring(key.as_str());
        Ok(Returned::Released)
    }

    pub(super) async fn depth(&self, key: &QueueKey) -> Result<u64, QueueError> {
        self.check_sound()?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE queue = ?1")
            .bind(key.as_str())
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    pub(super) async fn wait(&self, key: &QueueKey) -> Result<(), QueueError> {
        let bell = self.waiters.bell(key.as_str());
        loop {
            // Listen first and look second, so that nothing falls between.
            let mut rings = Box::pin(bell.notified());
            rings.as_mut().enable();
            self.check_sound()?;
            let next: Option<i64> =
                sqlx::query_scalar("SELECT min(visible_at) FROM messages WHERE queue = ?1")
                    .bind(key.as_str())
                    .fetch_one(&self.pool)
                    .await
                    .map_err(|error| self.failed(&error))?;
            let now = self.clock.now();
            let pause = match next {
                Some(next) if next <= now => return Ok(()),
                Some(next) => {
                    Duration::from_millis(next.saturating_sub(now).unsigned_abs()).min(LOOK)
                }
                None => LOOK,
            };
            tokio::select! {
                () = rings => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Hands one message out, or puts it aside if it is damaged.
    async fn deliver(
        &self,
        write: &mut Write,
        key: &QueueKey,
        seq: i64,
        until: i64,
    ) -> Result<Option<Delivery>, QueueError> {
        let receipt = nonce(STORE)?;
        let row = sqlx::query(
            "UPDATE messages SET attempts = attempts + 1, visible_at = ?2, receipt = ?3
             WHERE seq = ?1
             RETURNING id, CAST(body AS BLOB), digest, attempts, published_at, reason, dead_attempts",
        )
        .bind(seq)
        .bind(until)
        .bind(&receipt)
        .fetch_one(&mut **write)
        .await
        .map_err(|error| self.failed(&error))?;
        let delivery = read(&row, receipt).map_err(|error| self.failed(&error))?;
        if delivery.is_none() {
            tracing::error!(
                queue = key.as_str(),
                sequence = seq,
                "a stored message is damaged; it was moved to the table `damaged`"
            );
            for statement in [
                "INSERT INTO damaged SELECT queue, id, body, published_at FROM messages WHERE seq = ?1",
                "DELETE FROM messages WHERE seq = ?1",
            ] {
                sqlx::query(statement)
                    .bind(seq)
                    .execute(&mut **write)
                    .await
                    .map_err(|error| self.failed(&error))?;
            }
        }
        Ok(delivery)
    }

    /// Moves one message to the dead letters. Gives its identity.
    async fn bury(
        &self,
        write: &mut Write,
        options: &QueueOptions,
        key: &QueueKey,
        seq: i64,
        reason: Option<&str>,
        now: i64,
    ) -> Result<String, QueueError> {
        let dead = key.dead_letters();
        self.entomb(
            write,
            seq,
            now.saturating_add(milliseconds(options.remember)),
        )
        .await?;
        // One that died before under the same identity makes room: it is the same message.
        sqlx::query(
            "DELETE FROM messages
             WHERE queue = ?2 AND id = (SELECT id FROM messages WHERE seq = ?1) AND seq <> ?1",
        )
        .bind(seq)
        .bind(dead.as_str())
        .execute(&mut **write)
        .await
        .map_err(|error| self.failed(&error))?;
        sqlx::query_scalar(
            "UPDATE messages SET queue = ?2, reason = coalesce(?3, reason, 'attempts'),
               dead_attempts = attempts, attempts = 0, visible_at = ?4, receipt = NULL
             WHERE seq = ?1 RETURNING id",
        )
        .bind(seq)
        .bind(dead.as_str())
        .bind(reason)
        .bind(now)
        .fetch_one(&mut **write)
        .await
        .map_err(|error| self.failed(&error).into())
    }

    /// Remembers the identity of a message that is about to leave its queue.
    async fn entomb(&self, write: &mut Write, seq: i64, expires: i64) -> Result<(), QueueError> {
        sqlx::query(
            "INSERT OR REPLACE INTO tombstones (queue, id, expires_at)
             SELECT queue, id, ?2 FROM messages WHERE seq = ?1",
        )
        .bind(seq)
        .bind(expires)
        .execute(&mut **write)
        .await
        .map(|_| ())
        .map_err(|error| self.failed(&error).into())
    }

    /// The message behind a receipt, and how often it was delivered.
    async fn find(
        &self,
        write: &mut Write,
        key: &QueueKey,
        receipt: &str,
    ) -> Result<Option<(i64, i64)>, QueueError> {
        sqlx::query_as("SELECT seq, attempts FROM messages WHERE queue = ?1 AND receipt = ?2")
            .bind(key.as_str())
            .bind(receipt)
            .fetch_optional(&mut **write)
            .await
            .map_err(|error| self.failed(&error).into())
    }

    async fn begin(&self) -> Result<Write, QueueError> {
        self.check_sound()?;
        self.pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.failed(&error).into())
    }

    async fn commit(&self, write: Write) -> Result<(), QueueError> {
        write
            .commit()
            .await
            .map_err(|error| self.failed(&error).into())
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
    }

    fn check_sound(&self) -> Result<(), StoreError> {
        if !self.is_sound() {
            return Err(StoreError::Failed {
                store: STORE,
                note: "it could not write earlier; start the runtime anew".to_owned(),
            });
        }
        Ok(())
    }

    /// What an error of SQLite means. Its result codes are listed at
    /// <https://www.sqlite.org/rescode.html>; the low byte is the primary one.
    fn failed(&self, error: &sqlx::Error) -> StoreError {
        let note = error.to_string();
        let primary = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff);
        match primary {
            // BUSY, LOCKED, NOMEM, FULL: somebody may help.
            Some(5 | 6 | 7 | 13) => StoreError::Unreachable { store: STORE, note },
            // IOERR, CORRUPT, NOTADB: what was written is uncertain from here on.
            Some(10 | 11 | 26) => {
                self.broken.store(true, Ordering::Release);
                tracing::error!(note, "the queue store is broken and refuses work");
                StoreError::Failed { store: STORE, note }
            }
            None if matches!(error, sqlx::Error::PoolTimedOut) => {
                StoreError::Unreachable { store: STORE, note }
            }
            _ => StoreError::Failed { store: STORE, note },
        }
    }
}

async fn backlog<'c, E>(executor: E, key: &QueueKey) -> Result<(u64, u64), sqlx::Error>
where
    E: sqlx::Executor<'c, Database = Sqlite>,
{
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT messages, bytes FROM backlog WHERE owner = ?1")
            .bind(key.owner())
            .fetch_optional(executor)
            .await?;
    let (messages, bytes) = row.unwrap_or_default();
    Ok((
        u64::try_from(messages).unwrap_or(0),
        u64::try_from(bytes).unwrap_or(0),
    ))
}

/// Reads a delivery; `None` if the row does not match its checksum.
fn read(row: &sqlx::sqlite::SqliteRow, receipt: String) -> Result<Option<Delivery>, sqlx::Error> {
    let id: String = row.try_get(0)?;
    let body: Vec<u8> = row.try_get(1)?;
    let stored: i64 = row.try_get(2)?;
    if digest(&id, &body) != stored {
        return Ok(None);
    }
    let Ok(body) = String::from_utf8(body) else {
        return Ok(None);
    };
    let attempts: i64 = row.try_get(3)?;
    let reason: Option<String> = row.try_get(5)?;
    let dead_attempts: Option<i64> = row.try_get(6)?;
    let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Some(Delivery {
        id,
        receipt,
        body,
        attempt: count(attempts),
        published_at_ms: row.try_get(4)?,
        dead_letter: dead_attempts.map(|attempts| DeadLetter {
            reason: reason.unwrap_or_else(|| "attempts".to_owned()),
            attempts: count(attempts),
        }),
    }))
}

/// The first 64 bits of SHA-256 over identity and body: enough against a disk,
/// not meant against a person.
fn digest(id: &str, body: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update([0]);
    hash.update(body);
    let hash = hash.finalize();
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests;
