//! `magic policy`: what a policy says, without a server.
//!
//! Every command takes the policy that is configured, or the file that `--policy` names; `development` and `production` name the
//! built-in ones.

use std::path::Path;

use anyhow::Context;
use magic_contract::{Contract, Policy};

use crate::cli::{Ended, Refused};
use crate::controller_folder;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal;

mod explain;
mod lint;
mod show;
mod test;

/// The commands of `magic policy`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say whether a controller may do something, and which rule decides
    Explain(explain::Arguments),
    /// Run cases: what must be allowed, and what denied
    Test(test::Arguments),
    /// Find rules that do not do what they seem to
    Lint(lint::Arguments),
    /// Print the policy in full, defaults included
    Show,
}

pub(crate) fn run(command: &Command, settings: &Settings, output: Output) -> anyhow::Result<Ended> {
    match command {
        Command::Explain(arguments) => explain::run(arguments, settings, output),
        Command::Test(arguments) => test::run(arguments, settings, output),
        Command::Lint(arguments) => lint::run(arguments, settings, output),
        Command::Show => show::run(settings, output),
    }
}

/// The policy that is configured.
fn configured(settings: &Settings) -> anyhow::Result<Policy> {
    match settings.policy.as_deref().and_then(built_in) {
        Some(policy) => Ok(policy),
        None => settings.read_policy(),
    }
}

/// The policy in a file.
fn read(path: &Path, settings: &Settings) -> anyhow::Result<Policy> {
    configured(&Settings {
        policy: Some(path.to_owned()),
        ..settings.clone()
    })
}

/// The built-in policy of that name, unless there is a file called so.
fn built_in(path: &Path) -> Option<Policy> {
    if path.exists() {
        return None;
    }
    match path.to_str() {
        Some("development") => Some(Policy::development()),
        Some("production") => Some(Policy::production()),
        _ => None,
    }
}

/// The contract of a controller, by its name or its path.
fn contract_of(name_or_path: &str, root: &Path) -> anyhow::Result<Contract> {
    let folder = controller_folder::find(name_or_path, root)?;
    let path = controller_folder::contract_in(&folder)?;
    read_contract(&path)
}

fn read_contract(path: &Path) -> anyhow::Result<Contract> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Contract::parse(&text, &path.display().to_string())
        .map_err(|problems| anyhow::anyhow!("{}", problems.render(terminal::color()).trim_end()))
        .context(Refused("the contract is not valid"))
}
