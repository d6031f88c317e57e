//! What the tests of this capability share: both databases, real ones, and a way to call.

use super::postgres_server::Postgres;
use super::{Catalog, Connection, Limits, perform, perform_raw};
use crate::call::Call;
use crate::capability::Method;
use crate::record::{AuditSink, CallRecord, Durable, Intent};
use magic_contract::{CapabilityKind, Contract, Failure, Grant, Policy};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Forgets every record.
struct NoAudit;

impl AuditSink for NoAudit {
    fn record(&self, _: CallRecord<'_>) {}

    fn intend<'a>(&'a self, _: Intent<'a>) -> Durable<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

thread_local! {
    /// A test calls several benches, and one server is enough for all of them.
    static SERVER: RefCell<Weak<Postgres>> = const { RefCell::new(Weak::new()) };
    static DATABASES: Cell<u32> = const { Cell::new(0) };
}

fn server_of_this_test() -> Rc<Postgres> {
    SERVER.with_borrow_mut(|shared| {
        shared.upgrade().unwrap_or_else(|| {
            let server = Rc::new(Postgres::start());
            *shared = Rc::downgrade(&server);
            server
        })
    })
}

async fn connect_to_new_database(server: &Postgres) -> sqlx::PgConnection {
    let number = DATABASES.get();
    DATABASES.set(number + 1);
    let url = server.database(&format!("test_{number}"));
    let url = url.parse().expect("a URL");
    sqlx::postgres::PgConnectOptions::from_url(&url)
        .expect("options")
        .disable_statement_logging()
        .connect()
        .await
        .expect("a connection")
}

enum Database {
    Sqlite(sqlx::SqliteConnection),
    Postgres(
        sqlx::PgConnection,
        #[expect(dead_code, reason = "the server runs as long as somebody holds it")] Rc<Postgres>,
    ),
}

/// One database with a schema, and a controller that may call it.
pub(crate) struct Bench {
    database: Database,
    catalog: Catalog,
    grant: Grant,
    /// What the next call may use.
    pub(crate) limits: Limits,
    /// What the last call noted.
    pub(crate) facts: Map<String, Value>,
}

/// The capabilities of a contract that lets everything through.
pub(crate) const EVERYTHING: &str = "[db:read, db:write, db:rawsql]";

/// What a call may use unless a test says otherwise.
pub(crate) const LIMITS: Limits = Limits {
    rows_per_call: 1_000,
    bytes_per_call: 1 << 20,
    writes_left: 1_000,
};

/// Grants a contract's capabilities, written as in the contract.
pub(crate) fn grant(capabilities: &str) -> Grant {
    let text = format!(
        "name: Test\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\n\
         capabilities: {capabilities}\n"
    );
    let contract = Contract::parse(text.as_bytes(), "contract.yaml").expect("a valid contract");
    Grant::derive(&contract, &Policy::development())
}

impl Bench {
    /// SQLite in memory.
    pub(crate) async fn sqlite(schema: &str) -> Self {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
            .in_memory(true)
            .foreign_keys(true)
            .disable_statement_logging()
            .connect()
            .await
            .expect("a database in memory");
        (&mut connection)
            .execute(AssertSqlSafe(schema.to_owned()))
            .await
            .expect("the schema");
        Self::new(Database::Sqlite(connection))
    }

    /// PostgreSQL, in a database of its own.
    pub(crate) async fn postgres(schema: &str) -> Self {
        let server = server_of_this_test();
        let mut connection = connect_to_new_database(&server).await;
        sqlx::raw_sql(AssertSqlSafe(schema.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the schema");
        Self::new(Database::Postgres(connection, server))
    }

    /// Both, with the same schema. Words that one of the databases lacks are exchanged.
    pub(crate) async fn both(schema: &str) -> [Self; 2] {
        let for_sqlite = schema
            .replace("bigserial", "INTEGER")
            .replace("double precision", "REAL");
        [
            Self::sqlite(&for_sqlite).await,
            Self::postgres(schema).await,
        ]
    }

    fn new(database: Database) -> Self {
        Self {
            database,
            catalog: Catalog::new(),
            grant: grant(EVERYTHING),
            limits: LIMITS,
            facts: Map::new(),
        }
    }

    /// The same with another contract.
    pub(crate) fn may(&mut self, capabilities: &str) -> &mut Self {
        self.grant = grant(capabilities);
        self
    }

    /// Which database it is, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "SQLite",
            Database::Postgres(..) => "PostgreSQL",
        }
    }

    /// Whether it is PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.database, Database::Postgres(..))
    }

    /// Runs SQL of the test's own.
    pub(crate) async fn sql(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match &mut self.database {
            Database::Sqlite(connection) => {
                sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
            }
            Database::Postgres(connection, _) => {
                sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
            }
        }
        .expect("the test's own SQL");
    }

    /// Performs a call as the session would: within a savepoint that a failure rolls back.
    pub(crate) async fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.text(method, &params.to_string()).await
    }

    /// The same with the text of the parameters.
    pub(crate) async fn text(&mut self, method: &str, params: &str) -> Result<Value, Failure> {
        let method = Method::parse(method).expect("a method");
        let writes = self.grant.check(CapabilityKind::DbWrite).ok();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut call = Call::begin(1, method, deadline, &self.grant, &NoAudit)?;
        let (catalog, limits) = (&self.catalog, &mut self.limits);
        let result = match &mut self.database {
            Database::Sqlite(connection) => {
                let mut transaction = connection.begin().await.expect("a transaction");
                let live = Connection::Sqlite(&mut transaction);
                let result = if method == Method::DbRaw {
                    perform_raw(live, catalog, &mut call, params, limits, writes).await
                } else {
                    perform(live, catalog, &mut call, params, limits).await
                };
                match result {
                    Ok(_) => transaction.commit().await.expect("a commit"),
                    // There is none to roll back when the connection is gone.
                    Err(_) => drop(transaction.rollback().await),
                }
                result
            }
            Database::Postgres(connection, _) => {
                let mut transaction = connection.begin().await.expect("a transaction");
                if writes.is_none() {
                    (&mut *transaction)
                        .execute("SET TRANSACTION READ ONLY")
                        .await
                        .expect("a read-only transaction");
                }
                let live = Connection::Postgres(&mut transaction);
                let result = if method == Method::DbRaw {
                    perform_raw(live, catalog, &mut call, params, limits, writes).await
                } else {
                    perform(live, catalog, &mut call, params, limits).await
                };
                match result {
                    Ok(_) => transaction.commit().await.expect("a commit"),
                    // There is none to roll back when the connection is gone.
                    Err(_) => drop(transaction.rollback().await),
                }
                result
            }
        };
        self.facts = call.into_facts();
        result.map(|text| {
            serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("an answer that is JSON: {error}: {text}"))
        })
    }
}
