//! A node whose state is in PostgreSQL: the archive has the rest, and PostgreSQL's own tools have the state.

use super::*;
use crate::command::magic;
use crate::postgres::Postgres;
use std::process::{Command, Output};

/// A command of the binary for the node that uses this state.
fn command(folder: &Folder, url: &str, node: &str, arguments: &[&str]) -> Output {
    let output = magic(folder.path())
        .env("MAGIC_STORE_URL", url)
        .env("MAGIC_NODE", node)
        .args(arguments)
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{arguments:?} {output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn serve_with(folder: &Folder, url: &str, node: &str) -> Server {
    let environment = [
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("MAGIC_STORE_URL", url),
        ("MAGIC_NODE", node),
    ];
    Server::start_with(folder, SERVE, &environment)
}

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).output();
    let output = output.expect("the tools of PostgreSQL are installed with it");
    assert!(output.status.success(), "{name}: {output:?}");
}

/// Everything serves as before from what the two tools kept. The audit log goes on where its key was taken along; where it was not, the
/// node has another name, and the state still says where the old log ended.
fn comes_back_from_postgres(with_key: bool) {
    let postgres = Postgres::start();
    let (url, again) = (postgres.database("state"), postgres.database("again"));
    let folder = Folder::new();
    folder.echo();
    let server = serve_with(&folder, &url, "lost");
    let wanted = json!({"name": "kept", "roles": ["execute", "read"]}).to_string();
    let call = Call::post("/api/keys", &wanted).header("X-API-Key", ADMIN_KEY);
    let made = server.call(&call).json();
    let key = made["key"].as_str().expect("a key").to_owned();
    std::fs::remove_dir_all(folder.path().join("controllers")).expect("it is there");
    assert_eq!(execute(server.address(), &key).status, 200);
    let dump = folder.path().join("state.dump");
    let dump = dump.to_str().expect("UTF-8");
    let fixed = ["--schema=magic_state", "--format=custom", "--file", dump];
    tool("pg_dump", &[&fixed[..], &["--dbname", &url]].concat());
    let mut arguments = vec!["backup", "kept.backup"];
    arguments.extend(with_key.then_some("--with-audit-key"));
    let backup = command(&folder, &url, "lost", &arguments);
    assert!(
        said(&backup).contains("pg_dump --schema=magic_state"),
        "{backup:?}"
    );
    end(server);
    std::fs::remove_dir_all(folder.path().join("data")).expect("it is there");

    tool("pg_restore", &["--dbname", &again, dump]);
    let restored = command(&folder, &again, "lost", &["restore", "kept.backup"]);
    assert!(said(&restored).contains("pg_restore"), "{restored:?}");
    assert!(!folder.path().join("data/state.db").exists());
    let node = if with_key { "lost" } else { "found" };
    let server = serve_with(&folder, &again, node);
    assert_eq!(execute(server.address(), &key).status, 200);
    let versions = command(&folder, &again, node, &["versions", "Echo", "--json"]);
    assert!(
        String::from_utf8_lossy(&versions.stdout).contains("active"),
        "{versions:?}"
    );
    end(server);
    let verified = command(&folder, &again, node, &["audit", "verify", "--heads"]);
    let told = said(&verified);
    assert!(
        told.contains("the same as the runtime's state was shown"),
        "{told}"
    );
    assert_eq!(told.contains("the log of lost"), !with_key, "{told}");
}

#[test]
fn a_lost_node_comes_back_to_its_state_in_postgresql() {
    comes_back_from_postgres(false);
}

#[test]
fn a_lost_node_comes_back_to_its_state_in_postgresql_with_its_audit_log() {
    comes_back_from_postgres(true);
}
