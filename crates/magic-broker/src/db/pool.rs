//! The connections to the controllers' database.
//!
//! Two pools of the driver behind one enum rather than its `Any` type, which
//! cannot carry decimals, timestamps and JSON. Waiting for a connection is
//! bounded twice: in time, and in how many requests may wait, because a
//! database that has stopped would otherwise collect every request there is and
//! be met by all of them when it comes back.
//!
//! Opening a database brings the runtime's own tables up to date, so nothing
//! runs against a database that cannot keep its promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use magic_contract::{Environment, Failure};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection as _, Pool};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Catalog;
use super::outbox::Outbox;
use super::{Idempotency, failure, postgres, schema, sqlite};
use crate::sqlite_file;
use magic_contract::{DatabasePlace, DatabaseUrl};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Where it is.
    pub url: DatabaseUrl,
    /// In production raw SQL needs a role of its own.
    pub environment: Environment,
    /// How many connections there are at most; with SQLite, how many that read,
    /// beside the one that writes.
    pub pool_size: u32,
    /// How many requests may wait for a connection; more are refused at once.
    pub queue: usize,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// How long one call may take; the deadline of its request may be sooner.
    pub statement_timeout: Duration,
    /// The role that raw SQL runs in, on PostgreSQL. It must exist, and must not
    /// reach the schema `magic`.
    pub raw_role: Option<String>,
}

impl DatabaseOptions {
    /// The usual sizes and times.
    pub fn new(url: DatabaseUrl, environment: Environment) -> Self {
        Self {
            url,
            environment,
            pool_size: 10,
            queue: 256,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            raw_role: None,
        }
    }
}

/// A database could not be opened. The messages say what to type and hold no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The file of a SQLite database cannot be created.
    #[error("cannot create {place}; choose another file with DATABASE_URL=sqlite://FILE")]
    Create {
        /// The database.
        place: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The parameters of the URL cannot be used.
    #[error("the parameters of DATABASE_URL for {place} cannot be used")]
    Parameters {
        /// The database, without its password.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Nobody answers, or they refuse.
    #[error("cannot connect to {place}; see that it runs, and that DATABASE_URL names it")]
    Connect {
        /// The database, without its password.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Nobody answered in time.
    #[error(
        "{place} does not answer within {} s; see that it runs, and that DATABASE_URL names it",
        waited.as_secs()
    )]
    Silent {
        /// The database, without its password.
        place: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The runtime's own tables cannot be read or brought up to date.
    #[error(
        "cannot keep the runtime's own tables there; on PostgreSQL an administrator may have to type, in that database: CREATE SCHEMA magic AUTHORIZATION the_runtimes_role"
    )]
    Schema {
        /// What the database says.
        source: sqlx::Error,
    },
    /// A later program has been here.
    #[error(
        "the runtime's own tables there have version {found} and this program knows {known}; use the later program that made them"
    )]
    Later {
        /// The version that is recorded.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The role for raw SQL is not fit for it.
    #[error("{0}")]
    RawRole(String),
}

