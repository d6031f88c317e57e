//! `magic policy explain CONTROLLER CAPABILITY [TARGET]`: the decision, the rule, and what became of every other rule.
//!
//! Ends with status 0 if it is allowed and 1 if it is denied, so that a script can ask.

use magic_contract::{CapabilityKind, NamedTarget};

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;

/// The arguments of `magic policy explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A controller: its name, its folder or its contract
    #[arg(value_name = "CONTROLLER")]
    controller: String,
    /// A capability such as db:read
    #[arg(value_name = "CAPABILITY", value_parser = capability)]
    capability: CapabilityKind,
    /// A table, host, secret, queue or cache key
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

fn capability(text: &str) -> Result<CapabilityKind, String> {
    text.parse().map_err(|_| {
        let known: Vec<&str> = CapabilityKind::ALL.iter().map(|one| one.as_str()).collect();
        format!("write one of {}", known.join(", "))
    })
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let policy = super::configured(settings)?;
    let contract = super::contract_of(&arguments.controller, &settings.controllers)?;
    let target = arguments
        .target
        .as_ref()
        .map(|text| {
            NamedTarget::parse(arguments.capability, text)
                .map_err(|problem| anyhow::anyhow!("{text} cannot be asked about: {problem}"))
        })
        .transpose()?;
    let explanation = policy.explain(&contract, arguments.capability, target.as_ref());
    if output.is_json() {
        output.json(&explanation.to_json())?;
    } else {
        output.data(explanation.render().trim_end())?;
    }
    Ok(if explanation.is_allowed() {
        Ended::Done
    } else {
        Ended::Refused
    })
}
