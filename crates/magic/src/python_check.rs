//! Reading a controller's Python without running it: is there an entry point, and does the program use what it declared?
//!
//! The Python is parsed by Python, as text: a small script of ours runs in a fresh interpreter (`-I -S`, so that nothing of the
//! author's folder or environment is imported), gets the files on its standard input and prints what it saw. The judgement is
//! made here. What cannot be read from the text, such as a client that is handed to another function, is given the benefit of
//! the doubt; the broker decides at run time anyway.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use magic_contract::{Contract, ErrorCode, Severity};
use magic_runtime::Interpreter;
use serde::Deserialize;

use crate::finding::{Finding, Place};

mod capability_use;
mod entry_point;
mod sources;

use capability_use::{Used, check_uses, unused};
use entry_point::{check_entries, entry_point_to_write};
use sources::sources_of;

const READER: &str = include_str!("python_check/read.py");

/// The program of a controller.
const PROGRAM: &str = "controller.py";

/// Checks the Python of a controller's folder against its contract.
///
/// # Errors
/// When no interpreter is found or it fails; what is wrong with the Python is in the findings.
pub(crate) fn check(
    folder: &Path,
    contract: &Contract,
    interpreter: Option<&Path>,
) -> anyhow::Result<Vec<Finding>> {
    let sources = sources_of(folder)?;
    if !sources.contains_key(PROGRAM) {
        let place = Place {
            line: 1,
            column: 1,
            width: 1,
        };
        let file = folder.join(PROGRAM).display().to_string();
        return Ok(vec![
            Finding::at(
                Severity::Error,
                ErrorCode::DoesNotLoad,
                &file,
                "",
                place,
                format!("the folder {} has no {PROGRAM}", folder.display()),
            )
            .hinting(entry_point_to_write(contract)),
        ]);
    }
    let seen = read_with(interpreter, &sources)?;
    let mut findings = Vec::new();
    let mut used = Used::default();
    for (name, source) in &sources {
        let Some(seen) = seen.get(name) else {
            bail!("the interpreter said nothing about {name}");
        };
        let file = File {
            name: &folder.join(name).display().to_string(),
            source,
        };
        match seen {
            Seen::Broken { syntax } => findings.push(file.error(
                ErrorCode::DoesNotLoad,
                syntax.place,
                format!("not valid Python: {}", syntax.message),
            )),
            Seen::Read { entries, uses } => {
                if name == PROGRAM {
                    check_entries(entries, contract, folder, file, &mut findings);
                }
                check_uses(uses, contract, file, &mut used, &mut findings);
            }
        }
    }
    // With a broken file, what is unused cannot be known.
    let broken = seen
        .values()
        .any(|seen| matches!(seen, Seen::Broken { .. }));
    if !broken {
        let program = File {
            name: &folder.join(PROGRAM).display().to_string(),
            source: &sources[PROGRAM],
        };
        findings.extend(unused(contract, &used, program));
    }
    Ok(findings)
}

/// One source file.
#[derive(Debug, Clone, Copy)]
struct File<'a> {
    name: &'a str,
    source: &'a str,
}

impl File<'_> {
    fn error(self, code: ErrorCode, place: Place, message: String) -> Finding {
        Finding::at(
            Severity::Error,
            code,
            self.name,
            self.source,
            place,
            message,
        )
    }

    fn warning(self, code: ErrorCode, place: Place, message: String) -> Finding {
        Finding::at(
            Severity::Warning,
            code,
            self.name,
            self.source,
            place,
            message,
        )
    }
}

/// What the script saw in one file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seen {
    Broken { syntax: Syntax },
    Read { entries: Vec<Entry>, uses: Vec<Use> },
}

#[derive(Debug, Deserialize)]
struct Syntax {
    message: String,
    place: Place,
}

#[derive(Debug, Deserialize)]
struct Entry {
    kind: String,
    name: String,
    marked: bool,
    derives: bool,
    has_execute: bool,
    contract: Option<String>,
    place: Place,
}

#[derive(Debug, Deserialize)]
struct Use {
    client: String,
    method: Option<String>,
    place: Place,
}

/// Runs the script on the sources.
fn read_with(
    interpreter: Option<&Path>,
    sources: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, Seen>> {
    let mut child = start(interpreter)?;
    let request = serde_json::to_vec(&serde_json::json!({ "files": sources }))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it does not read, its end says why.
        let _ = stdin.write_all(&request);
    }
    // The script limits its own processor time and waits for nothing, so that this ends.
    let ended = child
        .wait_with_output()
        .context("cannot wait for the interpreter")?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let last = said.lines().last().unwrap_or("it said nothing");
        bail!(
            "the interpreter could not read the program ({}): {}",
            ended.status,
            crate::terminal::escaped(last)
        );
    }
    serde_json::from_slice(&ended.stdout).context("the interpreter's answer cannot be read")
}

fn start(interpreter: Option<&Path>) -> anyhow::Result<std::process::Child> {
    // The very interpreter that would run the controller, so that its syntax is the one that counts.
    let found = Interpreter::find(interpreter)?;
    Command::new(&found.executable)
        .args(["-I", "-S", "-B", "-X", "utf8", "-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", found.executable.display()))
}
