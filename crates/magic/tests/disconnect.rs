//! A client that goes away takes its request with it.

use std::time::Instant;

use crate::folder::{ANY, Folder};
use crate::http_client::{Call, Connection};
use crate::server::Server;

use crate::server::DEADLINE;

/// A controller that takes one request at a time and may sleep for ten minutes.
fn serving_sleeper() -> (Folder, Server) {
    let folder = Folder::new();
    folder.controller(
        "Sleeper",
        &format!("{ANY}concurrency: 1\nresources: {{ timeout: 10m }}\n"),
        "if input.get('sleep'):\n    self.log.info('asleep')\n    await asyncio.sleep(600)\nreturn {}",
    );
    let server = Server::dev(&folder);
    (folder, server)
}

/// Begins a request that sleeps, and returns when it does.
fn asleep(server: &Server) -> Connection {
    let mut following = Connection::open(server.address());
    following.write(&Call::get("/api/controllers/Sleeper/logs?follow=true&after=0").bytes());
    let mut sleeping = Connection::open(server.address());
    sleeping.write(&Call::post("/api/execute/Sleeper", r#"{"sleep": true}"#).bytes());
    following.read_until("asleep");
    sleeping
}

/// If the abandoned request went on, the next would have to wait for it; that it is answered shows that it did not.
#[test]
fn a_disconnect_cancels_the_request() {
    let (_folder, server) = serving_sleeper();
    drop(asleep(&server));
    assert_eq!(server.execute("Sleeper", "{}").status, 200);
}

/// A client that closes its half of the connection counts as gone: most that do are.
#[test]
fn a_half_close_cancels_the_request() {
    let (_folder, server) = serving_sleeper();
    let mut sleeping = asleep(&server);
    sleeping.half_close();
    assert!(sleeping.closed().is_empty());
    assert_eq!(server.execute("Sleeper", "{}").status, 200);
}

/// A follower that goes away gives its place back, without a line having to be written first.
#[test]
fn a_follower_that_leaves_gives_its_place_back() {
    let folder = Folder::new();
    folder.echo();
    folder.write("magic.toml", "[http]\nfollowers = 1\n");
    let server = Server::dev(&folder);
    let follow = Call::get("/api/controllers/Echo/logs?follow=true");
    let mut first = Connection::open(server.address());
    first.write(&follow.bytes());
    assert_eq!(first.answer().status, 200);
    drop(first);
    let until = Instant::now() + DEADLINE;
    loop {
        let mut next = Connection::open(server.address());
        next.write(&follow.bytes());
        if next.answer().status == 200 {
            break;
        }
        assert!(Instant::now() < until, "the place is still taken");
    }
}

/// A self-test whose client goes away ends as if it had stayed: its process is waited for. Otherwise every client in a hurry
/// would leave a zombie and a control group behind.
#[test]
fn an_abandoned_self_test_leaves_no_process() {
    let folder = Folder::new();
    folder.echo();
    let server = Server::dev(&folder);
    assert_eq!(server.execute("Echo", "{}").status, 200);
    let before = server.children();
    for _ in 0..5 {
        let mut client = Connection::open(server.address());
        client.write(&Call::get("/api/self-test").bytes());
        let until = Instant::now() + DEADLINE;
        while server.children() == before {
            assert!(Instant::now() < until, "the self-test does not begin");
        }
        drop(client);
        // They take turns, so that this one's answer comes after the other's end.
        let whole = server.call(&Call::get("/api/self-test"));
        assert_eq!(whole.json()["passed"], true);
        let until = Instant::now() + DEADLINE;
        while server.children() > before {
            assert!(Instant::now() < until, "a process is left behind");
        }
    }
}
