//! The scenarios of the SDK, played through the real binary.
//!
//! The files lie beside the SDK's tests, which play them against the fake broker of `magic.testing`. Here the same controllers
//! run in the sandbox, asked over HTTP, with a real database, real queues, a real cache and real servers behind the broker, on
//! every pair of a database and a store for queues and cache. What both players agree on cannot drift apart.
//!
//! One server plays all scenarios of a set-up one after the other. Between two of them the tables are made anew and queues and
//! cache are emptied, from outside and under the running server, as an operator would. Scenarios with the same contract share a
//! controller, since each controller costs an interpreter.

#[path = "../support/support.rs"]
mod support;

mod controllers;
mod origins;
mod player;
mod scenario;
mod setup;
mod tables;

use setup::{Database, Store};
use support::namespace;

/// The names that scenarios call, all of them this host. The loopback interface is one that the development policy opens.
const HOSTS: &str = "127.0.0.1 localhost api.example.org other.example.org\n";

fn play(test: &str, database: Database, store: Store) {
    if namespace::inside(test, HOSTS, &[]) {
        player::play_everything(database, store);
    }
}

#[test]
fn sqlite_and_embedded_store() {
    play(
        "sqlite_and_embedded_store",
        Database::Sqlite,
        Store::Embedded,
    );
}

#[test]
fn sqlite_and_redis() {
    play("sqlite_and_redis", Database::Sqlite, Store::Redis);
}

#[test]
fn postgres_and_embedded_store() {
    play(
        "postgres_and_embedded_store",
        Database::Postgres,
        Store::Embedded,
    );
}

#[test]
fn postgres_and_redis() {
    play("postgres_and_redis", Database::Postgres, Store::Redis);
}
