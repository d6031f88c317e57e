//! The real binary, from outside: exit status, standard output, standard error, and what it answers over sockets.
//!
//! One integration binary with modules, so that it is linked once. Nothing here sleeps: tests wait for an event with a deadline.

mod access;
mod audit;
mod backup;
mod collector;
mod command;
mod disconnect;
mod drain;
mod folder;
mod history;
mod http;
mod http_client;
mod init;
mod limits;
mod logs;
mod metrics;
mod migrate;
mod new;
mod nginx;
mod openapi;
mod policy;
#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod postgres;
#[path = "../../../tests/support/redis.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod redis;
mod reload;
mod retention;
mod run;
mod secrets;
mod server;
mod service_manager;
mod supervisor;
mod traces;
mod ungrouped;
mod validate;
mod whole;
