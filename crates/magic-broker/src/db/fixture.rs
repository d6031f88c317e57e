//! Real databases for tests of sessions: SQLite in a folder of its own, and a
//! PostgreSQL server of the test's own. Everything ends with the value that
//! started it.

use std::time::Duration;

use magic_contract::Environment;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use tempfile::TempDir;

use super::postgres_server::Postgres;
use super::{Database, DatabaseOptions, script};
use magic_contract::DatabaseUrl;

/// A connection beside the runtime's.
pub(crate) async fn connect(server: &Postgres, database: &str) -> PgConnection {
    let url = server.url(database).parse().expect("a URL");
    sqlx::postgres::PgConnectOptions::from_url(&url)
        .expect("options")
        .connect()
        .await
        .expect("a connection")
}

/// One open database of either kind, with all that keeps it alive.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    pub(crate) url: DatabaseUrl,
    pub(crate) server: Option<Postgres>,
    _folder: TempDir,
}

impl TestDatabase {
    /// SQLite, with options changed by the test.
    pub(crate) async fn sqlite(change: impl FnOnce(&mut DatabaseOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::sqlite(folder.path().join("data/controllers.db"));
        Self::open(url, folder, None, change).await
    }

    /// PostgreSQL, with options changed by the test.
    pub(crate) async fn postgres(change: impl FnOnce(&mut DatabaseOptions)) -> Self {
        let server = Postgres::start();
        let url = DatabaseUrl::parse(&server.url("postgres")).expect("a URL");
        let folder = tempfile::tempdir().expect("a folder");
        Self::open(url, folder, Some(server), change).await
    }

    /// One of each.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite(|_| {}).await, Self::postgres(|_| {}).await]
    }

    async fn open(
        url: DatabaseUrl,
        folder: TempDir,
        server: Option<Postgres>,
        change: impl FnOnce(&mut DatabaseOptions),
    ) -> Self {
        let mut options = DatabaseOptions::new(url.clone(), Environment::Development);
        options.pool_size = 4;
        change(&mut options);
        let database = Database::open(options).await.expect("a database");
        Self {
            database,
            url,
            server,
            _folder: folder,
        }
    }

    /// Runs a script beside every session, committed at once.
    pub(crate) async fn run(&self, sql: &str) {
        let script = script::script(sql.to_owned());
        match &self.server {
            Some(server) => {
                let mut connection = connect(server, "postgres").await;
                connection.execute(script).await.expect("a script");
            }
            None => {
                let mut connection = self.sqlite_connection().await;
                connection.execute(script).await.expect("a script");
            }
        }
    }

    /// A number that a query gives, seen from outside of every session.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match &self.server {
            Some(server) => {
                let mut connection = connect(server, "postgres").await;
                // The simple protocol gives every type as text.
                let row = connection.fetch_one(sqlx::raw_sql(sql)).await;
                let text = row.and_then(|row| row.try_get_unchecked::<String, _>(0));
                text.map(|text| text.parse().expect("a number"))
            }
            None => {
                let mut connection = self.sqlite_connection().await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        }
        .expect("a number")
    }

    async fn sqlite_connection(&self) -> sqlx::SqliteConnection {
        let magic_contract::DatabasePlace::Sqlite(path) = self.url.place() else {
            panic!("a file");
        };
        super::sqlite::options(path, Duration::from_secs(30))
            .connect()
            .await
            .expect("a connection")
    }
}
