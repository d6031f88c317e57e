//! The controller that does what its input says: see `acting.py`.

use crate::support::server::{Answer, Controllers, Server};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Adds a controller with these further lines of contract.
pub(crate) fn acting(controllers: Controllers, name: &str, contract: &str) -> Controllers {
    let code = include_str!("acting.py").replace("class Acting(", &format!("class {name}("));
    controllers.with(name, contract, &code)
}

/// One call through the SDK.
pub(crate) fn step(call: &str, arguments: Value) -> Value {
    json!({"call": call, "args": arguments})
}

/// Makes steps one after the other, and returns what came of each, with the request's id.
pub(crate) fn steps(server: &Server, controller: &str, steps: &[Value]) -> (String, Vec<Value>) {
    let answer = server.execute(controller, &json!({"steps": steps}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.body["result"]["steps"].as_array().expect("steps");
    (request_id(&answer), told.clone())
}

/// The id of an answered request, whatever the answer.
pub(crate) fn request_id(answer: &Answer) -> String {
    answer.body["request_id"]
        .as_str()
        .or_else(|| answer.body["error"]["request_id"].as_str())
        .unwrap_or_else(|| panic!("no request id: {}", answer.body))
        .to_owned()
}

/// Applies one migration below a data folder, as its operator would.
pub(crate) fn migrate(data: &Path, sql: &str, environment: &[(&str, &str)]) {
    let folder = data.join("migrations");
    std::fs::create_dir_all(&folder).expect("our own folder");
    std::fs::write(folder.join("0001_tables.sql"), sql).expect("our own file");
    let output = Command::new(env!("CARGO_BIN_EXE_magic"))
        .arg("--data-dir")
        .arg(data.join("data"))
        .arg("migrate")
        .arg(&folder)
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
