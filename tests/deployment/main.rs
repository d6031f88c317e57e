//! What lies below `deploy/` for containers, Kubernetes and monitoring, held against the programs that read it and against the real server.

#[path = "../support/repository.rs"]
mod repository;
#[path = "../support/support.rs"]
mod support;

mod chart;
mod containers;
mod dashboard;
mod monitoring;

use std::io::Write;
use std::process::{Command, Stdio};

use repository::{read, root};
use serde_json::Value;

/// A program of the Python environment that `make test-tools` makes.
fn tool(name: &str) -> Command {
    let mut command = Command::new(root().join("target/venv/bin").join(name));
    command.current_dir(root());
    command
}

/// Runs a command that must succeed, and returns what it prints.
fn succeeds(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("type make test-tools first: {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    // A program that has seen enough may close its input.
    let _ = writing.join().expect("no thread panics");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{printed}{said}");
    printed
}

/// Every document of a YAML text.
fn yaml(text: &str) -> Vec<Value> {
    let script =
        "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(sys.stdin.read()))))";
    let printed = succeeds(tool("python").args(["-c", script]), text);
    serde_json::from_str(&printed).expect("JSON")
}

/// The only document of a YAML file.
fn yaml_file(path: &str) -> Value {
    let mut documents = yaml(&read(path));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}
