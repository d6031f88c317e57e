//! Clients that take too much: of size, of time, of connections. Each is ended, and the server goes on.
//!
//! Limits of time are set low in `magic.toml`, and tests wait for what the server does, not for the clock.

use crate::folder::Folder;
use crate::http_client::{Call, Connection};
use crate::server::Server;

fn serving(http: &str) -> (Folder, Server) {
    let folder = Folder::new();
    folder.echo();
    folder.write("magic.toml", &format!("[http]\n{http}"));
    let server = Server::dev(&folder);
    (folder, server)
}

#[track_caller]
fn assert_alive(server: &Server) {
    assert_eq!(server.execute("Echo", "{}").status, 200);
}

/// A body that says that it is too large is refused before it is sent.
#[test]
fn a_declared_body_too_large() {
    let (_folder, server) = serving("body_limit = 1000\n");
    let mut connection = Connection::open(server.address());
    connection.write(
        &Call::post("/api/execute/Echo", "")
            .header("Content-Length", "100000000")
            .header("Expect", "100-continue")
            .bytes(),
    );
    let answer = connection.answer();
    answer.assert_error(413, "E1004");
    assert_alive(&server);
}

/// A body without an end is refused at the limit, and the client gets to read why although it is still sending.
#[test]
fn a_body_without_end() {
    let (_folder, server) = serving("body_limit = 1000\n");
    let mut connection = Connection::open(server.address());
    connection.write(
        &Call::post("/api/execute/Echo", "")
            .without("Content-Length")
            .header("Transfer-Encoding", "chunked")
            .bytes(),
    );
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    for _ in 0..64 {
        if !connection.try_write(chunk.as_bytes()) {
            break;
        }
    }
    connection.answer().assert_error(413, "E1004");
    assert_alive(&server);
}

/// A body of exactly the limit is taken.
#[test]
fn a_body_of_exactly_the_limit() {
    let (_folder, server) = serving("body_limit = 1000\n");
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1000 - 8));
    assert_eq!(body.len(), 1000);
    assert_eq!(server.execute("Echo", &body).status, 200);
    server
        .execute("Echo", &format!("{body} "))
        .assert_error(413, "E1004");
}

/// A body that stops coming is 408.
#[test]
fn a_body_that_stops() {
    let (_folder, server) = serving("body_timeout = '200ms'\n");
    let mut connection = Connection::open(server.address());
    connection.write(
        &Call::post("/api/execute/Echo", "{")
            .header("Content-Length", "2")
            .bytes(),
    );
    connection.answer().assert_error(408, "E1004");
    assert_alive(&server);
}

/// A head that stops coming, and a client that says nothing at all, lose their connection.
#[test]
fn slow_and_silent_clients_are_closed() {
    let (_folder, server) = serving("header_read_timeout = '200ms'\nidle_timeout = '200ms'\n");
    for sent in [
        &b""[..],
        b"G",
        b"GET /api/health HTTP/1.1\r\nHost: local",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address());
        connection.write(sent);
        connection.closed();
    }
    // So does one that was served and then keeps quiet.
    let mut kept = Connection::open(server.address());
    kept.write(&Call::get("/api/health").bytes());
    assert_eq!(kept.answer().status, 200);
    kept.closed();
    assert_alive(&server);
}

/// More silent connections than there are places only delay the others.
#[test]
fn silent_connections_do_not_shut_others_out() {
    let (_folder, server) =
        serving("connections = 16\nidle_timeout = '200ms'\nheader_read_timeout = '200ms'\n");
    let silent: Vec<_> = (0..100)
        .map(|_| Connection::open(server.address()))
        .collect();
    assert_alive(&server);
    drop(silent);
}

/// A head far too large for any buffer ends the connection.
#[test]
fn an_enormous_head() {
    let (_folder, server) = serving("");
    let mut connection = Connection::open(server.address());
    connection.write(
        &Call::get("/api/health")
            .header("X-Enormous", &"x".repeat(1 << 20))
            .bytes(),
    );
    let sent = connection.closed();
    assert!(
        sent.is_empty() || sent.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&sent)
    );
    assert_alive(&server);
}

/// What is not HTTP, or contradicts itself, is refused.
#[test]
fn requests_that_contradict_themselves() {
    let (_folder, server) = serving("");
    for sent in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"POST /api/execute/Echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"POST /api/execute/Echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}",
        b"POST /api/execute/Echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address());
        connection.write(sent);
        let answer = connection.answer();
        assert_eq!(answer.status, 400, "{:?}: {answer:?}", String::from_utf8_lossy(sent));
    }
    // A client that goes away in the middle of its body has no answer to get.
    let mut connection = Connection::open(server.address());
    connection.write(
        &Call::post("/api/execute/Echo", "{")
            .header("Content-Length", "100")
            .bytes(),
    );
    drop(connection);
    assert_alive(&server);
}

/// What a client may write beside its chunks is read over, and is not read without end.
#[test]
fn extensions_of_chunks_are_bounded() {
    let (_folder, server) = serving("");
    let head = "POST /api/execute/Echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = Connection::open(server.address());
    connection
        .write(format!("{head}2;name=value;other=\"quoted\"\r\n{{}}\r\n0\r\n\r\n").as_bytes());
    assert_eq!(connection.answer().status, 200);
    // Many small ones, and one that is large.
    let many = format!("1;{}\r\n \r\n", "x".repeat(1_000)).repeat(1_000);
    let large = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1_000_000));
    for extensions in [many, large] {
        let mut connection = Connection::open(server.address());
        connection.write(format!("{head}{extensions}").as_bytes());
        let answer = String::from_utf8_lossy(&connection.closed()).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    assert_alive(&server);
}

/// Followers of logs are bounded too.
#[test]
fn followers_are_bounded() {
    let (_folder, server) = serving("followers = 1\n");
    let follow = Call::get("/api/controllers/Echo/logs?follow=true");
    let mut first = Connection::open(server.address());
    first.write(&follow.bytes());
    assert_eq!(first.answer().status, 200);
    let refused = server.call(&follow);
    refused.assert_error(429, "E3005");
    assert!(refused.header("retry-after").is_some());
}
