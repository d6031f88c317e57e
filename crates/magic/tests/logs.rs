//! What controllers write: over HTTP, as a stream, and on the command line.

use crate::command::run;
use crate::folder::{ANY, Folder};
use crate::http_client::{Call, Connection};
use crate::server::Server;

fn serving_writer() -> (Folder, Server) {
    let folder = Folder::new();
    folder.controller(
        "Writer",
        ANY,
        "self.log.info(input['message'], number=1)\nreturn {}",
    );
    let server = Server::dev(&folder);
    (folder, server)
}

fn write(server: &Server, message: &str) {
    let input = serde_json::json!({ "message": message }).to_string();
    let answer = server.execute("Writer", &input);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A line carries who, when, which request, and its fields.
#[test]
fn lines_are_complete() {
    let (_folder, server) = serving_writer();
    let input = r#"{"message": "hello"}"#;
    server.call(&Call::post("/api/execute/Writer", input).header("X-Request-ID", "r1"));
    let logs = server
        .call(&Call::get("/api/controllers/Writer/logs"))
        .json();
    let line = logs["lines"]
        .as_array()
        .and_then(|lines| lines.iter().find(|line| line["message"] == "hello"))
        .unwrap_or_else(|| panic!("{logs}"));
    assert_eq!(line["request_id"], "r1");
    assert_eq!(line["controller"], "Writer");
    assert_eq!(line["version"], "1.0.0");
    assert_eq!(line["stream"], "log");
    assert_eq!(line["level"], "info");
    assert_eq!(line["fields"]["number"], 1);
}

/// A stream brings lines as they come, and a client that returns with the last id it saw goes on right there.
#[test]
fn a_stream_resumes() {
    let (_folder, server) = serving_writer();
    let follow = Call::get("/api/controllers/Writer/logs?follow=true");
    let mut stream = Connection::open(server.address());
    stream.write(&follow.bytes());
    write(&server, "first line");
    let seen = stream.read_until("first line");
    assert!(seen.contains("text/event-stream"), "{seen}");
    stream.read_until("\n\n");
    let id = seen
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .next_back()
        .expect("events have ids")
        .to_owned();
    drop(stream);

    write(&server, "second line");
    let mut stream = Connection::open(server.address());
    stream.write(&follow.header("Last-Event-ID", &id).bytes());
    let seen = stream.read_until("second line");
    assert!(!seen.contains("first line"), "{seen}");
}

/// `magic logs` shows lines for people and for programs, and a hostile one stays one harmless line.
#[test]
fn the_command_shows_lines() {
    let (folder, server) = serving_writer();
    write(&server, "evil \u{1b}[2J\nfake line");
    let shown = run(&folder, &["logs", "Writer"]).with_status(0);
    assert!(
        shown
            .stdout
            .contains("evil \\u{1b}[2J\\nfake line number=1"),
        "{shown:?}"
    );
    let listed = run(&folder, &["logs", "Writer", "--json"]).with_status(0);
    for line in listed.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("lines of JSON");
        assert_eq!(line["controller"], "Writer");
    }
    let url = format!("http://{}", server.address());
    let over_tcp = run(&folder, &["logs", "Writer", "--json", "--url", &url]).with_status(0);
    assert_eq!(over_tcp.stdout, listed.stdout);
    let unknown = run(&folder, &["logs", "Nobody"]).with_status(1);
    assert!(unknown.stderr.contains("E4004"), "{unknown:?}");
}

/// `magic logs --follow` goes on until the supervisor ends.
#[test]
fn the_command_follows() {
    let (folder, mut server) = serving_writer();
    write(&server, "before");
    let child = crate::command::magic(folder.path())
        .args(["logs", "Writer", "--follow", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut child = child;
    let stdout = child.stdout.take().expect("a pipe");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok);
    let mut find = |message: &str| lines.any(|line| line.contains(message));
    assert!(find("before"));
    write(&server, "after");
    assert!(find("after"));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().success());
    assert!(child.wait().expect("it ends").success());
}
