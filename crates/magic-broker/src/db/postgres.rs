//! PostgreSQL: the settings of every connection, the role for raw SQL, and one transaction.
//!
//! What a round trip costs is most of what a small statement costs, so whatever
//! the runtime has to say to the server around a call is one script: the first
//! call's begins the transaction, bounds it in time, asks for its number and
//! sets the savepoint; each later one's releases the savepoint of the call
//! before. A transaction that only reads has no savepoints: after an error it
//! is begun anew, which loses nothing at READ COMMITTED.
//!
//! Every setting is made with SET LOCAL and so ends with the transaction.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, Executor, PgConnection, PgPool, Postgres, Row};
use tokio::time::Instant;
use url::Url;

use super::pool::DatabaseError;
use super::script::{quoted, script};
use super::transaction::{CommitFault, Entry, Identity, Mode};

/// How long a statement may run on after its client was closed, at most; see
/// `client_connection_check_interval` of PostgreSQL 14.
const CONNECTION_CHECK: &str = "SET client_connection_check_interval = '500ms'";
const CONNECTION_CHECK_SINCE: u32 = 140_000;

/// A connection that has been idle for less is not asked whether it still lives.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How much longer than its request a transaction may be idle before the server
/// ends it, should this process stand still.
const IDLE_GRACE: Duration = Duration::from_secs(10);

/// What every connection is set to; time zone and date style are the driver's
/// own settings and UTC and ISO.
pub(super) fn options(url: &Url) -> Result<PgConnectOptions, sqlx::Error> {
    let named = url.query_pairs().any(|(key, _)| key == "application_name");
    let options = PgConnectOptions::from_url(url)?.disable_statement_logging();
    Ok(if named {
        options
    } else {
        options.application_name("magic")
    })
}

/// The pool, before its first connection.
pub(super) fn pool(options: PgConnectOptions, size: u32, timeout: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// A role that is called as one of the runtime's own schemas has it first in its search
/// path, under `"$user"`, and bare names would mean the runtime's tables.
const OWN_SCHEMA_OUT: &str = "SELECT set_config('search_path', 'public', false)
    WHERE current_user IN ('magic', 'magic_state') OR current_schemas(false) && '{magic,magic_state}'::name[]";

/// Settings that cannot be sent with the start of a session everywhere: a pooler
/// in between may refuse `options`.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection
        .execute(sqlx::raw_sql("SET intervalstyle = 'iso_8601'"))
        .await?;
    connection.execute(sqlx::raw_sql(OWN_SCHEMA_OUT)).await?;
    if connection.server_version_num() >= Some(CONNECTION_CHECK_SINCE) {
        // Some systems cannot tell; statements then end with their timeout.
        if let Err(error) = connection.execute(sqlx::raw_sql(CONNECTION_CHECK)).await {
            tracing::debug!(%error, "the server does not notice closed connections");
        }
    }
    Ok(())
}

