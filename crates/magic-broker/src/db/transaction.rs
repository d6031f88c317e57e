//! One transaction on either database.
//!
//! Everything is arranged so that forgetting is safe: a transaction that is
//! dropped, at whatever await, takes its connection with it, and the database
//! rolls back. A connection returns to its pool only after an orderly end.

use tokio::time::Instant;

use super::Connection;
use super::failure;
use super::pool::{Database, Pools};
use super::postgres::PostgresTransaction;
use super::sqlite::SqliteTransaction;
use magic_contract::Failure;

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    ReadOnly,
    ReadWrite,
}

/// How the next statements are run.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// As the role for raw SQL, on a connection that is closed afterwards.
    pub(super) raw: bool,
    /// Behind a savepoint that they can be rolled back to.
    pub(super) savepoint: bool,
    /// The statements are ended at this time.
    pub(super) expiry: Instant,
    /// Nothing of the transaction is wanted after this time.
    pub(super) deadline: Instant,
}

impl Entry {
    /// The runtime's own statements, which need no savepoint.
    pub(super) fn own(expiry: Instant) -> Self {
        Self {
            raw: false,
            savepoint: false,
            expiry,
            deadline: expiry,
        }
    }
}

/// What identifies a transaction to whoever asks later whether it committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// PostgreSQL's number of the transaction.
    pub(super) transaction: i64,
    /// When that server was started. Another server, or the same after a crash,
    /// may know other transactions under the same number.
    pub(super) server_start: String,
}

/// A commit failed.
#[derive(Debug)]
pub(super) struct CommitFault {
    pub(super) error: sqlx::Error,
}

impl CommitFault {
    pub(super) fn new(error: sqlx::Error) -> Self {
        Self { error }
    }

    /// Whether the commit may have taken place all the same.
    pub(super) fn is_open(&self) -> bool {
        failure::leaves_commit_open(&self.error)
    }
}

/// An open transaction.
#[derive(Debug)]
pub(super) enum Transaction {
    Sqlite(SqliteTransaction, Database),
    Postgres(PostgresTransaction),
}

impl Transaction {
    /// Takes a connection and begins, ready for the statements of `entry`.
    ///
    /// # Errors
    ///
    /// A retriable failure when there is no connection in time.
    pub(super) async fn begin(
        database: &Database,
        mode: Mode,
        entry: &Entry,
    ) -> Result<Self, Failure> {
        match database.pools() {
            Pools::Sqlite { .. } if mode == Mode::ReadWrite && !database.is_sound() => {
                Err(failure::broken())
            }
            Pools::Sqlite { readers, writer } => {
                let pool = match mode {
                    Mode::ReadOnly => readers,
                    Mode::ReadWrite => writer,
                };
                let connection = database.acquire(pool, entry.expiry).await?;
                SqliteTransaction::begin(connection, mode, entry)
                    .await
                    .map(|transaction| Self::Sqlite(transaction, database.clone()))
                    .map_err(|error| failure::of("begin a transaction", &error))
            }
            Pools::Postgres(pool) => {
                // After a restart of the server every idle connection is dead,
                // and each of them is found out by its first use.
                let mut attempts = database.pool_size().saturating_add(1);
                loop {
                    let connection = database.acquire(pool, entry.expiry).await?;
                    let begun =
                        PostgresTransaction::begin(connection, mode, entry, database.raw_role())
                            .await;
                    match begun {
                        Ok(transaction) => return Ok(Self::Postgres(transaction)),
                        Err(error)
                            if failure::is_lost(&error)
                                && attempts > 0
                                && Instant::now() < entry.expiry =>
                        {
                            attempts -= 1;
                        }
                        Err(error) => return Err(failure::of("begin a transaction", &error)),
                    }
                }
            }
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Sqlite(transaction, _) => transaction.mode(),
            Self::Postgres(transaction) => transaction.mode(),
        }
    }

    /// What to ask for when its commit is lost.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Sqlite(..) => None,
            Self::Postgres(transaction) => transaction.identity(),
        }
    }

    /// The live connection.
    pub(super) fn connection(&mut self) -> Result<Connection<'_>, Failure> {
        match self {
            Self::Sqlite(transaction, _) => transaction.connection().map(Connection::Sqlite),
            Self::Postgres(transaction) => transaction.connection().map(Connection::Postgres),
        }
        .map_err(|error| failure::of("use its connection", &error))
    }

    /// Makes ready for the next statements; what was done before is kept.
    pub(super) async fn enter(&mut self, entry: &Entry) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction, _) => transaction.enter(entry).await,
            Self::Postgres(transaction) => transaction.enter(entry).await,
        }
    }

    /// Undoes everything since [`Transaction::enter`]. When this fails, the
    /// transaction as a whole is lost.
    pub(super) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction, _) => transaction.undo().await,
            Self::Postgres(transaction) => transaction.undo().await,
        }
    }

    pub(super) async fn commit(self, expiry: Instant) -> Result<(), CommitFault> {
        match self {
            Self::Sqlite(transaction, database) => {
                let committed = transaction.commit(expiry).await;
                if let Err(fault) = &committed
                    && fault.is_open()
                {
                    database.break_off();
                }
                committed
            }
            Self::Postgres(transaction) => transaction.commit(expiry).await,
        }
    }

    /// Rolls back and gives the connection back, without anybody waiting for it:
    /// what is left is cleaning up.
    pub(super) fn release(self) {
        tokio::spawn(async move {
            let ended = match self {
                Self::Sqlite(transaction, _) => transaction.rollback().await,
                Self::Postgres(transaction) => transaction.rollback().await,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection was closed instead of rolled back");
            }
        });
    }
}
