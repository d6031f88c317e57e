//! `magic policy lint [FILE]`: rules that do not do what they seem to.
//!
//! Ends with status 1 if a mistake was found; what is merely worth knowing is printed as a note.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::Ended;
use crate::controller_folder;
use crate::output::Output;
use crate::settings::Settings;

/// The arguments of `magic policy lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy, if not the configured one
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also hold the controllers of this folder against the policy
    #[arg(long, value_name = "FOLDER")]
    controllers: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let policy = match &arguments.file {
        Some(file) => super::read(file, settings)?,
        None => super::configured(settings)?,
    };
    let mut contracts = Vec::new();
    if let Some(root) = &arguments.controllers {
        for folder in controller_folder::controllers_under(root)? {
            contracts.push(super::read_contract(&controller_folder::contract_in(
                &folder,
            )?)?);
        }
    }
    let findings = policy.lint(&contracts);
    let mistakes = findings.iter().filter(|one| one.kind.is_mistake()).count();
    if output.is_json() {
        output.json(&json!({
            "file": policy.file, "hash": policy.hash(), "mistakes": mistakes, "findings": findings,
        }))?;
    } else {
        for finding in &findings {
            let level = if finding.kind.is_mistake() {
                "error"
            } else {
                "note"
            };
            let about = match (&finding.rule, &finding.controller) {
                (Some(rule), _) => format!("{}: {}", rule.place(), rule.name),
                (None, Some(controller)) => controller.clone(),
                (None, None) => policy.file.clone(),
            };
            output.data(&format!("{level}: {about}: {}", finding.message))?;
        }
        let rules = policy.rules.len();
        output.data(&format!(
            "{}: {rules} {}, {mistakes} {}",
            policy.file,
            if rules == 1 { "rule" } else { "rules" },
            if mistakes == 1 { "mistake" } else { "mistakes" },
        ))?;
    }
    Ok(if mistakes == 0 {
        Ended::Done
    } else {
        Ended::Refused
    })
}
