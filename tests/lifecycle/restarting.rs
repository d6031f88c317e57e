//! A server that is restarted while it is used: nobody is refused, and nobody loses a request, if somebody keeps its sockets.

mod load;
mod passing;

use crate::bundles::{archive, code, contract, telling};
use crate::service::{KEY, Service, command, magic, parse, send, verify_audit};
use crate::support::server::wait_for;
use load::Load;
use passing::{pass, pass_as};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// No pause of a client on a busy machine is taken for its last word.
const PATIENT: &str = "[http]\nlinger = '2m'\ndrain_grace = '10m'\n";

/// A folder of a server that waits for slow clients.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(place.path().join("magic.toml"), PATIENT).expect("our own file");
    place
}

fn slow() -> Vec<u8> {
    let body = "import asyncio\nctx.log.info(\"began\")\nawait asyncio.sleep(1)\nreturn {}";
    archive(&contract("Slow", "1.0.0", ""), &code(body))
}

/// Begins a slow request and gives its connection when it runs.
fn begin_slow(service: &Service) -> TcpStream {
    let path = "/api/execute/Slow";
    let stream = send(service.address, "POST", path, KEY, "*/*", b"{}").expect("sent");
    wait_for("the slow request to begin", || {
        let logs = service.get("/api/controllers/Slow/logs").body.to_string();
        logs.contains("began").then_some(())
    });
    stream
}

#[track_caller]
fn answered(mut stream: TcpStream) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = parse(&answer).expect("a whole answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What a service manager does at `systemctl restart`, with the sockets of a `.socket` unit.
#[test]
fn a_restart_with_kept_sockets_loses_no_request() {
    let place = place();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = tcp.local_addr().expect("an address");
    let path = place.path().join("magic.sock");
    let unix = UnixListener::bind(&path).expect("a free path");
    let start = || {
        let command = command(place.path(), &[], &[]);
        Service::spawn(pass(&command, &[tcp.as_fd(), unix.as_fd()]))
    };
    let mut service = start();
    assert_eq!(service.address, address);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    assert_eq!(service.deploy(&slow(), "").status, 201);

    let load = Load::start(address, &path);
    for _ in 0..3 {
        load.wait_for_more();
        let in_flight = begin_slow(&service);
        assert!(service.stop().success());
        answered(in_flight);
        // Nobody accepts now, and nobody is refused.
        let waiting = send(address, "POST", "/api/execute/Echo", KEY, "*/*", b"{}");
        service = start();
        answered(waiting.expect("the kernel takes it"));
    }
    load.wait_for_more();
    load.end();
    assert!(service.stop().success());
    assert!(path.exists(), "the file is not the server's");
    verify_audit(place.path());
}

/// The twin: sockets that nobody keeps are gone with the server.
#[test]
fn a_restart_with_sockets_of_its_own_refuses_meanwhile() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let address = service.address;
    assert!(service.stop().success());
    assert!(TcpStream::connect(address).is_err());
    assert!(!place.path().join("magic.sock").exists());
}

/// Without a service manager a second server takes the sockets of the first, which answers what it has accepted and ends.
#[test]
fn a_successor_takes_over_without_losing_a_request() {
    let place = place();
    let socket = place.path().join("magic.sock");
    let take_over = || Service::start_with(place.path(), &[], &["--take-over"]);
    // There is nobody yet, so it listens on its own; the port is free to be chosen only here.
    let mut service = Service::start_with(
        place.path(),
        &[],
        &["--take-over", "--listen", "127.0.0.1:0"],
    );
    let address = service.address;
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    assert_eq!(service.deploy(&slow(), "").status, 201);

    let load = Load::start(address, &socket);
    for _ in 0..3 {
        load.wait_for_more();
        let in_flight = begin_slow(&service);
        let successor = take_over();
        answered(in_flight);
        assert_eq!(successor.address, address);
        assert!(service.wait().success());
        service = successor;
    }
    load.wait_for_more();
    load.end();
    assert!(service.stop().success());
    assert!(!socket.exists(), "the last one owns the file");
    assert!(TcpStream::connect(address).is_err());
    verify_audit(place.path());
}

/// Whoever asks for the sockets and goes away, or answers nonsense, changes nothing.
#[test]
fn a_successor_that_dies_first_changes_nothing() {
    use std::io::Write as _;
    let place = place();
    let service = Service::start(place.path(), &[]);
    let door = place.path().join("magic.sock.next");
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    for answer in [&b""[..], b"-", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = std::os::unix::net::UnixStream::connect(&door).expect("it offers");
        let mut offered = [0; 64];
        let length = stream.read(&mut offered).expect("an offer");
        assert_eq!(&offered[..length], b"magic sockets 1\n");
        stream.write_all(answer).expect("it reads");
        drop(stream);
        assert_eq!(service.execute("Echo", &serde_json::json!({})).status, 200);
    }
    let successor = Service::start_with(place.path(), &[], &["--take-over"]);
    assert_eq!(successor.address, service.address);
    assert!(service.wait().success());
    assert_eq!(
        successor.execute("Echo", &serde_json::json!({})).status,
        200
    );
    assert!(successor.stop().success());
    assert!(!door.exists());
}

