//! The audit log as its commands show it.

use crate::support::server::Server;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `magic audit ...` on the log below a data folder.
pub(crate) fn audit(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_magic"))
        .arg("--data-dir")
        .arg(data.join("data"))
        .arg("audit")
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Every record so far, oldest first.
pub(crate) fn export(server: &Server) -> Vec<Value> {
    let output = audit(server.data.path(), &["export"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// The records of capability calls of one request, in their order.
pub(crate) fn calls_of(records: &[Value], request: &str) -> Vec<Value> {
    records
        .iter()
        .filter(|record| record["kind"] == "call" && record["request_id"] == request)
        .cloned()
        .collect()
}