/// What makes a role unfit for raw SQL, as a column each.
const ROLE_CHECK: &str = "\
SELECT r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls,
       pg_has_role(r.oid, current_user, 'MEMBER'),
       (SELECT min(n.nspname)::text FROM pg_namespace n WHERE n.nspname IN ('magic', 'magic_state')
         AND (has_schema_privilege(r.oid, n.oid, 'USAGE') OR has_schema_privilege(r.oid, n.oid, 'CREATE')
           OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v')
             AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')))),
       EXISTS (SELECT FROM pg_roles p WHERE p.rolname IN ('pg_read_server_files', 'pg_write_server_files',
           'pg_execute_server_program', 'pg_signal_backend') AND pg_has_role(r.oid, p.oid, 'MEMBER')),
       NOT pg_has_role(current_user, r.oid, 'MEMBER'),
       current_user::text
  FROM pg_roles r WHERE r.rolname = $1";

/// Sees that raw SQL in this role can do less than the runtime.
///
/// # Errors
///
/// [`DatabaseError::RawRole`], with what to type.
pub(super) async fn check_raw_role(
    connection: &mut PgConnection,
    role: &str,
) -> Result<(), DatabaseError> {
    let row = sqlx::query(ROLE_CHECK)
        .bind(role)
        .fetch_optional(connection)
        .await
        .map_err(|source| DatabaseError::Schema { source })?;
    let refuse = |problem: String| Err(DatabaseError::RawRole(problem));
    let name = quoted(role);
    let Some(row) = row else {
        return refuse(format!(
            "there is no role {name}; as an administrator type: CREATE ROLE {name} NOLOGIN"
        ));
    };
    let read = |index: usize| {
        row.try_get::<bool, _>(index)
            .map_err(|source| DatabaseError::Schema { source })
    };
    if read(0)? {
        return refuse(format!(
            "the role {name} has powers of an administrator; type: ALTER ROLE {name} NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        ));
    }
    let user: String = row
        .try_get(5)
        .map_err(|source| DatabaseError::Schema { source })?;
    let user = quoted(&user);
    if read(1)? {
        return refuse(format!(
            "the role {name} is the runtime's own role {user}, or a member of it; create one of its own: CREATE ROLE magic_raw NOLOGIN"
        ));
    }
    let reached: Option<String> = row
        .try_get(2)
        .map_err(|source| DatabaseError::Schema { source })?;
    if let Some(schema) = reached {
        return refuse(format!(
            "the role {name} can reach the runtime's own tables; type: REVOKE ALL ON SCHEMA {schema} FROM {name}, PUBLIC; REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {name}, PUBLIC"
        ));
    }
    if read(3)? {
        return refuse(format!(
            "the role {name} can reach files or processes of the server; revoke its membership of pg_read_server_files, pg_write_server_files, pg_execute_server_program and pg_signal_backend"
        ));
    }
    if read(4)? {
        return refuse(format!(
            "the runtime's role may not become {name}; type: GRANT {name} TO {user}"
        ));
    }
    Ok(())
}

/// One transaction on one connection. Dropping it closes the connection, which
/// rolls back and ends a running statement; only an orderly end gives the
/// connection back to its pool.
#[derive(Debug)]
pub(super) struct PostgresTransaction {
    /// `None` only after the end.
    connection: Option<PoolConnection<Postgres>>,
    raw_role: Option<Arc<str>>,
    mode: Mode,
    in_raw_role: bool,
    savepoint: bool,
    /// A statement failed since, and there is no savepoint to go back to.
    aborted: bool,
    tainted: bool,
    identity: Option<Identity>,
}

impl PostgresTransaction {
    pub(super) async fn begin(
        connection: PoolConnection<Postgres>,
        mode: Mode,
        entry: &Entry,
        raw_role: Option<Arc<str>>,
    ) -> Result<Self, sqlx::Error> {
        let mut this = Self {
            connection: Some(connection),
            raw_role,
            mode,
            in_raw_role: false,
            savepoint: false,
            aborted: false,
            tainted: false,
            identity: None,
        };
        let mut text = String::new();
        this.write_begin(&mut text, entry);
        this.write_entry(&mut text, entry);
        let row = this.connection()?.fetch_optional(script(text)).await?;
        if let Some(row) = row {
            this.identity = Some(Identity {
                transaction: row.try_get::<String, _>(0)?.parse().unwrap_or_default(),
                server_start: row.try_get(1)?,
            });
        }
        Ok(this)
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection
            .as_deref_mut()
            .ok_or(sqlx::Error::PoolClosed)
    }

    /// Keeps what the calls before have done and marks where the next one starts.
    pub(super) async fn enter(&mut self, entry: &Entry) -> Result<(), sqlx::Error> {
        let mut text = String::new();
        if self.aborted {
            text.push_str("ROLLBACK; ");
            self.write_begin(&mut text, entry);
            self.in_raw_role = false;
            self.aborted = false;
        }
        self.write_entry(&mut text, entry);
        if !text.is_empty() {
            self.connection()?.execute(script(text)).await?;
        }
        Ok(())
    }

    /// Undoes the last call.
    pub(super) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        if self.savepoint {
            self.connection()?
                .execute(sqlx::raw_sql("ROLLBACK TO SAVEPOINT magic_call"))
                .await?;
        } else {
            self.aborted = true;
        }
        Ok(())
    }

    pub(super) async fn commit(mut self, expiry: Instant) -> Result<(), CommitFault> {
        let mut text = String::new();
        write_timeout(&mut text, expiry);
        if self.savepoint {
            // A transaction in error would answer COMMIT with a silent rollback;
            // this statement it answers with an error.
            text.push_str("RELEASE SAVEPOINT magic_call; ");
        }
        text.push_str("COMMIT");
        let result = match self.connection() {
            Ok(connection) => connection.execute(script(text)).await,
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
        self.connection()?
            .execute(sqlx::raw_sql("ROLLBACK"))
            .await?;
        self.give_back();
        Ok(())
    }

    fn write_begin(&self, text: &mut String, entry: &Entry) {
        text.push_str(match self.mode {
            Mode::ReadOnly => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; ",
            Mode::ReadWrite => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ",
        });
        let idle = millis(remaining(entry.deadline).saturating_add(IDLE_GRACE));
        text.push_str(&format!(
            "SET LOCAL idle_in_transaction_session_timeout = {idle}; "
        ));
        if self.mode == Mode::ReadOnly {
            write_timeout(text, entry.expiry);
        } else {
            text.push_str(
                "SELECT pg_catalog.txid_current()::text, pg_catalog.pg_postmaster_start_time()::text; ",
            );
        }
    }

    /// What stands before the statements of an entry; the fields then say what
    /// holds once the server has done it.
    fn write_entry(&mut self, text: &mut String, entry: &Entry) {
        let read_write = self.mode == Mode::ReadWrite;
        if self.savepoint {
            text.push_str("RELEASE SAVEPOINT magic_call; ");
            self.savepoint = false;
        }
        match (&self.raw_role, entry.raw) {
            (Some(role), true) if !self.in_raw_role => {
                text.push_str(&format!("SET LOCAL ROLE {}; ", quoted(role)));
                self.in_raw_role = true;
            }
            (_, false) if self.in_raw_role => {
                text.push_str("SET LOCAL ROLE NONE; ");
                self.in_raw_role = false;
            }
            _ => {}
        }
        self.tainted |= entry.raw;
        if read_write {
            write_timeout(text, entry.expiry);
            if entry.savepoint {
                text.push_str("SAVEPOINT magic_call; ");
                self.savepoint = true;
            }
        }
    }

    fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && self.tainted
        {
            connection.close_on_drop();
        }
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// What the server says of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    Aborted,
    /// Its session has not ended yet.
    InProgress,
    /// It is forgotten, or this is another server.
    Unknown,
}

/// Asks whether a transaction took place.
pub(super) async fn fate(
    connection: &mut PgConnection,
    identity: &Identity,
) -> Result<Fate, sqlx::Error> {
    let row = sqlx::query(
        "SELECT CASE WHEN pg_catalog.pg_postmaster_start_time()::text = $2
                     THEN pg_catalog.txid_status($1) END",
    )
    .bind(identity.transaction)
    .bind(&identity.server_start)
    .fetch_one(connection)
    .await?;
    Ok(match row.try_get::<Option<&str>, _>(0)? {
        Some("committed") => Fate::Committed,
        Some("aborted") => Fate::Aborted,
        Some(_) => Fate::InProgress,
        None => Fate::Unknown,
    })
}

fn write_timeout(text: &mut String, expiry: Instant) {
    text.push_str(&format!(
        "SET LOCAL statement_timeout = {}; ",
        millis(remaining(expiry))
    ));
}

fn remaining(expiry: Instant) -> Duration {
    expiry.saturating_duration_since(Instant::now())
}

/// Whole milliseconds; never 0, which would mean no limit.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis())
        .unwrap_or(i32::MAX)
        .max(1)
}
