//! `magic validate PATH...`: everything that is wrong, at once, without running anything of the author's.
//!
//! A path is a controller's folder, a contract in one, or a contract alone. With `--load` the controller is also imported, inside
//! the sandbox, as a deploy would do it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use magic_contract::{Contract, Diagnostics, Failure, Severity};
use serde_json::{Value, json};

use crate::cli::Ended;
use crate::controller_folder;
use crate::finding::Finding;
use crate::output::Output;
use crate::python_check;
use crate::runtime_start;
use crate::settings::Settings;
use crate::terminal;

/// Contracts are small; what is larger is something else.
const LARGEST_CONTRACT: u64 = 1024 * 1024;

/// The arguments of `magic validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Controllers' folders, or contract files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also import the controller, inside the sandbox
    #[arg(long)]
    load: bool,
}

/// What was found about one path.
#[derive(Debug, Default)]
struct Checked {
    path: PathBuf,
    name: Option<String>,
    version: Option<String>,
    /// The contract in full, defaults filled in.
    contract: Option<Value>,
    contract_problems: Option<Diagnostics>,
    contract_warnings: Option<Diagnostics>,
    findings: Vec<Finding>,
    /// Something that kept a check from being made.
    unchecked: Option<String>,
    failure: Option<Failure>,
}

pub(crate) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let mut all = Vec::new();
    for path in &arguments.paths {
        let mut checked = check(path, settings)?;
        if arguments.load && checked.is_valid() {
            checked.failure = load(path, settings)?;
        }
        if !output.is_json() {
            checked.report(output)?;
        }
        all.push(checked);
    }
    let valid = all.iter().all(Checked::is_valid);
    if output.is_json() {
        let checked: Vec<_> = all.iter().map(Checked::to_json).collect();
        output.json(&json!({ "valid": valid, "checked": checked }))?;
    }
    Ok(if valid { Ended::Done } else { Ended::Refused })
}

fn check(path: &Path, settings: &Settings) -> anyhow::Result<Checked> {
    let mut checked = Checked {
        path: path.to_owned(),
        ..Checked::default()
    };
    let (contract_path, folder) = if path.is_dir() {
        match controller_folder::contract_in(path) {
            Ok(contract) => (contract, Some(path.to_owned())),
            Err(error) => {
                checked.failure = Some(Failure::new(
                    magic_contract::ErrorCode::InvalidBundle,
                    format!("{error:#}"),
                ));
                return Ok(checked);
            }
        }
    } else {
        let folder = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("."),
        };
        // A contract alone is a fair thing to check; its Python may not be written yet.
        let folder = folder.join("controller.py").is_file().then_some(folder);
        (path.to_owned(), folder)
    };
    let text = read_contract(&contract_path)?;
    let contract = match Contract::parse(&text, &contract_path.display().to_string()) {
        Ok(contract) => contract,
        Err(problems) => {
            checked.contract_problems = Some(problems);
            return Ok(checked);
        }
    };
    checked.name = Some(contract.name.to_string());
    checked.version = Some(contract.version.to_string());
    checked.contract = Some(contract.to_json());
    if let Some(folder) = folder {
        match python_check::check(&folder, &contract, settings.python.as_deref()) {
            Ok(findings) => checked.findings = findings,
            Err(error) => checked.unchecked = Some(format!("{error:#}")),
        }
    }
    checked.contract_warnings = Some(contract.warnings);
    Ok(checked)
}

fn read_contract(path: &Path) -> anyhow::Result<Vec<u8>> {
    let found =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !found.is_file() || found.len() > LARGEST_CONTRACT {
        anyhow::bail!(
            "{} is not a contract: a contract is a file of at most {} KiB",
            path.display(),
            LARGEST_CONTRACT / 1024
        );
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Imports the controller as a deploy would, and says what went wrong.
fn load(path: &Path, settings: &Settings) -> anyhow::Result<Option<Failure>> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new("."))
    };
    runtime_start::block_on(async {
        let runtime = runtime_start::start_bare(settings).await?;
        let inspected = runtime.inspect(folder).await;
        runtime.stop().await;
        Ok(inspected.err())
    })
}

impl Checked {
    fn is_valid(&self) -> bool {
        self.contract_problems.is_none()
            && self.failure.is_none()
            && self.unchecked.is_none()
            && !self
                .findings
                .iter()
                .any(|finding| finding.severity == Severity::Error)
    }

    fn to_json(&self) -> Value {
        let split = |severity| {
            self.findings
                .iter()
                .filter(move |finding| finding.severity == severity)
                .map(|finding| json!(finding))
        };
        let contract = |list: &Option<Diagnostics>| {
            list.iter()
                .flatten()
                .map(|diagnostic| json!(diagnostic))
                .collect::<Vec<_>>()
        };
        let mut problems = contract(&self.contract_problems);
        problems.extend(split(Severity::Error));
        problems.extend(self.failure.iter().map(|failure| json!(failure)));
        problems.extend(
            self.unchecked
                .iter()
                .map(|message| json!({ "message": message })),
        );
        let mut warnings = contract(&self.contract_warnings);
        warnings.extend(split(Severity::Warning));
        json!({
            "path": self.path, "name": self.name, "version": self.version,
            "valid": self.is_valid(), "contract": self.contract, "problems": problems, "warnings": warnings,
        })
    }

    /// Problems are talk; whether it is valid is data.
    fn report(&self, output: Output) -> anyhow::Result<()> {
        let color = terminal::color();
        for list in [&self.contract_problems, &self.contract_warnings]
            .into_iter()
            .flatten()
        {
            if !list.is_empty() {
                output.talk(list.render(color).trim_end());
                output.talk("");
            }
        }
        for finding in &self.findings {
            output.talk(&finding.render(color));
            output.talk("");
        }
        if let Some(failure) = &self.failure {
            runtime_start::talk_failure(failure, output);
        }
        if let Some(unchecked) = &self.unchecked {
            output.talk(&format!("error: the Python was not checked: {unchecked}"));
        }
        let errors = self.contract_problems.as_ref().map_or(0, Diagnostics::len)
            + self
                .findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .count()
            + usize::from(self.failure.is_some())
            + usize::from(self.unchecked.is_some());
        let shown = self.path.display();
        match (&self.name, &self.version) {
            (Some(name), Some(version)) if self.is_valid() => {
                output.data(&format!("{shown}: valid ({name} {version})"))
            }
            _ => output.data(&format!(
                "{shown}: {errors} {}",
                if errors == 1 { "problem" } else { "problems" }
            )),
        }
    }
}
