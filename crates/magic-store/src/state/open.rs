//! Opening the state: connecting, bringing the tables up to date, and beginning
//! to watch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::error::{Kind, kind};
use super::watch::Watching;
use super::{State, StateError, schema, sqlite_file};
use magic_contract::{DatabasePlace, DatabaseUrl};

/// How the state is opened.
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// Where it is.
    pub url: DatabaseUrl,
    /// How long any one call may take, waiting included; a backup is not one.
    pub call_limit: Duration,
    /// How many connections there are at most; with SQLite, how many that read,
    /// beside the one that writes.
    pub pool_size: u32,
    /// How many bytes of log lines are kept; the oldest go first.
    pub log_bytes: u64,
}

impl StateOptions {
    /// The usual sizes and times: 10 s, 6 connections, 256 MiB of log lines.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            call_limit: Duration::from_secs(10),
            pool_size: 6,
            log_bytes: 256 << 20,
        }
    }
}

/// The state could not be opened. The messages say what to do and hold no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be created or read.
    #[error("cannot use {place}; choose another file with MAGIC_STORE_URL=sqlite://FILE")]
    Create {
        /// The store.
        place: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The parameters of the URL cannot be used.
    #[error("the parameters of MAGIC_STORE_URL for {place} cannot be used")]
    Parameters {
        /// The store, without its password.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Nobody answers, or they refuse.
    #[error("cannot connect to {place}; see that it runs, and that MAGIC_STORE_URL names it")]
    Connect {
        /// The store, without its password.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Nobody answered in time.
    #[error(
        "{place} does not answer within {} s; see that it runs, and that MAGIC_STORE_URL names it",
        waited.as_secs()
    )]
    Silent {
        /// The store, without its password.
        place: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The tables cannot be read or brought up to date.
    #[error(
        "cannot keep the runtime's state there; on PostgreSQL an administrator may have to type, in that database: CREATE SCHEMA magic_state AUTHORIZATION the_runtimes_role"
    )]
    Schema {
        /// What the database says.
        source: sqlx::Error,
    },
    /// A later program has been here.
    #[error(
        "the runtime's state there was brought to version {found} by a later program, and this one knows {known}; use the later program, or another MAGIC_STORE_URL"
    )]
    Later {
        /// The version that is recorded.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The tables were made by another text than this program's.
    #[error(
        "version {number} of the runtime's state there was made by another program than this one; use the program that made it"
    )]
    Changed {
        /// The number of the change.
        number: i64,
    },
    /// It was opened, and then does not answer.
    #[error(transparent)]
    First(StateError),
    /// The file is somebody else's.
    #[error(
        "the file holds something else (a table `{table}`); the runtime's state needs a file of its own"
    )]
    Foreign {
        /// A table that is there.
        table: String,
    },
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) pools: Pools,
    pub(super) call_limit: Duration,
    pub(super) log_bytes: u64,
    /// Whether the disk has failed a commit.
    pub(super) broken: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Pools {
    Sqlite {
        readers: SqlitePool,
        /// Of one connection: writers of this process queue for it, first come first served.
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

impl State {
    /// Connects and brings the tables up to date.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a database that is down is one.
    pub async fn open(options: StateOptions) -> Result<Self, OpenError> {
        let place = options.url.to_string();
        let pools = match options.url.place() {
            DatabasePlace::Sqlite(path) => open_sqlite(path, place, &options).await?,
            DatabasePlace::Postgres(url) => open_postgres(url, place, &options).await?,
        };
        let inner = Arc::new(Inner {
            pools,
            call_limit: options.call_limit,
            log_bytes: options.log_bytes,
            broken: AtomicBool::new(false),
        });
        let watching = Watching::begin(&inner).await.map_err(OpenError::First)?;
        Ok(Self {
            inner,
            watching: Arc::new(watching),
        })
    }
}

/// What every connection to a file is set to.
///
/// `trusted_schema` is off so that nothing in the file can reach functions with
/// side effects; the driver is built without loading of extensions.
fn sqlite_options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging()
}

async fn open_sqlite(
    path: &Path,
    place: String,
    options: &StateOptions,
) -> Result<Pools, OpenError> {
    let file = path.to_owned();
    // Off the event loop, since a disk takes as long as it takes.
    let prepared = tokio::task::spawn_blocking(move || sqlite_file::prepare(&file)).await;
    let prepared = prepared.map_err(std::io::Error::other).flatten();
    if let Err(source) = prepared {
        return Err(OpenError::Create { place, source });
    }
    let connect = sqlite_options(path, options.call_limit);
    // Becoming a file with a write-ahead log is the one step for which SQLite does
    // not wait for others, so two programs that start at once may meet in it.
    let until = Instant::now() + options.call_limit;
    let mut first = loop {
        match connect.connect().await {
            Ok(connection) => break connection,
            Err(error) if kind(&error) == Kind::Busy && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(source) => return Err(OpenError::Connect { place, source }),
        }
    };
    schema::update_sqlite(&mut first).await?;
    first
        .close()
        .await
        .map_err(|source| OpenError::Schema { source })?;
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(options.call_limit)
            .test_before_acquire(false)
    };
    let reader = connect.clone().pragma("query_only", "ON");
    Ok(Pools::Sqlite {
        // One more, for the task that watches.
        readers: pool(options.pool_size.saturating_add(1)).connect_lazy_with(reader),
        writer: pool(1).connect_lazy_with(connect),
    })
}

async fn open_postgres(
    url: &Url,
    place: String,
    options: &StateOptions,
) -> Result<Pools, OpenError> {
    let named = url.query_pairs().any(|(key, _)| key == "application_name");
    let mut connect = match PgConnectOptions::from_url(url) {
        Ok(connect) => connect.disable_statement_logging(),
        Err(source) => return Err(OpenError::Parameters { place, source }),
    };
    if !named {
        connect = connect.application_name("magic-state");
    }
    // Not through the pool, which would try again and again and then only say
    // that it did not succeed.
    let waited = options.call_limit;
    let until = Instant::now() + waited;
    let mut first = match timeout_at(until, connect.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(source)) => return Err(OpenError::Connect { place, source }),
        Err(_) => return Err(OpenError::Silent { place, waited }),
    };
    match timeout_at(until, schema::update_postgres(&mut first)).await {
        Ok(result) => result?,
        Err(_) => return Err(OpenError::Silent { place, waited }),
    }
    if let Err(error) = first.close().await {
        tracing::debug!(%error, "the first connection did not close in good order");
    }
    // Two more, for the tasks that watch and listen.
    let pool = PgPoolOptions::new()
        .max_connections(options.pool_size.saturating_add(2))
        .acquire_timeout(options.call_limit);
    Ok(Pools::Postgres(pool.connect_lazy_with(connect)))
}