/// The controllers' database; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pools: Pools,
    catalog: Catalog,
    environment: Environment,
    pool_size: u32,
    queue: usize,
    waiting: AtomicUsize,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    raw_role: Option<Arc<str>>,
    effects: Notify,
    /// Whether the disk has failed a commit. See [`Database::is_sound`].
    broken: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Pools {
    Sqlite {
        readers: SqlitePool,
        /// Of one connection.
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Connects and brings the runtime's own tables up to date.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; a database that is down is one.
    pub async fn open(options: DatabaseOptions) -> Result<Self, DatabaseError> {
        let place = options.url.to_string();
        let pools = match options.url.place() {
            DatabasePlace::Sqlite(path) => open_sqlite(path, place, &options).await?,
            DatabasePlace::Postgres(url) => open_postgres(url, place, &options).await?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                pools,
                catalog: Catalog::new(),
                environment: options.environment,
                pool_size: options.pool_size,
                queue: options.queue,
                waiting: AtomicUsize::new(0),
                acquire_timeout: options.acquire_timeout,
                statement_timeout: options.statement_timeout,
                raw_role: options.raw_role.map(Arc::from),
                effects: Notify::new(),
                broken: AtomicBool::new(false),
            }),
        })
    }

    /// The effects that wait to be delivered.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// The answers that are kept for callers who ask again.
    pub fn idempotency(&self) -> Idempotency {
        Idempotency::new(self.clone())
    }

    /// Whether changes are taken. After a sync of SQLite's log has failed nobody
    /// knows which pages of it the disk has, and a second sync may report success
    /// for pages that are gone; so nothing is written after it until the next
    /// start, which reads what the disk has.
    pub fn is_sound(&self) -> bool {
        !self.inner.broken.load(Ordering::Acquire)
    }

    /// The disk has failed a commit.
    pub(super) fn break_off(&self) {
        self.inner.broken.store(true, Ordering::Release);
        tracing::error!(
            "the database could not make a commit durable and takes no more changes; see to its disk, then start the runtime anew"
        );
    }

    /// Frees what an earlier process had claimed. To be called by whoever knows
    /// that no other one uses this database; with PostgreSQL nobody does, so
    /// there the claims end by their leases. Should one live all the same, it
    /// loses nothing but its claims: what it delivers is delivered twice, and a
    /// request whose key was taken from it cannot commit.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn take_over(&self) -> Result<(), Failure> {
        let Pools::Sqlite { .. } = self.pools() else {
            return Ok(());
        };
        self.outbox().free().await?;
        self.idempotency().free().await
    }

    /// Closes every connection, once they are back.
    pub async fn close(&self) {
        match &self.inner.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.inner.pools
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(super) fn pool_size(&self) -> u32 {
        self.inner.pool_size
    }

    pub(super) fn raw_role(&self) -> Option<Arc<str>> {
        self.inner.raw_role.clone()
    }

    pub(super) fn statement_timeout(&self) -> Duration {
        self.inner.statement_timeout
    }

    /// Rung by every commit that leaves effects.
    pub(super) fn effects(&self) -> &Notify {
        &self.inner.effects
    }

    /// Whether raw SQL is confined as the environment demands.
    pub(super) fn confines_raw(&self) -> bool {
        match (self.inner.environment, &self.inner.pools) {
            (Environment::Development, _) => true,
            (Environment::Production, Pools::Postgres(_)) => self.inner.raw_role.is_some(),
            (Environment::Production, Pools::Sqlite { .. }) => false,
        }
    }

    /// Waits for a connection, within bounds.
    pub(super) async fn acquire<D: sqlx::Database>(
        &self,
        pool: &Pool<D>,
        expiry: Instant,
    ) -> Result<PoolConnection<D>, Failure> {
        let started = Instant::now();
        let _place = Waiting::join(&self.inner).ok_or_else(failure::too_many_waiting)?;
        let patience = self
            .inner
            .acquire_timeout
            .min(expiry.saturating_duration_since(started));
        match timeout(patience, pool.acquire()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) if Instant::now() >= expiry => {
                Err(failure::out_of_time("get a connection to the database"))
            }
            Ok(Err(sqlx::Error::PoolTimedOut)) => Err(failure::no_connection(
                started.elapsed(),
                "the pool timed out",
            )),
            Err(_) => Err(failure::no_connection(
                started.elapsed(),
                "the wait timed out",
            )),
            Ok(Err(error)) => Err(failure::of("connect to it", &error)),
        }
    }
}

/// One request in the queue for connections.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(inner: &'a Inner) -> Option<Self> {
        let place = Self(&inner.waiting);
        // The place is given up by the drop of a request that is refused as well.
        (inner.waiting.fetch_add(1, Ordering::AcqRel) < inner.queue).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn open_sqlite(
    path: &std::path::Path,
    place: String,
    options: &DatabaseOptions,
) -> Result<Pools, DatabaseError> {
    if let Err(source) = sqlite_file::prepare(path).await {
        return Err(DatabaseError::Create { place, source });
    }
    // Another process that writes holds this one up no longer than a request
    // would wait for a connection.
    let connect = sqlite::options(path, options.acquire_timeout);
    let mut first = match sqlite::connect(&connect, options.acquire_timeout).await {
        Ok(connection) => connection,
        Err(source) => return Err(DatabaseError::Connect { place, source }),
    };
    schema::update_sqlite(&mut first).await?;
    if let Err(source) = first.close().await {
        return Err(DatabaseError::Schema { source });
    }
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
    };
    Ok(Pools::Sqlite {
        readers: pool(options.pool_size).connect_lazy_with(sqlite::reader(connect.clone())),
        writer: pool(1).connect_lazy_with(connect),
    })
}

async fn open_postgres(
    url: &url::Url,
    place: String,
    options: &DatabaseOptions,
) -> Result<Pools, DatabaseError> {
    let connect = match postgres::options(url) {
        Ok(connect) => connect,
        Err(source) => return Err(DatabaseError::Parameters { place, source }),
    };
    // Not through the pool, which would try again and again and then only say
    // that it did not succeed.
    let waited = options.acquire_timeout;
    let mut first = match timeout(waited, connect.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(source)) => return Err(DatabaseError::Connect { place, source }),
        Err(_) => return Err(DatabaseError::Silent { place, waited }),
    };
    schema::update_postgres(&mut first).await?;
    if let Some(role) = &options.raw_role {
        postgres::check_raw_role(&mut first, role).await?;
    }
    if let Err(error) = first.close().await {
        tracing::debug!(%error, "the first connection did not close in good order");
    }
    Ok(Pools::Postgres(postgres::pool(
        connect,
        options.pool_size,
        options.acquire_timeout,
    )))
}

#[cfg(test)]
mod tests;
