//! A client that goes away takes its request with it.

use crate::folder::{ANY, Folder};
use crate::http_client::{Call, Connection};
use crate::server::Server;

/// The controller runs one request at a time and sleeps for a minute. If the abandoned one went on, the next would have to wait
/// for it; that it is answered shows that it did not.
#[test]
fn a_disconnect_cancels_the_request() {
    let folder = Folder::new();
    folder.controller(
        "Sleeper",
        &format!("{ANY}concurrency: 1\nresources: {{ timeout: 10m }}\n"),
        "if input.get('sleep'):\n    self.log.info('asleep')\n    await asyncio.sleep(600)\nreturn {}",
    );
    let server = Server::dev(&folder);
    let mut following = Connection::open(server.address());
    following.write(&Call::get("/api/controllers/Sleeper/logs?follow=true").bytes());

    let mut abandoned = Connection::open(server.address());
    abandoned.write(&Call::post("/api/execute/Sleeper", r#"{"sleep": true}"#).bytes());
    following.read_until("asleep");
    drop(abandoned);

    assert_eq!(server.execute("Sleeper", "{}").status, 200);
}
