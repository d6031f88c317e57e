//! Running `magic` to its end in a folder of its own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::folder::Folder;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit status, and shows everything if it is another.
    #[track_caller]
    pub(crate) fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }
}

/// The binary, in a folder, without any settings of whoever runs the tests.
pub(crate) fn magic(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magic"));
    command
        .current_dir(folder)
        .env("MAGIC_DATA_DIR", folder.join("data"))
        .env("MAGIC_SOCKET", folder.join("magic.sock"))
        .env("NO_COLOR", "1");
    for name in [
        "MAGIC_CONFIG",
        "MAGIC_LISTEN",
        "MAGIC_POLICY",
        "MAGIC_CONTROLLERS",
        "MAGIC_URL",
        "MAGIC_API_KEY",
        "MAGIC_STORE_URL",
        "MAGIC_JWKS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_TRACES_EXPORTER",
        "MAGIC_SOCKET_GROUP",
        "ADMIN_API_KEY",
        "JWT_SECRET",
        "ALLOWED_ORIGINS",
        "CONTROLLER_ALLOWLIST",
        "DATABASE_URL",
        "ENVIRONMENT",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command in a folder.
pub(crate) fn run(folder: &Folder, arguments: &[&str]) -> Ended {
    magic(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
        .into()
}

/// Runs a command with something on its standard input.
pub(crate) fn run_with_input(folder: &Folder, arguments: &[&str], input: &str) -> Ended {
    let mut child = magic(folder.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("it reads its input");
    child.wait_with_output().expect("the binary ends").into()
}
