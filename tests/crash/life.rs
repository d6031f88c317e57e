//! The controllers, where they keep their things, and one life of a server on them.

use crate::books::Books;
use crate::support::command::migrate;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::{Controllers, Server, wait_for};
use crate::support::traces;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Every kind of effect in one request. Every seventh request raises after all of them.
const LEDGER: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Ledger(Controller):
    async def execute(self, input):
        await self.db.insert("ledger", {"id": input["id"], "note": "one half"})
        await self.db.update("ledger", {"note": "both halves"}, {"id": input["id"]})
        await self.queue.publish("booked", {"id": input["id"]})
        await self.cache.set("last", input["id"])
        if input["id"] % 7 == 0:
            raise ValueError("after everything")
        return {"id": input["id"]}
"#;

/// Takes a few messages and notes each in the transaction that acknowledges it.
const READER: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Reader(Controller):
    async def execute(self, input):
        found = []
        for message in await self.queue.receive("booked", max=4):
            await self.db.insert("seen", {"id": message.body["id"]})
            await message.ack()
            found.append(message.body["id"])
        return {"found": found}
"#;

/// Delivery is at least once, so one message may be seen twice.
const TABLES: &str = "CREATE TABLE ledger (id INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE seen (id INTEGER NOT NULL);";

/// How many clients ask `Ledger`; one more asks `Reader`.
const CLIENTS: usize = 3;

/// Both controllers.
pub(crate) fn controllers() -> Controllers {
    Controllers::new()
        .with(
            "Ledger",
            "capabilities: [{db:write: {tables: [ledger]}}, {queue:publish: {queues: [booked]}}, cache:write]\n\
             resources: {timeout: 60s}",
            LEDGER,
        )
        .with(
            "Reader",
            "capabilities: [{db:write: {tables: [seen]}}, {queue:subscribe: {queues: [booked]}}]\n\
             resources: {timeout: 60s}",
            READER,
        )
}

/// Where rows and messages are.
pub(crate) enum Stores {
    /// In files of the data folder.
    Embedded,
    /// In servers that outlive the supervisor.
    Servers {
        postgres: Box<Postgres>,
        redis: Box<Redis>,
    },
}

impl Stores {
    /// What tells a server of them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Servers { postgres, redis } => vec![
                ("DATABASE_URL", postgres.url("app")),
                ("REDIS_URL", redis.url()),
            ],
        }
    }

    /// The rows of a query with one column.
    pub(crate) fn rows(&self, data: &Path, query: &str) -> Vec<String> {
        let text = match self {
            Self::Embedded => {
                return sqlite(&data.join("data/controllers.db"), query);
            }
            Self::Servers { postgres, .. } => postgres.sql("app", query),
        };
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a statement that changes rows.
    pub(crate) fn run(&self, data: &Path, statement: &str) {
        match self {
            Self::Embedded => drop(sqlite(&data.join("data/controllers.db"), statement)),
            Self::Servers { postgres, .. } => drop(postgres.sql("app", statement)),
        }
    }

    /// What waits to be delivered to queues and caches.
    pub(crate) fn outbox(&self, data: &Path) -> Vec<String> {
        let table = match self {
            Self::Embedded => "magic_outbox",
            Self::Servers { .. } => "magic.outbox",
        };
        self.rows(data, &format!("SELECT effect FROM {table}"))
    }

    /// Identities in the messages that nobody has acknowledged, received or not.
    pub(crate) fn messages(&self, data: &Path) -> BTreeSet<u64> {
        let bodies = match self {
            Self::Embedded => sqlite(&data.join("data/queue.db"), "SELECT body FROM messages"),
            Self::Servers { redis, .. } => redis
                .command(&["--scan"])
                .lines()
                .filter(|key| key.ends_with(":stream"))
                .flat_map(|stream| {
                    let entries = redis.command(&["XRANGE", stream, "-", "+"]);
                    let lines: Vec<String> = entries.lines().map(str::to_owned).collect();
                    lines
                })
                .filter(|line| line.starts_with('{'))
                .collect(),
        };
        bodies.iter().map(|body| identity(body)).collect()
    }
}

fn identity(body: &str) -> u64 {
    let body: Value = serde_json::from_str(body).expect("a body is JSON");
    body["id"].as_u64().expect("a body has an id")
}

/// Asks SQLite itself, on a file that a server may be using.
fn sqlite(file: &Path, query: &str) -> Vec<String> {
    let script = "
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60)
rows = database.execute(sys.argv[2]).fetchall()
database.commit()
print(json.dumps([str(row[0]) for row in rows]))
";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .arg(query)
        .output()
        .expect("Python with sqlite3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{query}: {said}");
    serde_json::from_slice(&output.stdout).expect("a list of texts")
}

/// Makes the tables of the controllers.
pub(crate) fn make_tables(data: &Path, environment: &[(&str, &str)]) {
    migrate(data, TABLES, environment);
}

/// What is between two lives.
pub(crate) type Left = (tempfile::TempDir, Controllers);

/// Borrowed as the server's starter wants it.
pub(crate) fn borrowed<'a>(
    environment: &'a [(&'static str, String)],
) -> Vec<(&'static str, &'a str)> {
    environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// When a life ends: so many answers after its begin, and a little later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    answers: u64,
    later: Duration,
}

impl Moment {
    /// A number for each life, on which nothing else depends. Counting answers makes a slow machine test as much as a fast one;
    /// the rest, of a few milliseconds, makes the kill fall into any step of a request.
    pub(crate) fn of(life: u32) -> Self {
        Self {
            answers: u64::from(life * 7919 % 23),
            later: Duration::from_micros(u64::from(life * 6_151 % 9_000)),
        }
    }
}

/// One life: starts on what is left, asks until the moment has come, kills, and sees that no process is left. Gives the
/// server's number, too.
pub(crate) fn live(
    books: &Books,
    left: Left,
    environment: &[(&str, &str)],
    moment: Moment,
) -> (Left, u32) {
    let server = Server::start_on(left.0, left.1, environment, &[]);
    let stop = AtomicBool::new(false);
    let (address, pid) = (server.address, server.pid());
    let before = books.answers();
    let (left, family) = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| books.write(address, &stop));
        }
        scope.spawn(|| books.read(address, &stop));
        wait_for("so many answers", || {
            (books.answers() >= before + moment.answers).then_some(())
        });
        std::thread::park_timeout(moment.later);
        let family = traces::descendants(pid);
        let left = server.kill();
        stop.store(true, Ordering::Relaxed);
        (left, family)
    });
    wait_for("the children of a killed server to be gone", || {
        family.iter().all(|pid| traces::is_gone(*pid)).then_some(())
    });
    (left, pid)
}
