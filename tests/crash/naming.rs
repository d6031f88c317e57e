//! `Idempotency-Key` over the end of a supervisor: what was answered is answered the same, what was cut off runs again.

use crate::life::{Stores, borrowed, make_tables};
use crate::support::command::magic;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::{Answer, Controllers, Server, wait_for};
use serde_json::json;
use std::path::Path;

/// Books if its gate is open, else waits for longer than anybody does. The gates are a secret, which a server gets as it
/// starts: a transaction that waits would hold up all others.
const GATED: &str = r#"
import asyncio
from magic import Controller, contract

@contract("./contract.yaml")
class Gated(Controller):
    async def execute(self, input):
        gates = await self.secrets.get("GATES")
        if input["gate"] not in gates.split():
            await asyncio.sleep(500)
        await self.db.insert("ledger", {"id": input["id"], "note": "both halves"})
        return {"id": input["id"]}
"#;

/// The settings of a server that opens these gates.
fn opening(gates: &'static str) -> (&'static str, &'static str) {
    ("MAGIC_SECRET_GATES", gates)
}

fn gated() -> Controllers {
    Controllers::new().with(
        "Gated",
        "capabilities: [{db:write: {tables: [ledger]}}, {secrets:read: {keys: [GATES]}}]\n\
         resources: {timeout: 600s}",
        GATED,
    )
}

fn ask(server: &Server, key: &str, id: u64) -> Answer {
    named(server.address, key, id).expect("the server answers")
}

fn named(address: std::net::SocketAddr, key: &str, id: u64) -> Option<Answer> {
    let header = format!("idempotency-key: {key}\r\n");
    let input = json!({"id": id, "gate": format!("gate-{id}")});
    Server::ask_with(address, "Gated", &input, &header)
}

fn times(stores: &Stores, data: &Path, id: u64) -> usize {
    stores
        .rows(data, &format!("SELECT id FROM ledger WHERE id = {id}"))
        .len()
}

/// Starts a request that does not end, and kills the server when it has claimed its key.
fn cut_off(
    stores: &Stores,
    server: Server,
    key: &str,
    id: u64,
) -> (tempfile::TempDir, Controllers) {
    let table = match stores {
        Stores::Embedded => "magic_idempotency",
        Stores::Servers { .. } => "magic.idempotency",
    };
    let address = server.address;
    std::thread::scope(|scope| {
        let cut = scope.spawn(move || named(address, key, id));
        wait_for("the request to have claimed its key", || {
            let query = format!("SELECT key FROM {table} WHERE answer IS NULL");
            (stores.rows(server.data.path(), &query) == [key]).then_some(())
        });
        let busy = ask(&server, key, id);
        assert_eq!((busy.status, busy.code()), (429, "E3005"), "{}", busy.body);
        let left = server.kill();
        assert!(cut.join().expect("no panic").is_none());
        left
    })
}

/// One node with its files alone: whoever opens them knows that nobody else runs, so a cut-off request runs again at once.
#[test]
fn a_named_request_is_answered_once_over_a_kill_and_runs_again_if_it_was_cut_off() {
    let stores = Stores::Embedded;
    let data = tempfile::tempdir().expect("a temporary folder");
    make_tables(data.path(), &[]);
    let server = Server::start_on(data, gated(), &[opening("gate-1")], &[]);
    let first = ask(&server, "first", 1);
    assert_eq!(first.status, 200, "{}", first.body);
    let left = cut_off(&stores, server, "second", 2);
    assert_eq!(times(&stores, left.0.path(), 2), 0);

    let server = Server::start_on(left.0, left.1, &[opening("gate-1 gate-2")], &[]);
    let again = ask(&server, "first", 1);
    assert_eq!(again.status, 200, "{}", again.body);
    for same in ["request_id", "result"] {
        assert_eq!(again.body[same], first.body[same], "{same}");
    }
    let second = ask(&server, "second", 2);
    assert_eq!(second.status, 200, "{}", second.body);
    for id in [1, 2] {
        assert_eq!(times(&stores, server.data.path(), id), 1, "{id}");
    }
    magic(server.data.path(), &["audit", "verify"], &[]);
}

/// Beside other nodes nobody knows that the first one is dead before its lease is over.
#[test]
fn a_cut_off_request_waits_for_its_lease_where_other_nodes_may_run_it() {
    let postgres = Postgres::start();
    postgres.database("app");
    let stores = Stores::Servers {
        postgres: Box::new(postgres),
        redis: Box::new(Redis::start()),
    };
    let environment = stores.environment();
    let mut environment = borrowed(&environment);
    let data = tempfile::tempdir().expect("a temporary folder");
    make_tables(data.path(), &environment);
    environment.push(opening("gate-1"));
    let server = Server::start_on(data, gated(), &environment, &[]);
    let first = ask(&server, "first", 1);
    assert_eq!(first.status, 200, "{}", first.body);
    let left = cut_off(&stores, server, "second", 2);

    environment.push(opening("gate-1 gate-2"));
    let server = Server::start_on(left.0, left.1, &environment, &[]);
    let again = ask(&server, "first", 1);
    assert_eq!(again.body["request_id"], first.body["request_id"]);
    let busy = ask(&server, "second", 2);
    assert_eq!((busy.status, busy.code()), (429, "E3005"), "{}", busy.body);
    // Its lease is longer than it may run, which is longer than a test may.
    stores.run(
        server.data.path(),
        "UPDATE magic.idempotency SET claimed_until = now() WHERE answer IS NULL",
    );
    let second = ask(&server, "second", 2);
    assert_eq!(second.status, 200, "{}", second.body);
    for id in [1, 2] {
        assert_eq!(times(&stores, server.data.path(), id), 1, "{id}");
    }
}
