//! Opening the embedded store, with what must hold before the first message.

use super::{Clock, EmbeddedQueues, Waiters};
use crate::db::connect_sqlite;
use crate::queue::{LONGEST_LEASE, milliseconds};
use crate::sqlite_file;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Up to this size (256 MiB) every page is looked at before the store is used;
/// that takes a fraction of a second. Larger files are trusted until a page
/// turns out to be bad.
const CHECKED_BYTES: u64 = 256 * 1024 * 1024;

/// How long a statement waits for another process that writes.
const BUSY_TIME: Duration = Duration::from_secs(5);

/// The version of the tables below.
const VERSION: i64 = 1;

/// Counts of the backlog are kept by triggers, so that no code path can forget
/// them: counting rows would take longer the more of them wait.
const TABLES: &str = "
CREATE TABLE messages (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  body TEXT NOT NULL,
  size INTEGER NOT NULL,
  digest INTEGER NOT NULL,
  published_at INTEGER NOT NULL,
  visible_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  receipt TEXT,
  reason TEXT,
  dead_attempts INTEGER,
  UNIQUE (queue, id)
) STRICT;
CREATE INDEX messages_next ON messages (queue, visible_at, seq);
CREATE UNIQUE INDEX messages_receipt ON messages (receipt) WHERE receipt IS NOT NULL;
CREATE TABLE tombstones (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_expiry ON tombstones (expires_at);
CREATE TABLE backlog (
  owner TEXT PRIMARY KEY,
  messages INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
  INSERT INTO backlog VALUES (NEW.owner, 1, NEW.size)
    ON CONFLICT (owner) DO UPDATE SET messages = messages + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
  UPDATE backlog SET messages = messages - 1, bytes = bytes - OLD.size WHERE owner = OLD.owner;
  DELETE FROM backlog WHERE owner = OLD.owner AND messages <= 0;
END;
CREATE TABLE damaged (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  body ANY,
  published_at INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 1;
";

/// The embedded queue store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be made or opened.
    #[error("cannot open the queue store {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is no database, or SQLite cannot use it.
    #[error("cannot use the queue store {path}")]
    Database {
        /// The file.
        path: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Pages of the file are damaged.
    #[error(
        "the queue store {path} is damaged ({finding}); restore it, or move it away to start empty"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The first thing that SQLite found.
        finding: String,
    },
    /// A later version of this program wrote it.
    #[error("the queue store {path} was written by a later version (format {found})")]
    Later {
        /// The file.
        path: String,
        /// The format's number.
        found: i64,
    },
}

impl EmbeddedQueues {
    /// Opens the file, or makes it.
    pub(in crate::queue) async fn open(path: &Path) -> Result<Self, OpenError> {
        let shown = path.display().to_string();
        let size = sqlite_file::prepare(path)
            .await
            .map_err(|source| OpenError::File {
                path: shown.clone(),
                source,
            })?;
        let database = |source| OpenError::Database {
            path: shown.clone(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIME);
        // It becomes a file with a write-ahead log here, where others are waited for.
        let first = connect_sqlite(&options, BUSY_TIME)
            .await
            .map_err(database)?;
        first.close().await.map_err(database)?;
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(database)?;
        if size <= CHECKED_BYTES {
            let finding: String = sqlx::query_scalar("PRAGMA quick_check(1)")
                .fetch_one(&pool)
                .await
                .map_err(database)?;
            if finding != "ok" {
                return Err(OpenError::Damaged {
                    path: shown,
                    finding,
                });
            }
        }
        let version = create_tables(&pool).await.map_err(database)?;
        if version > VERSION {
            return Err(OpenError::Later {
                path: shown,
                found: version,
            });
        }
        let clock = Clock::start();
        // A lease that reaches further than any can was given by a clock that
        // has been set back since.
        sqlx::query("UPDATE messages SET visible_at = ?1 WHERE visible_at > ?2")
            .bind(clock.now())
            .bind(clock.now().saturating_add(milliseconds(LONGEST_LEASE)))
            .execute(&pool)
            .await
            .map_err(database)?;
        Ok(Self {
            pool,
            clock,
            waiters: Waiters::default(),
            broken: AtomicBool::new(false),
        })
    }
}

/// Makes the tables if there are none. Gives the version that is there.
async fn create_tables(pool: &SqlitePool) -> Result<i64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut write = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *write)
        .await?;
    if version != 0 {
        return Ok(version);
    }
    sqlx::raw_sql(TABLES).execute(&mut *write).await?;
    write.commit().await?;
    Ok(VERSION)
}
