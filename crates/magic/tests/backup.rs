//! A node that lost everything but its backup.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;

use crate::command::run;
use crate::folder::{ANY, Folder};
use crate::http_client::{Answer, Call, Connection};
use crate::server::Server;

mod postgres;

const ADMIN_KEY: &str = "an-administrators-key-of-many-characters";
const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

fn serve(folder: &Folder) -> Server {
    Server::start_with(folder, SERVE, &[("ADMIN_API_KEY", ADMIN_KEY)])
}

fn end(mut server: Server) {
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

/// A server with two versions of Echo, and a key that was made there.
fn served() -> (Folder, Server, String) {
    let folder = Folder::new();
    folder.echo();
    let server = serve(&folder);
    let contract = format!("name: Echo\nversion: 2.0.0\n{ANY}");
    folder.write("controllers/echo/contract.yaml", &contract);
    run(&folder, &["deploy", "controllers/echo"]).with_status(0);
    let wanted = json!({"name": "kept", "roles": ["execute", "read"]}).to_string();
    let call = Call::post("/api/keys", &wanted).header("X-API-Key", ADMIN_KEY);
    let key = server.call(&call).json()["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    // What is served is in the state, and not because the folder is there.
    std::fs::remove_dir_all(folder.path().join("controllers")).expect("it is there");
    (folder, server, key)
}

fn execute(address: SocketAddr, key: &str) -> Answer {
    let call = Call::post("/api/execute/Echo", "{}");
    call.header("X-API-Key", key).send(address)
}

/// Everything serves as before, and both ways to treat the audit log end in logs that verify.
fn comes_back(with_key: bool) {
    let (folder, server, key) = served();
    let address = server.address();
    let stop = AtomicBool::new(false);
    let mut command = vec!["backup", "kept.backup"];
    if with_key {
        command.push("--with-audit-key");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(execute(address, &key).status, 200);
            }
        });
        let made = std::panic::catch_unwind(|| run(&folder, &command));
        stop.store(true, Ordering::Relaxed);
        made.expect("it ran").with_status(0);
    });
    let running = run(&folder, &["restore", "kept.backup", "--force"]).with_status(1);
    assert!(running.stderr.contains("stop it first"), "{running:?}");
    end(server);
    let occupied = run(&folder, &["restore", "kept.backup"]).with_status(1);
    assert!(occupied.stderr.contains("not empty"), "{occupied:?}");
    std::fs::remove_dir_all(folder.path().join("data")).expect("it is there");

    let restored = run(&folder, &["restore", "kept.backup", "--json"]).with_status(0);
    let aside = restored.json()["audit_log_aside"].clone();
    assert_eq!(aside.is_null(), with_key, "{restored:?}");
    let server = serve(&folder);
    assert_eq!(execute(server.address(), &key).status, 200);
    let versions = run(&folder, &["versions", "Echo", "--json"]).with_status(0);
    let versions: Vec<_> = versions.json()["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| (version["version"].clone(), version["state"].clone()))
        .collect();
    assert_eq!(
        versions,
        [
            (json!("2.0.0"), json!("active")),
            (json!("1.0.0"), json!("idle"))
        ]
    );
    end(server);
    run(&folder, &["audit", "verify", "--heads"]).with_status(0);
    if let Some(aside) = aside.as_str() {
        let place = |name: &str| {
            let path = Path::new(aside).join(name);
            path.to_str().expect("text").to_owned()
        };
        let (log, head, public) = (
            place("audit"),
            place("audit-head/node.json"),
            place("audit-key.pub.pem"),
        );
        let command = [
            "audit",
            "verify",
            "--log",
            &log,
            "--head",
            &head,
            "--public-key",
            &public,
        ];
        run(&folder, &command).with_status(0);
    }
}

#[test]
fn a_lost_node_comes_back() {
    comes_back(false);
}

#[test]
fn a_lost_node_comes_back_with_its_audit_log() {
    comes_back(true);
}

/// An archive that was changed or cut off restores nothing, and what was there stays.
#[test]
fn damaged_archives_restore_nothing() {
    let (folder, server, _) = served();
    run(&folder, &["backup", "kept.backup"]).with_status(0);
    let twice = run(&folder, &["backup", "kept.backup"]).with_status(2);
    assert!(twice.stderr.contains("exists"), "{twice:?}");
    end(server);
    let whole = std::fs::read(folder.path().join("kept.backup")).expect("an archive");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    let cut = whole[..whole.len() * 2 / 3].to_vec();
    for damaged in [flipped, cut, b"something else".to_vec()] {
        std::fs::write(folder.path().join("damaged.backup"), damaged).expect("a file");
        let refused = run(&folder, &["restore", "damaged.backup", "--force"]).with_status(1);
        assert!(
            refused.stderr.contains("nothing was restored"),
            "{refused:?}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("restore") || name.contains("before"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let again = serve(&folder);
    end(again);
    // With force, what was there is moved aside and not lost.
    let forced = run(&folder, &["restore", "kept.backup", "--force", "--json"]).with_status(0);
    let former = forced.json()["former_data_dir"].clone();
    let former = Path::new(former.as_str().expect("a folder"));
    assert!(former.join("state.db").is_file(), "{forced:?}");
}

/// A follower that has seen more than a restored state knows is told, and hears what is written since, whatever its number.
#[test]
fn a_follower_goes_on_after_a_restore() {
    let folder = Folder::new();
    folder.controller("Writer", ANY, "self.log.info(input['message'])\nreturn {}");
    let write = |server: &Server, message: &str| {
        let call = Call::post(
            "/api/execute/Writer",
            &json!({ "message": message }).to_string(),
        );
        let answer = server.call(&call.header("X-API-Key", ADMIN_KEY));
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let logs = |server: &Server, query: &str| {
        let call = Call::get(&format!("/api/controllers/Writer/logs{query}"));
        server.call(&call.header("X-API-Key", ADMIN_KEY)).json()
    };
    let server = serve(&folder);
    write(&server, "before");
    assert_eq!(logs(&server, "")["source"], "state");
    run(&folder, &["backup", "kept.backup"]).with_status(0);
    for number in 0..5 {
        write(&server, &format!("lost {number}"));
    }
    let seen = logs(&server, "")["next"].as_i64().expect("a number");
    end(server);
    run(&folder, &["restore", "kept.backup", "--force"]).with_status(0);

    let server = serve(&folder);
    write(&server, "after");
    let mut stream = Connection::open(server.address());
    let follow =
        Call::get("/api/controllers/Writer/logs?follow=true").header("X-API-Key", ADMIN_KEY);
    stream.write(&follow.header("Last-Event-ID", &seen.to_string()).bytes());
    let told = stream.read_until("after");
    assert!(
        told.contains("event: missed") || told.contains("event:missed"),
        "{told}"
    );
    assert!(!told.contains("lost"), "{told}");
    write(&server, "and on");
    stream.read_until("and on");
    // Whoever asks for a page is told too, and a reader who has seen no more than there is misses nothing.
    let ahead = logs(&server, &format!("?after={seen}"));
    assert_eq!(ahead["missed"], true, "{ahead}");
    let next = ahead["next"].as_i64().expect("a number");
    let level = logs(&server, &format!("?after={next}"));
    assert_eq!(
        (&level["missed"], &level["lines"]),
        (&json!(false), &json!([])),
        "{level}"
    );
    end(server);
}
