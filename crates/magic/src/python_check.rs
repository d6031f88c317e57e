//! Reading a controller's Python without running it: is there an entry point, and does the program use what it declared?
//!
//! The Python is parsed by Python, as text: a small script of ours runs in a fresh interpreter (`-I -S`, so that nothing of the
//! author's folder or environment is imported), gets the files on its standard input and prints what it saw. The judgement is
//! made here. What cannot be read from the text, such as a client that is handed to another function, is given the benefit of
//! the doubt; the broker decides at run time anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use magic_contract::{CapabilityKind, Contract, ErrorCode, Severity};
use magic_runtime::Interpreter;
use serde::Deserialize;

use crate::finding::{Finding, Place};

const READER: &str = include_str!("python_check/read.py");

/// The program of a controller.
const PROGRAM: &str = "controller.py";

/// The most bytes of one file that are read.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The most files that are read, and how deep.
const MOST_FILES: usize = 500;
const DEEPEST: usize = 8;

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

/// What all files together use.
#[derive(Debug, Default)]
struct Used {
    kinds: BTreeSet<&'static str>,
    /// Clients that were handed on whole.
    clients: BTreeSet<String>,
}

fn check_entries(
    entries: &[Entry],
    contract: &Contract,
    folder: &Path,
    file: File<'_>,
    findings: &mut Vec<Finding>,
) {
    let marked: Vec<_> = entries.iter().filter(|entry| entry.marked).collect();
    let start = Place {
        line: 1,
        column: 1,
        width: 1,
    };
    let entry = match marked.as_slice() {
        [only] => *only,
        [] => {
            let finding = match entries.first() {
                Some(unmarked) => file
                    .error(
                        ErrorCode::DoesNotLoad,
                        unmarked.place,
                        format!(
                            "class {} is not marked with @contract, so there is no entry point",
                            unmarked.name
                        ),
                    )
                    .hinting(format!(
                        "write {} on the line above class {}",
                        decorator_for(folder),
                        unmarked.name
                    )),
                None => file
                    .error(
                        ErrorCode::DoesNotLoad,
                        start,
                        "there is no entry point: no class or function is marked with @contract"
                            .to_owned(),
                    )
                    .hinting(entry_point_to_write(contract)),
            };
            findings.push(finding);
            return;
        }
        [_, second, ..] => {
            let names: Vec<_> = marked.iter().map(|entry| entry.name.as_str()).collect();
            findings.push(
                file.error(
                    ErrorCode::DoesNotLoad,
                    second.place,
                    format!(
                        "several entry points are marked with @contract: {}",
                        names.join(", ")
                    ),
                )
                .hinting("keep @contract on one of them; every controller has a folder of its own"),
            );
            return;
        }
    };
    if !entry.derives {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("class {} does not derive from Controller", entry.name),
            )
            .hinting(format!("write class {}(Controller):", entry.name)),
        );
    }
    if !entry.has_execute {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("class {} has no method execute", entry.name),
            )
            .hinting("write async def execute(self, input): ..."),
        );
    }
    let wanted = contract.name.as_str();
    let named = entry.name == wanted || entry.name.strip_suffix("Controller") == Some(wanted);
    if entry.kind == "class" && !named {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!(
                    "class {} does not carry the contract's name {wanted}",
                    entry.name
                ),
            )
            .expecting(format!("{wanted} or {wanted}Controller"))
            .hinting(format!(
                "rename the class, or set name: {} in the contract",
                entry.name
            )),
        );
    }
    if let Some(path) = &entry.contract
        && !folder.join(path).is_file()
    {
        findings.push(
            file.warning(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("@contract names {path}, which is not there"),
            )
            .hinting(format!("write {}", decorator_for(folder))),
        );
    }
}

fn check_uses(
    uses: &[Use],
    contract: &Contract,
    file: File<'_>,
    used: &mut Used,
    findings: &mut Vec<Finding>,
) {
    for one in uses {
        let shown = match &one.method {
            Some(method) => format!("{}.{method}", one.client),
            None => one.client.clone(),
        };
        let kinds = kinds_of(&one.client);
        // Metrics need no capability.
        if kinds.is_empty() {
            continue;
        }
        let Some(method) = &one.method else {
            used.clients.insert(one.client.clone());
            if !kinds
                .iter()
                .any(|kind| contract.capability(*kind).is_some())
            {
                findings.push(undeclared(file, one.place, &shown, kinds[0]));
            }
            continue;
        };
        let Some(kind) = kind_of(&one.client, method) else {
            findings.push(
                file.error(
                    ErrorCode::DoesNotLoad,
                    one.place,
                    format!("there is no {shown}"),
                )
                .expecting(format!(
                    "{} has {}",
                    one.client,
                    methods_of(&one.client).join(", ")
                )),
            );
            continue;
        };
        if contract.capability(kind).is_none() {
            findings.push(undeclared(file, one.place, &shown, kind));
        }
        used.kinds.insert(kind.as_str());
    }
}

