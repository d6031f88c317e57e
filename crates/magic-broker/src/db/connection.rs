//! What a call is given to work with: a live connection, and what it may still use up.

use super::kind::Dialect;

/// A connection inside the request's transaction.
#[derive(Debug)]
pub(crate) enum Connection<'c> {
    /// SQLite.
    Sqlite(&'c mut sqlx::SqliteConnection),
    /// PostgreSQL, whose session runs in UTC.
    Postgres(&'c mut sqlx::PgConnection),
}

impl Connection<'_> {
    /// Which SQL it speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

/// What one call, and the request that it belongs to, may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rows that one call may return.
    pub(crate) rows_per_call: u64,
    /// Bytes of rows, as JSON text, that one call may return.
    pub(crate) bytes_per_call: u64,
    /// Rows that the request may still change. Each call that changes rows
    /// subtracts them; when its savepoint is rolled back, the caller may add
    /// them again or leave it.
    pub(crate) writes_left: u64,
}
