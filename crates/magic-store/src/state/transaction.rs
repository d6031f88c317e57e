//! One transaction on either database, and the one set of statements for both.
//!
//! Every statement of the state is a constant that both databases understand:
//! numbered parameters as `$1`, and four types that both have. So there is one
//! text to read, to review and to test. What differs is said here and in the
//! schema: how a transaction begins, and how changes take turns.
//!
//! A transaction has a time limit as a whole. Forgetting one is safe: when it is
//! dropped, at whatever await, its connection is closed and the database rolls
//! back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Postgres, Row as _, Sqlite};
use tokio::time::{Instant, timeout_at};

use super::error::{Kind, StateError, kind};
use super::open::{Inner, Pools};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads one moment.
    Read,
    /// Writes rows that no other transaction depends on.
    Write,
    /// Changes deployments or keys: one at a time, on all nodes together.
    Change,
    /// Appends log lines: one at a time, so that cursors become visible in their order.
    Append,
}

/// Turns, on PostgreSQL; advisory locks are numbered for a database as a whole.
/// The words "magicst" and "magiclg" in ASCII.
const CHANGE_TURN: i64 = 0x6d_61_67_69_63_73_74;
const APPEND_TURN: i64 = 0x6d_61_67_69_63_6c_67;

/// Settings of one transaction. A server that was told to answer before its log
/// is on the disk is told otherwise; and one that hears nothing more from a node
/// that stands still ends the transaction, because others wait for its turn.
const POSTGRES_SETTINGS: &str = "\
SELECT set_config('search_path', 'magic_state', true),
       set_config('statement_timeout', $1, true),
       set_config('idle_in_transaction_session_timeout', $1, true),
       set_config('synchronous_commit',
         CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
         true)";

/// A parameter; the empty values keep their type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Real(Option<f64>),
    Bytes(Arc<[u8]>),
}

macro_rules! value_from {
    ($($from:ty => $kind:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(Some(value))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value)
            }
        }
    )*};
}

value_from!(i64 => Integer, f64 => Real);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::from(Some(value))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(without_null))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::from(value.as_str())
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::from(value.as_deref())
    }
}

/// PostgreSQL's text cannot hold the null character, so neither database is given it.
pub(super) fn without_null(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(Some(i64::from(value)))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.into())
    }
}

/// The parameters of a statement, in their order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::state::transaction::Value::from($value)),*]
    };
}
pub(super) use values;

/// A row of either database.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column can be read as, on both.
pub(super) trait Column:
    for<'r> sqlx::Decode<'r, Sqlite>
    + sqlx::Type<Sqlite>
    + for<'r> sqlx::Decode<'r, Postgres>
    + sqlx::Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> sqlx::Decode<'r, Sqlite>
        + sqlx::Type<Sqlite>
        + for<'r> sqlx::Decode<'r, Postgres>
        + sqlx::Type<Postgres>
{
}

impl Row {
    pub(super) fn get<T: Column>(&self, index: usize) -> Result<T, StateError> {
        match self {
            Self::Sqlite(row) => row.try_get(index),
            Self::Postgres(row) => row.try_get(index),
        }
        .map_err(|error| StateError::Corrupt {
            what: error.to_string(),
        })
    }
}

#[derive(Debug)]
enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    /// `None` only after the end.
    link: Option<Link>,
    until: Instant,
    state: Arc<Inner>,
}

impl Transaction {
    /// Takes a connection and begins.
    pub(super) async fn begin(state: &Arc<Inner>, access: Access) -> Result<Self, StateError> {
        let until = Instant::now() + state.call_limit;
        let step = "begin a transaction";
        if access != Access::Read && state.broken.load(Ordering::Acquire) {
            return Err(StateError::Unavailable {
                why: "its disk has failed a commit, and nothing is written before the next start"
                    .to_owned(),
            });
        }
        let link = match &state.pools {
            Pools::Sqlite { readers, writer } => {
                let pool = if access == Access::Read {
                    readers
                } else {
                    writer
                };
                Link::Sqlite(bounded(until, step, pool.acquire()).await?)
            }
            Pools::Postgres(pool) => Link::Postgres(bounded(until, step, pool.acquire()).await?),
        };
        let mut this = Self {
            link: Some(link),
            until,
            state: Arc::clone(state),
        };
        let begin = match (&this.link, access) {
            (Some(Link::Sqlite(_)), Access::Read) => "BEGIN",
            (Some(Link::Sqlite(_)), _) => "BEGIN IMMEDIATE",
            (_, Access::Read) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (_, _) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        };
        this.command(step, begin).await?;
        if let Some(Link::Postgres(_)) = &this.link {
            let limit = state.call_limit.as_millis().max(1).to_string();
            this.fetch(step, POSTGRES_SETTINGS, &values![limit]).await?;
            let turn = match access {
                Access::Change => Some(CHANGE_TURN),
                Access::Append => Some(APPEND_TURN),
                Access::Read | Access::Write => None,
            };
            if let Some(turn) = turn {
                let lock = "SELECT pg_catalog.pg_advisory_xact_lock($1)";
                this.fetch("wait for other changes", lock, &values![turn])
                    .await?;
            }
        }
        Ok(this)
    }

