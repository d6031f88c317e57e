//! The connection to the database is lost during COMMIT: a relay between the server and PostgreSQL cuts it between the commit
//! and the answer to it.

use super::{TABLES, act, controllers};
use crate::support::command::migrate;
use crate::support::postgres::Postgres;
use crate::support::server::Server;
use crate::world::{Database, World};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A value after which the relay cuts this connection at its COMMIT.
const CUT: &str = "cut this one";
/// The same, and nobody reaches the database again.
const CUT_FOR_GOOD: &str = "cut for good";

/// Listens on a port of its own and passes everything on.
fn relay(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let closed = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            if closed.load(Ordering::SeqCst) {
                continue;
            }
            let server = TcpStream::connect(server).expect("the database listens");
            let closed = closed.clone();
            std::thread::spawn(move || pass(client, server, &closed));
        }
    });
    address
}

/// Passes one connection on, both ways, until an end closes it or it is cut.
fn pass(mut client: TcpStream, mut server: TcpStream, closed: &Arc<AtomicBool>) {
    let mute = Arc::new(AtomicBool::new(false));
    let answers = {
        let (mut from, mut to) = (clone(&server), clone(&client));
        let (mute, closed) = (mute.clone(), closed.clone());
        std::thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                // The answer to the COMMIT: the server has done it, and nobody hears of it.
                if mute.load(Ordering::SeqCst) || closed.load(Ordering::SeqCst) {
                    break;
                }
                if to.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    let mut marked = None;
    let mut bytes = vec![0; 65_536];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let asked = &bytes[..length];
        let holds = |text: &str| {
            asked
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        for mark in [CUT, CUT_FOR_GOOD] {
            if holds(mark) {
                marked = Some(mark);
            }
        }
        if let Some(mark) = marked
            && holds("COMMIT\0")
        {
            mute.store(true, Ordering::SeqCst);
            closed.fetch_or(mark == CUT_FOR_GOOD, Ordering::SeqCst);
        }
        if server.write_all(asked).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}

/// Where the database can be asked, its answer is the request's; where it cannot, the request says so and so does its record.
#[test]
fn a_lost_commit_is_looked_up_or_recorded_as_unknown() {
    let postgres = Postgres::start();
    let url = postgres.database("app");
    let port: u16 = url
        .rsplit_once('/')
        .and_then(|(head, _)| head.rsplit_once(':'))
        .and_then(|(_, port)| port.parse().ok())
        .expect("a port");
    let relay = relay(SocketAddr::from(([127, 0, 0, 1], port)));
    let through = format!("postgres://postgres@{relay}/app");
    let data = tempfile::tempdir().expect("a temporary folder");
    migrate(data.path(), TABLES, &[("DATABASE_URL", &url)]);
    let server = Server::start_on(data, controllers(), &[("DATABASE_URL", &through)], &[]);
    let world = World {
        server,
        database: Database::Postgres(postgres),
        redis: None,
        environment: Vec::new(),
    };
    let steps = |id: i64, note: &str| json!([["insert", id, note], ["publish", "out", id]]);

    let found = act(&world, "Act", &steps(1, CUT), "return");
    assert_eq!(found.status, 200, "{}", found.body);
    assert_eq!(world.column("SELECT id FROM items ORDER BY id"), ["1"]);

    let unknown = act(&world, "Act", &steps(2, CUT_FOR_GOOD), "return");
    assert_eq!(
        (unknown.code(), unknown.reason()),
        ("E3003", "commit_unknown"),
        "{}",
        unknown.body
    );
    let details = &unknown.body["error"]["details"];
    assert_eq!(details["effects"], "unknown");
    assert_eq!(details["retriable"], false);
    let request = unknown.body["error"]["request_id"].as_str().expect("an id");
    let record = world.execution(request).expect("a record");
    assert_eq!(record["fields"]["effects"], "unknown", "{record}");
    assert_eq!(record["fields"]["reason"], "commit_unknown");
    // Whoever looks finds all of it, or nothing: the row and its message.
    assert_eq!(world.column("SELECT id FROM items ORDER BY id"), ["1", "2"]);
    assert_eq!(world.outbox(), 1);
}
