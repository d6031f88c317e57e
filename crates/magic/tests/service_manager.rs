//! What a service manager is told, by a socket in its place.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::server::{DEADLINE, Server};

const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

/// The receiving end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(folder: &Folder) -> Self {
        let path = folder.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a socket of ours");
        Self {
            socket,
            path: path.to_str().expect("UTF-8").to_owned(),
        }
    }

    /// Waits for a message with this line in it; those before it are given as well.
    fn told(&self, line: &str) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut messages = Vec::new();
        while Instant::now() < until {
            let mut buffer = [0; 4096];
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{line} was not told, but {messages:?}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let found = message.lines().any(|one| one == line);
            messages.push(message);
            if found {
                return messages;
            }
        }
        panic!("{line} was not told, but {messages:?}")
    }
}

/// Ready when requests are answered, alive from then on, reloading and ready again, and stopping at the end.
#[test]
fn a_service_tells_how_it_is() {
    let folder = Folder::new();
    folder.echo();
    let manager = Manager::listen(&folder);
    let environment = [
        ("NOTIFY_SOCKET", manager.path.as_str()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut server = Server::start_with(&folder, SERVE, &environment);
    let before = manager.told("READY=1");
    assert_eq!(before.len(), 1, "nothing is told before: {before:?}");
    assert_eq!(
        server.execute_with_first_key(&folder, "Echo").status,
        200,
        "ready means that requests are answered"
    );
    manager.told("WATCHDOG=1");
    manager.told("WATCHDOG=1");

    server.signal(Signal::HUP);
    let reload = manager.told("RELOADING=1");
    let last = reload.last().expect("a message");
    assert!(last.contains("MONOTONIC_USEC="), "{last}");
    manager.told("READY=1");
    assert_eq!(server.execute_with_first_key(&folder, "Echo").status, 200);

    server.signal(Signal::TERM);
    manager.told("STOPPING=1");
    assert!(server.wait().success(), "{}", server.talk());
}

/// A manager that is gone, or that there never was, changes nothing.
#[test]
fn nobody_needs_to_listen() {
    let folder = Folder::new();
    folder.echo();
    let gone = folder.path().join("gone.sock");
    let environment = [
        ("NOTIFY_SOCKET", gone.to_str().expect("UTF-8")),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut server = Server::start_with(&folder, SERVE, &environment);
    server.signal(Signal::HUP);
    assert_eq!(server.execute_with_first_key(&folder, "Echo").status, 200);
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
}
