//! Archives that nobody should have sent, over HTTP.

use crate::bundles::telling;
use crate::deploying::{expect, place};
use crate::service::{Answer, KEY, Service, call};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// Everything below a folder, by its path.
fn everything(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("our own folder") {
            let path = entry.expect("our own folder").path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn hostile_archives_are_refused_over_http_and_leave_nothing() {
    let (folder, archives, outside) = (place(), place(), place());
    let service = Service::start(folder.path(), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lifecycle/hostile.py");
    let made = Command::new("python3")
        .arg(script)
        .args([archives.path(), outside.path()])
        .status()
        .expect("Python runs");
    assert!(made.success());
    let bundles = folder.path().join("data/bundles");
    let before = everything(&bundles);
    let mut tried = 0;
    for entry in std::fs::read_dir(archives.path()).expect("our own folder") {
        let path = entry.expect("our own folder").path();
        let what = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("UTF-8");
        if what.starts_with("honest") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("our own file");
        let answer = service.deploy(&bytes, "");
        expect(what, &answer, 400, "E4001", "the archive is not acceptable");
        assert!(!answer.message().contains(char::is_control), "{what}");
        tried += 1;
    }
    assert_eq!(tried, 17);
    assert_eq!(
        everything(&bundles),
        before,
        "a refused archive is not kept"
    );
    assert!(everything(outside.path()).is_empty(), "nothing escapes");
    assert_eq!(
        service.get("/api/controllers").body["controllers"],
        json!([])
    );
    let honest = std::fs::read(archives.path().join("honest.tar.gz")).expect("our own file");
    assert_eq!(service.deploy(&honest, "").status, 201);
}

#[test]
fn archives_are_bounded_before_they_are_read() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    // Declared and never sent: the answer does not wait for it.
    let head = format!(
        "POST /api/controllers HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\nconnection: close\r\n\r\n"
    );
    let answer = raw(&service, &head);
    expect("declared", &answer, 413, "E1004", "");
    let sent = vec![0x1f; 80 << 20];
    let answer = call(service.address, "POST", "/api/controllers", KEY, &sent);
    // The server may close before everything was sent; then there is no answer to read.
    if let Some(answer) = answer {
        expect("sent", &answer, 413, "E1004", "");
    }
    let head = format!(
        "POST /api/controllers HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
    );
    expect("encoded", &raw(&service, &head), 415, "E1004", "");
    for query in [
        "canary=0",
        "canary=100",
        "canary=300",
        "margin=0.5",
        "canary=5&margin=2",
        "canary=5&margin=NaN",
        "what=1",
    ] {
        let answer = service.deploy(&telling("Echo", "1.0.0"), query);
        expect(query, &answer, 400, "E1004", "");
    }
    let long = format!("reason={}", "x".repeat(1_001));
    expect(
        "reason",
        &service.deploy(&telling("Echo", "1.0.0"), &long),
        400,
        "E1004",
        "reason",
    );
    assert_eq!(
        service
            .deploy(&telling("Echo", "1.0.0"), "reason=because")
            .status,
        201
    );
}

/// Sends bytes as they are.
fn raw(service: &Service, request: &str) -> Answer {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(service.address).expect("it accepts");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    crate::service::parse(&answer).expect("an answer")
}