/// Somebody else's socket in the place of the offer is not mistaken for a server.
#[test]
fn a_stranger_is_not_taken_over_from() {
    let place = place();
    let door = UnixListener::bind(place.path().join("magic.sock.next")).expect("a free path");
    let stranger = std::thread::spawn(move || drop(door.accept().expect("a caller")));
    let said = refused(command(place.path(), &[], &["--take-over"]), 2);
    assert!(said.contains("does not hand its sockets over"), "{said}");
    stranger.join().expect("it was called");
}

/// Runs a server that must refuse to start with this status, and gives what it says.
#[track_caller]
fn refused(mut command: std::process::Command, status: i32) -> String {
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

/// What was announced wrongly or is no listening socket refuses the start and is named; the last one is in order and starts.
#[test]
fn malformed_activation_is_refused() {
    let place = place();
    let plain = |arguments: &[&str]| command(place.path(), &[], arguments);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback");
    for (variables, named) in [
        (&[("LISTEN_FDS", "1")][..], "LISTEN_PID"),
        (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "me")], "LISTEN_PID"),
        (&[("LISTEN_FDS", "one")], "LISTEN_FDS"),
        (&[("LISTEN_FDS", "0")], "LISTEN_FDS"),
        (&[("LISTEN_FDS", "-1")], "LISTEN_FDS"),
        (&[("LISTEN_FDS", "100000")], "LISTEN_FDS"),
        (&[("LISTEN_FDNAMES", "http:local")], "LISTEN_FDNAMES"),
        // More are announced than are there.
        (
            &[("LISTEN_FDS", "9"), ("LISTEN_FDNAMES", "")],
            "neither a TCP nor a unix stream",
        ),
    ] {
        let passes_a_process = named != "LISTEN_PID";
        let passed = pass_as(&plain(&[]), &[tcp.as_fd()], variables, passes_a_process);
        let said = refused(passed, 1);
        assert!(said.contains(named), "{variables:?}: {said}");
    }

    let file = tempfile::tempfile().expect("a file");
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let connected = TcpStream::connect(tcp.local_addr().expect("an address")).expect("it listens");
    let (pair, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for (socket, why) in [
        (file.as_fd(), "neither a TCP nor a unix stream"),
        (datagrams.as_fd(), "neither a TCP nor a unix stream"),
        (connected.as_fd(), "nobody listens"),
        (pair.as_fd(), "no path"),
    ] {
        let said = refused(pass(&plain(&[]), &[socket]), 1);
        assert!(said.contains(why), "{said}");
    }
    let said = refused(pass(&plain(&["--take-over"]), &[tcp.as_fd()]), 1);
    assert!(said.contains("nothing to take"), "{said}");

    // It waits in the backlog, where the server below would find it and be patient with it.
    drop(connected);
    // Meant for another process, so this one makes its own.
    let meant = pass_as(
        &plain(&["--listen", "127.0.0.1:0"]),
        &[tcp.as_fd()],
        &[("LISTEN_PID", "1")],
        false,
    );
    let address = tcp.local_addr().expect("an address");
    let service = Service::spawn(meant);
    assert_ne!(service.address, address);
    assert!(service.stop().success());
    let service = Service::spawn(pass(&plain(&[]), &[tcp.as_fd()]));
    assert_eq!(service.address, address);
    assert!(service.stop().success());
}

/// A unix socket is trusted to let in the members of the configured group alone, so one that lets in others is refused.
#[test]
fn a_socket_for_everybody_is_not_taken_for_the_groups() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place();
    let settings = format!("{PATIENT}[auth]\nsocket_group = \"{}\"\n", own_group());
    std::fs::write(place.path().join("magic.toml"), settings).expect("our own file");
    let path = place.path().join("magic.sock");
    let unix = UnixListener::bind(&path).expect("a free path");
    let mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("our own");
    };
    let serve = || {
        pass(
            &command(place.path(), &[], &["--listen", "127.0.0.1:0"]),
            &[unix.as_fd()],
        )
    };
    mode(0o666);
    let said = refused(serve(), 1);
    assert!(said.contains("SocketMode="), "{said}");
    mode(0o660);
    let service = Service::spawn(serve());
    let listed = magic(place.path(), &["list"]);
    assert!(listed.status.success(), "{listed:?}");
    assert!(service.stop().success());
}

/// The name of the group that files of this process get.
fn own_group() -> String {
    let gid = rustix::process::getegid().as_raw().to_string();
    let groups = std::fs::read_to_string(Path::new("/etc/group")).expect("a file of the system");
    let line = groups
        .lines()
        .find(|line| line.split(':').nth(2) == Some(gid.as_str()))
        .expect("our group has a name");
    line.split(':').next().expect("a name").to_owned()
}
