//! `magic policy test FILE...`: cases in YAML, each with what must come of it.
//!
//! A file may name its policy; paths in it are relative to its folder.

use std::path::{Path, PathBuf};

use anyhow::Context;
use magic_contract::{CaseSubject, Policy, PolicyCases};
use serde_json::{Value, json};

use crate::cli::{Ended, Refused};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal;

/// The arguments of `magic policy test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files of cases
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let mut outcomes: Vec<Value> = Vec::new();
    let mut failed = 0;
    for file in &arguments.files {
        let cases = read(file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let policy = policy_of(&cases, folder, settings)?;
        for case in &cases.cases {
            let outcome = match &case.subject {
                CaseSubject::Contract(contract) => case.run(&policy, contract),
                CaseSubject::Controller(name) => {
                    let beside = folder.join(name);
                    let found = if beside.exists() {
                        beside.display().to_string()
                    } else {
                        name.clone()
                    };
                    case.run(&policy, &super::contract_of(&found, &settings.controllers)?)
                }
            };
            let place = format!("{}:{}", file.display(), case.line);
            failed += usize::from(outcome.problem.is_some());
            if output.is_json() {
                outcomes.push(json!({
                    "file": file, "line": case.line, "name": case.name, "passed": outcome.problem.is_none(),
                    "problem": outcome.problem, "explanation": outcome.explanation.to_json(),
                }));
                continue;
            }
            match &outcome.problem {
                None => output.data(&format!("ok      {place}: {}", case.name))?,
                Some(problem) => {
                    output.data(&format!("FAILED  {place}: {}: {problem}", case.name))?;
                    output.talk(outcome.explanation.render().trim_end());
                }
            }
        }
    }
    if output.is_json() {
        output.json(&json!({ "failed": failed, "cases": outcomes }))?;
    } else {
        output.talk(&format!("{failed} failed"));
    }
    Ok(if failed == 0 {
        Ended::Done
    } else {
        Ended::Refused
    })
}

fn read(file: &Path) -> anyhow::Result<PolicyCases> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    PolicyCases::parse(&text, &file.display().to_string())
        .map_err(|problems| anyhow::anyhow!("{}", problems.render(terminal::color()).trim_end()))
        .context(Refused("the cases are not valid"))
}

fn policy_of(cases: &PolicyCases, folder: &Path, settings: &Settings) -> anyhow::Result<Policy> {
    let Some(named) = &cases.policy else {
        return super::configured(settings);
    };
    let beside = folder.join(named);
    let path = if beside.exists() {
        beside
    } else {
        PathBuf::from(named)
    };
    super::read(&path, settings)
}