fn undeclared(file: File<'_>, place: Place, shown: &str, kind: CapabilityKind) -> Finding {
    file.error(
        ErrorCode::CapabilityUndeclared,
        place,
        format!(
            "{shown} needs the capability {}, which the contract does not declare",
            kind.as_str()
        ),
    )
    .hinting(format!(
        "add to the contract under capabilities: {}",
        kind.example_line()
    ))
}

fn unused(contract: &Contract, used: &Used, program: File<'_>) -> Vec<Finding> {
    contract
        .capabilities
        .iter()
        .map(magic_contract::Capability::kind)
        .filter(|kind| {
            let client = client_of(*kind);
            !used.kinds.contains(kind.as_str()) && !used.clients.contains(client)
        })
        .map(|kind| {
            program
                .warning(
                    ErrorCode::CapabilityUndeclared,
                    Place {
                        line: 1,
                        column: 1,
                        width: 1,
                    },
                    format!(
                        "the contract declares {}, which the program does not use",
                        kind.as_str()
                    ),
                )
                .hinting("remove it from the contract: what is not declared cannot be misused")
        })
        .collect()
}

/// Every method of every client, and the capability that it takes.
const METHODS: &[(&str, &str, CapabilityKind)] = &[
    ("db", "query", CapabilityKind::DbRead),
    ("db", "query_one", CapabilityKind::DbRead),
    ("db", "count", CapabilityKind::DbRead),
    ("db", "insert", CapabilityKind::DbWrite),
    ("db", "update", CapabilityKind::DbWrite),
    ("db", "delete", CapabilityKind::DbWrite),
    ("db", "raw", CapabilityKind::DbRawsql),
    ("http", "get", CapabilityKind::HttpEgress),
    ("http", "post", CapabilityKind::HttpEgress),
    ("http", "put", CapabilityKind::HttpEgress),
    ("http", "patch", CapabilityKind::HttpEgress),
    ("http", "delete", CapabilityKind::HttpEgress),
    ("http", "head", CapabilityKind::HttpEgress),
    ("http", "request", CapabilityKind::HttpEgress),
    ("secrets", "get", CapabilityKind::SecretsRead),
    ("cache", "get", CapabilityKind::CacheRead),
    ("cache", "set", CapabilityKind::CacheWrite),
    ("cache", "delete", CapabilityKind::CacheWrite),
    ("queue", "publish", CapabilityKind::QueuePublish),
    ("queue", "receive", CapabilityKind::QueueSubscribe),
    ("queue", "ack", CapabilityKind::QueueSubscribe),
    ("fs", "temp", CapabilityKind::FsTemp),
];

fn kind_of(client: &str, method: &str) -> Option<CapabilityKind> {
    METHODS
        .iter()
        .find(|(of, name, _)| *of == client && *name == method)
        .map(|(_, _, kind)| *kind)
}

fn kinds_of(client: &str) -> Vec<CapabilityKind> {
    METHODS
        .iter()
        .filter(|(of, _, _)| *of == client)
        .map(|(_, _, kind)| *kind)
        .collect()
}

fn methods_of(client: &str) -> Vec<&'static str> {
    METHODS
        .iter()
        .filter(|(of, _, _)| *of == client)
        .map(|(_, method, _)| *method)
        .collect()
}

fn client_of(kind: CapabilityKind) -> &'static str {
    METHODS
        .iter()
        .find(|(_, _, of)| *of == kind)
        .map_or("", |(client, _, _)| client)
}

fn decorator_for(folder: &Path) -> String {
    let name = crate::controller_folder::contract_in(folder)
        .ok()
        .and_then(|path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "contract.yaml".to_owned());
    format!("@contract(\"./{name}\")")
}

fn entry_point_to_write(contract: &Contract) -> String {
    format!(
        "write a class {0}Controller(Controller) with async def execute(self, input), marked with @contract; `magic new controller {0}` shows one",
        contract.name
    )
}

/// The Python files of a folder, tests left out, by their relative names.
fn sources_of(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    let mut open: Vec<(PathBuf, usize)> = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let entries = std::fs::read_dir(&path)
            .with_context(|| format!("cannot read the folder {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Links are not followed: neither does a deploy follow them.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if depth < DEEPEST
                    && !name.starts_with('.')
                    && name != "__pycache__"
                    && name != "tests"
                {
                    open.push((entry.path(), depth + 1));
                }
                continue;
            }
            let is_test =
                name.starts_with("test_") || name.ends_with("_test.py") || name == "conftest.py";
            if !kind.is_file() || !name.ends_with(".py") || is_test {
                continue;
            }
            if sources.len() >= MOST_FILES {
                bail!(
                    "{} has more than {MOST_FILES} Python files",
                    folder.display()
                );
            }
            let relative = entry
                .path()
                .strip_prefix(folder)
                .unwrap_or(Path::new(&name))
                .display()
                .to_string();
            sources.insert(relative, read_source(&entry.path())?);
        }
    }
    Ok(sources)
}

fn read_source(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        bail!(
            "{} is larger than {} KiB",
            path.display(),
            LARGEST_FILE / 1024
        );
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{} is not valid UTF-8", path.display()))
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
