//! Folders of wheels: the real ones that `tests/install-tools` has fetched, and ones made here.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the real wheels are.
pub(crate) fn real() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wheels");
    let folder = folder
        .canonicalize()
        .expect("target/wheels is missing; type: make test-tools");
    let has = |name: &str| {
        std::fs::read_dir(&folder)
            .expect("a folder")
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(name))
    };
    assert!(
        has("numpy-2.4.6-") && has("pydantic-2.14.4-"),
        "target/wheels lacks what tests/packages/requirements.txt names; type: make test-tools"
    );
    folder
}

/// The lock of the real ones, without its comments.
pub(crate) const REAL_LOCK: &str = include_str!("requirements.txt");

/// A wheel to be made.
pub(crate) struct Wheel(Value);

impl Wheel {
    /// A wheel of pure Python in version 1.0 with one module of its project's name.
    pub(crate) fn of(project: &str) -> Self {
        let module = project.replace('-', "_");
        Self(json!({
            "file": format!("{module}-1.0-py3-none-any.whl"), "project": project, "version": "1.0",
            "metadata": [format!("Name: {project}"), "Version: 1.0"],
            "entries": [{"name": format!("{module}.py"), "text": format!("SAYS = 'I am {project}'\n")}],
        }))
    }

    /// One file more.
    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        self.with_entry(json!({"name": name, "text": text}))
    }

    /// One entry more, with a `mode` or many `zeros`.
    pub(crate) fn with_entry(mut self, entry: Value) -> Self {
        self.0["entries"]
            .as_array_mut()
            .expect("a list")
            .push(entry);
        self
    }

    /// One line of metadata more.
    pub(crate) fn saying(mut self, line: &str) -> Self {
        self.0["metadata"]
            .as_array_mut()
            .expect("a list")
            .push(json!(line));
        self
    }

    /// With this metadata and no other.
    pub(crate) fn saying_only(mut self, lines: &[&str]) -> Self {
        self.0["metadata"] = json!(lines);
        self
    }

    /// Under another file name.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        self.0["file"] = json!(file);
        self
    }

    /// Bytes that are no wheel.
    pub(crate) fn raw(mut self, text: &str) -> Self {
        self.0["raw"] = json!(text);
        self
    }
}

/// Makes a folder of these wheels.
pub(crate) fn folder(wheels: Vec<Wheel>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list: Vec<Value> = wheels
        .into_iter()
        .map(|Wheel(mut wheel)| {
            let file = wheel["file"].as_str().expect("a name").to_owned();
            wheel["path"] = json!(folder.path().join(file));
            wheel
        })
        .collect();
    let mut python = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages/make_wheel.py"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin
        .write_all(json!(list).to_string().as_bytes())
        .expect("it is read");
    drop(stdin);
    assert!(python.wait().expect("it ends").success());
    folder
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn hash(path: &Path) -> String {
    let wheel = std::fs::read(path).expect("a wheel");
    <sha2::Sha256 as sha2::Digest>::digest(wheel)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
