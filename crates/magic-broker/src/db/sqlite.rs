//! SQLite: the file, the settings of every connection, and one transaction.
//!
//! SQLite has one writer. A writer that finds another one would poll with a
//! timer, in no order and without hearing that its request is gone, so writers
//! of this process queue for the one connection of a pool of their own, first
//! come first served, and polling is left for other processes. Readers have
//! their own connections, on which nothing can be written.
//!
//! A statement runs on a thread of the driver, where dropping a future does not
//! reach it. The progress handler does: SQLite asks it every few thousand steps
//! whether to go on, and it says no once the time is up or the transaction was
//! dropped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor, Sqlite, SqliteConnection};
use tokio::time::Instant;

use super::failure;
use super::transaction::{CommitFault, Entry, Mode};

/// How many steps of SQLite's virtual machine lie between two questions of
/// whether to go on: well below a millisecond of work.
const STEPS: i32 = 5_000;

/// How long undoing may take, beyond the time of what it undoes.
const UNDO_TIME: Duration = Duration::from_secs(5);

/// What every connection is set to.
///
/// `trusted_schema` is off so that a view or trigger cannot reach functions
/// with side effects; the driver is built without loading of extensions.
pub(super) fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("case_sensitive_like", "ON")
        .disable_statement_logging()
}

/// The same for a connection that reads.
pub(super) fn reader(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.pragma("query_only", "ON")
}

/// Opens a file that another program may be opening as well. Becoming a file with
/// a write-ahead log is the one step for which SQLite does not wait for others, so
/// it is tried again for so long.
pub(crate) async fn connect(
    options: &SqliteConnectOptions,
    patience: Duration,
) -> Result<SqliteConnection, sqlx::Error> {
    let until = Instant::now() + patience;
    loop {
        match options.connect().await {
            Err(error) if failure::is_contended(&error) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ended => return ended,
        }
    }
}

/// Whether the statements of one transaction may go on.
#[derive(Debug)]
struct Interrupt {
    start: std::time::Instant,
    /// Milliseconds after `start`.
    expiry: AtomicU64,
    cancelled: AtomicBool,
}

impl Interrupt {
    fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
            expiry: AtomicU64::new(u64::MAX),
            cancelled: AtomicBool::new(false),
        }
    }

    fn expire_at(&self, expiry: Instant) {
        let after = expiry.into_std().saturating_duration_since(self.start);
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.expiry.store(after, Ordering::Relaxed);
    }

    fn may_go_on(&self) -> bool {
        !self.cancelled.load(Ordering::Relaxed)
            && self.start.elapsed().as_millis() < u128::from(self.expiry.load(Ordering::Relaxed))
    }
}

/// One transaction on one connection. Dropping it closes the connection, which
/// rolls back; only an orderly end gives the connection back to its pool.
#[derive(Debug)]
pub(super) struct SqliteTransaction {
    /// `None` only after the end.
    connection: Option<PoolConnection<Sqlite>>,
    interrupt: Arc<Interrupt>,
    mode: Mode,
    savepoint: bool,
    tainted: bool,
}

impl SqliteTransaction {
    pub(super) async fn begin(
        connection: PoolConnection<Sqlite>,
        mode: Mode,
        entry: &Entry,
    ) -> Result<Self, sqlx::Error> {
        let mut this = Self {
            connection: Some(connection),
            interrupt: Arc::new(Interrupt::new()),
            mode,
            savepoint: false,
            tainted: false,
        };
        this.interrupt.expire_at(entry.expiry);
        let interrupt = Arc::clone(&this.interrupt);
        this.connection()?
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || interrupt.may_go_on());
        let begin = match (mode, entry.savepoint) {
            (Mode::ReadOnly, _) => "BEGIN",
            (Mode::ReadWrite, false) => "BEGIN IMMEDIATE",
            (Mode::ReadWrite, true) => "BEGIN IMMEDIATE; SAVEPOINT magic_call",
        };
        this.savepoint = mode == Mode::ReadWrite && entry.savepoint;
        this.tainted = entry.raw;
        this.connection()?.execute(sqlx::raw_sql(begin)).await?;
        Ok(this)
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.connection
            .as_deref_mut()
            .ok_or(sqlx::Error::PoolClosed)
    }

    /// Keeps what the calls before have done and marks where the next one starts.
    pub(super) async fn enter(&mut self, entry: &Entry) -> Result<(), sqlx::Error> {
        self.interrupt.expire_at(entry.expiry);
        self.tainted |= entry.raw;
        if self.mode == Mode::ReadOnly || !entry.savepoint {
            return Ok(());
        }
        let mark = if self.savepoint {
            "RELEASE magic_call; SAVEPOINT magic_call"
        } else {
            "SAVEPOINT magic_call"
        };
        self.connection()?.execute(sqlx::raw_sql(mark)).await?;
        self.savepoint = true;
        Ok(())
    }

    /// Undoes the last call. Some errors make SQLite roll the whole transaction
    /// back by itself (<https://www.sqlite.org/lang_transaction.html>, "Response
    /// to errors within a transaction"); then the savepoint is gone and this fails.
    pub(super) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        if self.mode == Mode::ReadWrite && self.savepoint {
            self.interrupt.expire_at(Instant::now() + UNDO_TIME);
            self.connection()?
                .execute(sqlx::raw_sql("ROLLBACK TO magic_call"))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn commit(mut self, expiry: Instant) -> Result<(), CommitFault> {
        self.interrupt.expire_at(expiry);
        let result = match self.connection() {
            Ok(connection) => connection.execute(sqlx::raw_sql("COMMIT")).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(_) => {
                self.give_back();
                Ok(())
            }
            Err(error) => Err(CommitFault::new(error)),
        }
    }

    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.interrupt.expire_at(Instant::now() + UNDO_TIME);
        self.connection()?
            .execute(sqlx::raw_sql("ROLLBACK"))
            .await?;
        self.give_back();
        Ok(())
    }

    fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && self.tainted
        {
            connection.close_on_drop();
        }
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.interrupt.cancelled.store(true, Ordering::Relaxed);
            connection.close_on_drop();
        }
    }
}
