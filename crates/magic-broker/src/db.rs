//! The controllers' database: rows of listed tables, raw SQL where it is
//! granted, and one transaction per request, on SQLite or PostgreSQL.
//!
//! A call goes through these in order. `target` judges the table's name before
//! any database is asked; `catalog` tells what the table is made of; `value` and
//! `condition` turn the parameters into bound values and a checked tree;
//! `statement` writes the SQL, whose text holds names from the catalogue and
//! words of our own and nothing else; `rows` runs it and turns what comes back
//! into JSON that keeps each value's meaning. `raw` is the one way around the
//! most of them, and has checks of its own.
//!
//! Around the calls, `pool` owns the connections, `transaction` one transaction
//! on one of them, `session` the transaction of one request from its first call
//! to its commit. `schema` keeps the runtime's own tables, which `outbox` and
//! `idempotency` use; `migrate` brings the tables of the controllers up to date.

mod catalog;
mod condition;
mod connection;
mod database_error;
mod failure;
#[cfg(test)]
mod fixture;
mod idempotency;
mod instant;
mod kind;
mod literal;
mod migrate;
mod names;
mod outbox;
mod perform;
mod pool;
mod postgres;
#[cfg(test)]
#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests of the binary use the rest")]
mod postgres_server;
mod raw;
mod rows;
mod schema;
mod script;
mod session;
mod sql;
mod sqlite;
mod statement;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transaction;
mod value;

use std::time::Duration;

pub(crate) use catalog::Catalog;
pub(crate) use connection::{Connection, Limits};
pub use idempotency::{Claim, Idempotency, IdempotentAnswer, IdempotentRequest, Token};
pub use migrate::{MigrateError, Migration, Migrator, Plan, Step, read_migrations};
pub use outbox::{Claimed, Outbox, OutboxId};
pub(crate) use perform::perform;
pub use pool::{Database, DatabaseError, DatabaseOptions};
pub(crate) use raw::perform_raw;
pub use session::{Access, Commit, CommitError, Committed, DatabaseSession};
pub(crate) use sqlite::connect as connect_sqlite;

/// How long one of the runtime's own transactions may take, waiting included.
const OWN_TIME: Duration = Duration::from_secs(10);
