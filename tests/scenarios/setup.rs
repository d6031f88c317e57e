//! One set-up: a server with a database, a store for queues and cache, and what looks at them from outside.

use crate::controllers;
use crate::origins::Origins;
use crate::scenario::Scenario;
use crate::support::command::export;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::{Server, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which database the controllers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// As scenarios call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Where queues and cache are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Embedded,
    Redis,
}

/// Runs SQL in a file of SQLite and prints the rows of a query as JSON. The name `decode` means what it does in PostgreSQL.
const SQLITE: &str = r#"
import base64, json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.create_function("decode", 2, lambda text, _: base64.b64decode(text))
connection.executescript(sys.argv[2])
print(json.dumps(connection.execute(sys.argv[3]).fetchall(), default=repr))
"#;

/// A running set-up. The server ends first, then what it needs.
pub(crate) struct Setup {
    pub(crate) server: Server,
    pub(crate) origins: Origins,
    pub(crate) database: Database,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
}

impl Setup {
    /// Starts everything. Secrets are those of all scenarios together, since a server has one set.
    pub(crate) fn start(
        database: Database,
        store: Store,
        controllers: crate::support::server::Controllers,
        scenarios: &[Scenario],
    ) -> Self {
        let origins = Origins::start();
        let postgres = (database == Database::Postgres).then(Postgres::start);
        let redis = (store == Store::Redis).then(Redis::start);
        let data = tempfile::tempdir().expect("a temporary folder");
        let authority = data.path().join("authority.pem");
        std::fs::write(&authority, &origins.authority).expect("our own file");
        let mut variables = vec![(
            "MAGIC_EGRESS_CA".to_owned(),
            authority.to_str().expect("UTF-8").to_owned(),
        )];
        if let Some(postgres) = &postgres {
            variables.push(("DATABASE_URL".to_owned(), postgres.database("app")));
        }
        if let Some(redis) = &redis {
            variables.push(("REDIS_URL".to_owned(), redis.url()));
        }
        for (key, value) in secrets(scenarios) {
            variables.push((format!("MAGIC_SECRET_{key}"), value));
        }
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Self {
            server: Server::start_on(data, controllers, &variables, &[]),
            origins,
            database,
            postgres,
            redis,
        }
    }

    /// Runs SQL in the controllers' database.
    pub(crate) fn sql(&self, script: &str) {
        match &self.postgres {
            Some(postgres) => drop(postgres.sql("app", script)),
            None => drop(sqlite(&self.file("controllers.db"), script, "SELECT 0")),
        }
    }

    /// The one number that a query gives.
    pub(crate) fn number(&self, query: &str) -> i64 {
        match &self.postgres {
            Some(postgres) => postgres.sql("app", query).parse().expect("a number"),
            None => sqlite(&self.file("controllers.db"), "", query)[0][0]
                .as_i64()
                .expect("a number"),
        }
    }

    /// All rows of a table as text, for people.
    pub(crate) fn shown(&self, table: &str) -> String {
        let query = format!("SELECT * FROM \"{table}\"");
        match &self.postgres {
            Some(postgres) => postgres.sql("app", &query),
            None => sqlite(&self.file("controllers.db"), "", &query).to_string(),
        }
    }

    /// Waits until everything that was committed has been delivered.
    pub(crate) fn settle(&self) {
        let query = match self.database {
            Database::Sqlite => "SELECT count(*) FROM magic_outbox",
            Database::Postgres => "SELECT count(*) FROM magic.outbox",
        };
        wait_for("the outbox to be empty", || {
            (self.number(query) == 0).then_some(())
        });
    }

    /// Removes all messages, and in Redis all entries of the cache with them.
    pub(crate) fn empty_store(&self) {
        match &self.redis {
            Some(redis) => drop(redis.command(&["FLUSHALL"])),
            None => drop(sqlite(
                &self.file("queue.db"),
                "DELETE FROM messages; DELETE FROM tombstones;",
                "SELECT 0",
            )),
        }
    }

    /// The bodies of all messages that nobody has acknowledged, hidden ones too, in order. `owner` is the controller whose
    /// queue it is, if it is not a shared one.
    pub(crate) fn messages(&self, owner: Option<&str>, queue: &str) -> Vec<Value> {
        let owner = owner.map_or_else(|| format!("s/{queue}"), |name| format!("c/{name}"));
        let bodies: Vec<String> = match &self.redis {
            Some(redis) => {
                let rest = if owner.starts_with("c/") {
                    format!("/{queue}")
                } else {
                    String::new()
                };
                let key = format!("magic:queue:{{{owner}}}{rest}:stream");
                let said = redis.command(&["XRANGE", &key, "-", "+"]);
                let lines: Vec<&str> = said.lines().collect();
                lines
                    .windows(2)
                    .filter(|pair| pair[0] == "body")
                    .map(|pair| pair[1].to_owned())
                    .collect()
            }
            None => {
                let key = if owner.starts_with("c/") {
                    format!("{owner}/{queue}")
                } else {
                    owner
                };
                let query = format!("SELECT body FROM messages WHERE queue = '{key}' ORDER BY seq");
                let rows = sqlite(&self.file("queue.db"), "", &query);
                rows.as_array()
                    .into_iter()
                    .flatten()
                    .map(|row| row[0].as_str().expect("text").to_owned())
                    .collect()
            }
        };
        bodies
            .iter()
            .map(|body| serde_json::from_str(body).expect("JSON"))
            .collect()
    }

    /// Runs a method that every controller has, and returns what it returns.
    pub(crate) fn run(&self, controller: &str, body: &str, input: &Value) -> Value {
        let answer = self
            .server
            .execute(controller, &controllers::call(body, input));
        assert_eq!(
            answer.status, 200,
            "{body} of {controller}: {}",
            answer.body
        );
        answer.body["result"]["value"].clone()
    }

    /// Every call of every request, as the audit log has them.
    pub(crate) fn calls(&self) -> BTreeMap<String, Vec<String>> {
        let mut calls: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for record in export(self.server.data.path()) {
            if record["kind"] != "call" {
                continue;
            }
            let mut told = record["method"].as_str().expect("a method").to_owned();
            if record["decision"] == "deny" {
                told = format!("{told} {}", record["code"].as_str().expect("a code"));
            }
            let request = record["request_id"].as_str().expect("an id").to_owned();
            let number = record["fields"]["call"].as_u64().expect("a number");
            calls.entry(request).or_default().push((number, told));
        }
        calls
            .into_iter()
            .map(|(request, mut calls)| {
                // Records are written when calls end, and scenarios tell them as they begin.
                calls.sort_by_key(|(number, _)| *number);
                (request, calls.into_iter().map(|(_, told)| told).collect())
            })
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.data.path().join("data").join(name)
    }
}

fn sqlite(file: &Path, script: &str, query: &str) -> Value {
    let output = Command::new("python3")
        .args(["-I", "-S", "-c", SQLITE])
        .arg(file)
        .args([script, query])
        .output()
        .expect("Python with sqlite3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}{query}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!([]))
}

fn secrets(scenarios: &[Scenario]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for scenario in scenarios {
        for (key, value) in scenario.members("secrets") {
            let value = value.as_str().expect("text").to_owned();
            let before = all.insert(key.clone(), value.clone());
            assert!(
                before.is_none_or(|before| before == value),
                "{}: {key} has one value in all scenarios",
                scenario.name
            );
        }
    }
    all
}
