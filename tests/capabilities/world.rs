//! A server with its back ends, and a look at what they hold that does not go through the server.

use crate::support::command::{export, migrate};
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::{Controllers, Server};
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// The name of the database on PostgreSQL.
const DATABASE: &str = "app";

/// What is behind the server.
pub(crate) enum Database {
    Sqlite,
    Postgres(Postgres),
}

pub(crate) struct World {
    // Dropped first, so that it does not complain about what is gone.
    pub(crate) server: Server,
    pub(crate) database: Database,
    pub(crate) redis: Option<Redis>,
    /// Further settings of the server.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl World {
    /// Everything embedded.
    pub(crate) fn embedded(controllers: Controllers, tables: &str) -> Self {
        Self::start(controllers, tables, Database::Sqlite, None)
    }

    /// The same with one setting more.
    pub(crate) fn embedded_with(
        controllers: Controllers,
        tables: &str,
        setting: (&'static str, String),
    ) -> Self {
        Self::start_with(controllers, tables, Database::Sqlite, None, vec![setting])
    }

    pub(crate) fn on_postgres(controllers: Controllers, tables: &str) -> Self {
        let postgres = Postgres::start();
        postgres.database(DATABASE);
        Self::start(controllers, tables, Database::Postgres(postgres), None)
    }

    pub(crate) fn with_redis(controllers: Controllers, tables: &str) -> Self {
        Self::start(controllers, tables, Database::Sqlite, Some(Redis::start()))
    }

    fn start(
        controllers: Controllers,
        tables: &str,
        database: Database,
        redis: Option<Redis>,
    ) -> Self {
        Self::start_with(controllers, tables, database, redis, Vec::new())
    }

    fn start_with(
        controllers: Controllers,
        tables: &str,
        database: Database,
        redis: Option<Redis>,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(&database, redis.as_ref(), &environment);
        migrate(data.path(), tables, &pairs(&settings));
        let server = Server::start_on(data, controllers, &pairs(&settings), &[]);
        Self {
            server,
            database,
            redis,
            environment,
        }
    }

    /// Kills the server as nothing can prepare for, and starts it again on what it left.
    pub(crate) fn restart(self) -> Self {
        self.with_next(Server::kill)
    }

    /// Asks the server to end, waits until it has, and starts it again on what it left.
    pub(crate) fn drain(self) -> Self {
        self.with_next(|server| {
            let (status, data, controllers) = server.drain();
            assert!(status.success(), "{status}");
            (data, controllers)
        })
    }

    fn with_next(self, end: impl FnOnce(Server) -> (TempDir, Controllers)) -> Self {
        let (data, controllers) = end(self.server);
        let settings = settings(&self.database, self.redis.as_ref(), &self.environment);
        let server = Server::start_on(data, controllers, &pairs(&settings), &[]);
        Self { server, ..self }
    }

    /// Every value of the first column of a query.
    pub(crate) fn column(&self, sql: &str) -> Vec<String> {
        self.columns(&[sql]).remove(0)
    }

    /// The first columns of several queries.
    pub(crate) fn columns(&self, queries: &[&str]) -> Vec<Vec<String>> {
        match &self.database {
            Database::Postgres(postgres) => {
                let lines = |sql: &&str| {
                    let text = postgres.sql(DATABASE, sql);
                    text.lines().map(str::to_owned).collect()
                };
                queries.iter().map(lines).collect()
            }
            Database::Sqlite => self.sqlite("controllers.db", queries),
        }
    }

    /// Effects that are committed and not delivered.
    pub(crate) fn outbox(&self) -> usize {
        let table = match self.database {
            Database::Postgres(_) => "magic.outbox",
            Database::Sqlite => "magic_outbox",
        };
        self.column(&format!("SELECT sequence FROM {table}")).len()
    }

    /// The bodies of all messages of a shared embedded queue, hidden ones included, in order of their text.
    pub(crate) fn messages(&self, queue: &str) -> Vec<String> {
        self.messages_of(&[queue]).remove(0)
    }

    /// The same for several queues.
    pub(crate) fn messages_of(&self, queues: &[&str]) -> Vec<Vec<String>> {
        let queries: Vec<String> = queues
            .iter()
            .map(|queue| {
                format!("SELECT body FROM messages WHERE queue = 's/{queue}' ORDER BY body")
            })
            .collect();
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        self.sqlite("queue.db", &queries)
    }

    fn sqlite(&self, file: &str, queries: &[&str]) -> Vec<Vec<String>> {
        let script = "
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
print(json.dumps([[str(row[0]) for row in database.execute(query)] for query in sys.argv[2:]]))
";
        let output = Command::new("python3")
            .args(["-I", "-S", "-c", script])
            .arg(self.server.data.path().join("data").join(file))
            .args(queries)
            .output()
            .expect("Python with sqlite3");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{queries:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("lists of texts")
    }

    /// The audit records of that kind.
    pub(crate) fn records(&self, kind: &str) -> Vec<Value> {
        export(self.server.data.path())
            .into_iter()
            .filter(|record| record["kind"] == kind)
            .collect()
    }

    /// The record of how a request ended.
    pub(crate) fn execution(&self, request: &str) -> Option<Value> {
        self.records("execution")
            .into_iter()
            .find(|record| record["request_id"] == request)
    }
}

fn settings(
    database: &Database,
    redis: Option<&Redis>,
    environment: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    let mut settings = environment.to_vec();
    if let Database::Postgres(postgres) = database {
        settings.push(("DATABASE_URL", postgres.url(DATABASE)));
    }
    if let Some(redis) = redis {
        settings.push(("REDIS_URL", redis.url()));
    }
    settings
}

fn pairs<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
