//! A temporary folder to work in, and controllers to put there.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is gone after the test.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

/// The input and output of controllers whose schemas do not matter.
pub(crate) const ANY: &str = "input: { type: object }\noutput: { type: object }\n";

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Writes a controller: `more` goes into the contract after name and version, `body` is the body of `execute`.
    pub(crate) fn controller(&self, name: &str, more: &str, body: &str) {
        let folder = format!("controllers/{}", name.to_lowercase());
        self.write(
            &format!("{folder}/contract.yaml"),
            &format!("name: {name}\nversion: 1.0.0\n{more}"),
        );
        let mut program = format!(
            "import asyncio\nfrom magic import Controller, contract\n\n\n@contract(\"./contract.yaml\")\nclass {name}(Controller):\n    async def execute(self, input):\n"
        );
        for line in body.lines() {
            program.push_str(&format!("        {line}\n"));
        }
        self.write(&format!("{folder}/controller.py"), &program);
    }

    /// A controller that answers what it was asked.
    pub(crate) fn echo(&self) {
        self.controller("Echo", ANY, "return {\"echo\": input}");
    }
}
