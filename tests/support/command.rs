//! What an operator types: commands of the binary on the data folder of a server, whether it runs or not.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a command, however it ends. `data` is the folder that the server's own lies in.
pub(crate) fn attempt(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_magic"))
        .arg("--data-dir")
        .arg(data.join("data"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs")
}

/// Runs a command that must succeed and returns what it prints.
pub(crate) fn magic(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = attempt(data, arguments, environment);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "magic {arguments:?}: {said}{printed}"
    );
    printed
}

/// Makes tables, as an operator would: by a migration.
pub(crate) fn migrate(data: &Path, sql: &str, environment: &[(&str, &str)]) {
    let folder = data.join("migrations");
    std::fs::create_dir_all(&folder).expect("our own folder");
    std::fs::write(folder.join("0001_tables.sql"), sql).expect("our own file");
    let folder = folder.to_str().expect("UTF-8");
    magic(data, &["migrate", folder], environment);
}

/// Every record of the audit log so far, oldest first.
pub(crate) fn export(data: &Path) -> Vec<Value> {
    magic(data, &["audit", "export"], &[])
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}