    /// Whether it runs on PostgreSQL.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.link, Some(Link::Postgres(_)))
    }

    /// Runs a statement and says how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        step: &'static str,
        statement: &'static str,
        values: &[Value],
    ) -> Result<u64, StateError> {
        let until = self.until;
        match self.link(step)? {
            Link::Sqlite(connection) => {
                let query = bind_sqlite(statement, values);
                let work = query.execute(&mut **connection);
                bounded(until, step, work)
                    .await
                    .map(|done| done.rows_affected())
            }
            Link::Postgres(connection) => {
                let query = bind_postgres(statement, values);
                let work = query.execute(&mut **connection);
                bounded(until, step, work)
                    .await
                    .map(|done| done.rows_affected())
            }
        }
    }

    /// Runs a statement and gives its rows.
    pub(super) async fn fetch(
        &mut self,
        step: &'static str,
        statement: &'static str,
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        let until = self.until;
        match self.link(step)? {
            Link::Sqlite(connection) => {
                let query = bind_sqlite(statement, values);
                let rows = bounded(until, step, query.fetch_all(&mut **connection)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Link::Postgres(connection) => {
                let query = bind_postgres(statement, values);
                let rows = bounded(until, step, query.fetch_all(&mut **connection)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement that has at most one row.
    pub(super) async fn fetch_one(
        &mut self,
        step: &'static str,
        statement: &'static str,
        values: &[Value],
    ) -> Result<Option<Row>, StateError> {
        let mut rows = self.fetch(step, statement, values).await?;
        Ok(rows.pop())
    }

    /// Runs statements that have no parameters.
    pub(super) async fn command(
        &mut self,
        step: &'static str,
        statements: &'static str,
    ) -> Result<(), StateError> {
        let until = self.until;
        match self.link(step)? {
            Link::Sqlite(connection) => {
                bounded(until, step, connection.execute(sqlx::raw_sql(statements)))
                    .await
                    .map(drop)
            }
            Link::Postgres(connection) => {
                bounded(until, step, connection.execute(sqlx::raw_sql(statements)))
                    .await
                    .map(drop)
            }
        }
    }

    /// Keeps what was done, durably.
    pub(super) async fn commit(mut self) -> Result<(), StateError> {
        let commit = sqlx::raw_sql("COMMIT");
        let until = self.until;
        let result = match self.link("commit")? {
            Link::Sqlite(connection) => timeout_at(until, connection.execute(commit))
                .await
                .map(|done| done.map(drop)),
            Link::Postgres(connection) => timeout_at(until, connection.execute(commit))
                .await
                .map(|done| done.map(drop)),
        };
        let why = match result {
            Ok(Ok(())) => {
                self.link = None;
                return Ok(());
            }
            Err(_) => "no answer within the time limit".to_owned(),
            Ok(Err(error)) => match (kind(&error), self.is_postgres()) {
                (Kind::Lost, _) => error.to_string(),
                (Kind::Disk, false) if is_input_output(&error) => {
                    self.break_off();
                    error.to_string()
                }
                _ => return Err(StateError::of("commit", error)),
            },
        };
        Err(StateError::Uncertain { why })
    }

    /// Gives the connection back after reading, or after nothing was to be changed.
    pub(super) async fn end(mut self) -> Result<(), StateError> {
        self.command("end a transaction", "ROLLBACK").await?;
        self.link = None;
        Ok(())
    }

    /// After a sync of SQLite's log has failed nobody knows which pages of it the
    /// disk has, and a second sync may report success for pages that are gone.
    fn break_off(&self) {
        self.state.broken.store(true, Ordering::Release);
        tracing::error!(
            "the runtime's state could not make a commit durable and takes no more changes; see to its disk, then start the runtime anew"
        );
    }

    fn link(&mut self, step: &'static str) -> Result<&mut Link, StateError> {
        let closed = || StateError::of(step, sqlx::Error::PoolClosed);
        self.link.as_mut().ok_or_else(closed)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        match &mut self.link {
            Some(Link::Sqlite(connection)) => connection.close_on_drop(),
            Some(Link::Postgres(connection)) => connection.close_on_drop(),
            None => {}
        }
    }
}

/// Whether the disk has failed, rather than being full or not writable, which leaves nothing open.
fn is_input_output(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == 10)
}

/// Waits for a database, but not for ever.
pub(super) async fn bounded<T>(
    until: Instant,
    step: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StateError> {
    match timeout_at(until, work).await {
        Ok(result) => result.map_err(|error| StateError::of(step, error)),
        Err(_) => Err(StateError::late(step)),
    }
}

fn bind_sqlite<'q>(
    statement: &'static str,
    values: &'q [Value],
) -> sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments> {
    let mut query = sqlx::query(statement);
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text.as_deref()),
            Value::Integer(number) => query.bind(number),
            Value::Real(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(&bytes[..]),
        };
    }
    query
}

fn bind_postgres<'q>(
    statement: &'static str,
    values: &'q [Value],
) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
    let mut query = sqlx::query(statement);
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text.as_deref()),
            Value::Integer(number) => query.bind(number),
            Value::Real(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(&bytes[..]),
        };
    }
    query
}
