//! The orderly end.

use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::run;
use crate::folder::{ANY, Folder};
use crate::http_client::{Call, Connection};
use crate::server::Server;

/// Both signals end the server with status 0, and its socket file is gone.
#[test]
fn signals_end_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        folder.echo();
        let mut server = Server::dev(&folder);
        let socket = folder.path().join("magic.sock");
        UnixStream::connect(&socket).expect("the socket is served");
        server.signal(signal);
        assert!(server.wait().success(), "{}", server.talk());
        assert!(!socket.exists());
    }
}

/// A request in flight is answered before the end; followers are let go, and idle connections do not delay it.
#[test]
fn a_request_in_flight_is_answered() {
    let folder = Folder::new();
    folder.controller(
        "Slow",
        ANY,
        "self.log.info('begun')\nawait asyncio.sleep(1)\nreturn {'done': True}",
    );
    let mut server = Server::dev(&folder);
    let mut idle = Connection::open(server.address());
    idle.write(&Call::get("/api/health").bytes());
    assert_eq!(idle.answer().status, 200);
    let mut following = Connection::open(server.address());
    following.write(&Call::get("/api/controllers/Slow/logs?follow=true").bytes());

    let mut request = Connection::open(server.address());
    request.write(&Call::post("/api/execute/Slow", "{}").bytes());
    following.read_until("begun");
    server.signal(Signal::TERM);

    let answer = request.answer();
    assert_eq!(
        (answer.status, &answer.json()["result"]["done"]),
        (200, &true.into())
    );
    following.closed();
    assert!(server.wait().success(), "{}", server.talk());
}

/// A request that outlasts the grace is undone and recorded before the log closes, which then verifies.
#[test]
fn what_is_cut_off_is_recorded() {
    let folder = Folder::new();
    folder.controller(
        "Forever",
        &format!("{ANY}resources: {{ timeout: 10m }}\ncapabilities: [cache:write]\n"),
        "await self.cache.set('a', 1)\nself.log.info('begun')\nawait asyncio.sleep(600)",
    );
    folder.write("magic.toml", "[http]\ndrain_grace = '100ms'\n");
    let mut server = Server::dev(&folder);
    let mut following = Connection::open(server.address());
    following.write(&Call::get("/api/controllers/Forever/logs?follow=true").bytes());
    let mut request = Connection::open(server.address());
    request.write(&Call::post("/api/execute/Forever", "{}").bytes());
    following.read_until("begun");
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
    request.closed();

    let exported = run(&folder, &["audit", "export"]).with_status(0).stdout;
    let kinds: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .filter(|record: &Value| record["controller"] == "Forever" || record["kind"] == "stop")
        .collect();
    let [call, execution, stop] = &kinds[..] else {
        panic!("{kinds:#?}");
    };
    assert_eq!(call["method"], "cache.set");
    assert_eq!(execution["fields"]["abandoned"], true);
    assert_eq!(execution["fields"]["effects"], "none");
    assert_eq!(stop["kind"], "stop");
    run(&folder, &["audit", "verify"]).with_status(0);
}

/// A second signal does not wait for requests.
#[test]
fn a_second_signal_insists() {
    let folder = Folder::new();
    folder.controller(
        "Forever",
        &format!("{ANY}resources: {{ timeout: 10m }}\n"),
        "self.log.info('begun')\nawait asyncio.sleep(600)",
    );
    folder.write("magic.toml", "[http]\ndrain_grace = '10m'\n");
    let mut server = Server::dev(&folder);
    let mut following = Connection::open(server.address());
    following.write(&Call::get("/api/controllers/Forever/logs?follow=true").bytes());
    let mut request = Connection::open(server.address());
    request.write(&Call::post("/api/execute/Forever", "{}").bytes());
    following.read_until("begun");
    server.signal(Signal::TERM);
    // The stream's end says that the first signal has arrived.
    following.closed();
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
}
