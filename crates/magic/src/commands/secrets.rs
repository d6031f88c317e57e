//! `magic secrets`: the encrypted store, and what all sources together hold.
//!
//! It works on the files themselves, so no server need run, and one that runs sees a change with its next call. Values come in
//! through standard input alone: arguments and variables of a command are readable by others while it runs, and arguments stay in
//! the shell's history. No value ever goes out.

use anyhow::Context;
use comfy_table::{Table, presets};
use magic_broker::secrets::{
    SecretListing, SecretSource, SecretStore, SecretValue, Secrets, is_reserved,
};
use magic_contract::SecretName;
use serde_json::{Value, json};

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

mod input;

/// Values with fewer bytes are not taken out of logs.
const SHORTEST_REDACTED: usize = 4;

/// The commands of `magic secrets`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SecretsCommand {
    /// Store the value that is read from standard input
    Set(Named),
    /// List the names of all secrets, where they come from and when they were set
    List,
    /// Remove a value from the store
    Rm(Named),
}

/// Which secret.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The secret's name, as contracts list it under `keys`
    #[arg(value_name = "KEY")]
    name: String,
}

pub(crate) fn run(
    command: &SecretsCommand,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    match command {
        SecretsCommand::Set(named) => with_name(named, output, |name| set(name, settings, output)),
        SecretsCommand::List => list(settings, output),
        SecretsCommand::Rm(named) => {
            with_name(named, output, |name| remove(name, settings, output))
        }
    }
}

fn with_name(
    named: &Named,
    output: Output,
    command: impl FnOnce(&SecretName) -> anyhow::Result<Ended>,
) -> anyhow::Result<Ended> {
    match named.name.parse::<SecretName>() {
        Ok(name) if is_reserved(&name) => refuse(
            output,
            "names that begin with MAGIC_ are the runtime's own; choose another",
        ),
        Ok(name) => command(&name),
        Err(problem) => refuse(output, &format!("{}: a {problem}", escaped(&named.name))),
    }
}

fn refuse(output: Output, message: &str) -> anyhow::Result<Ended> {
    output.talk(&format!("error: {message}"));
    if output.is_json() {
        output.json(&json!({ "error": message }))?;
    }
    Ok(Ended::Refused)
}

fn set(name: &SecretName, settings: &Settings, output: Output) -> anyhow::Result<Ended> {
    let bytes = input::read(name, SecretValue::LIMIT)?;
    let value = match SecretValue::from_source(bytes) {
        Ok(value) => value,
        Err(problem) => {
            return refuse(
                output,
                &format!("the value of {name} cannot be used: {problem}"),
            );
        }
    };
    let paths = settings.secrets_store();
    let key_file = paths.key_file.display().to_string();
    let written = SecretStore::new(paths).set(name, &value)?;
    if output.is_json() {
        output.json(&json!({
            "name": name, "replaced": written.replaced, "key_made": written.key_made,
        }))?;
    }
    let verb = if written.replaced { "replaced" } else { "set" };
    output.talk(&format!("{name} is {verb}"));
    if written.key_made {
        output.talk(&format!(
            "made the key {key_file}: keep a copy of it, apart from copies of the store"
        ));
    }
    if value.expose().len() < SHORTEST_REDACTED {
        output.talk(&format!(
            "warning: a value of fewer than {SHORTEST_REDACTED} bytes is not taken out of logs"
        ));
    }
    warn_if_hidden(name, settings, output);
    Ok(Ended::Done)
}

/// A value that is set and not used is a riddle to whoever set it. What cannot be listed is no
/// reason to call the setting a failure.
fn warn_if_hidden(name: &SecretName, settings: &Settings, output: Output) {
    let listed = Secrets::open(settings.secrets_options()).and_then(|secrets| secrets.list());
    let used = listed
        .unwrap_or_default()
        .into_iter()
        .find(|one| one.name == *name && !one.hidden);
    if let Some(used) = used.filter(|used| used.source != SecretSource::Store) {
        output.talk(&format!(
            "warning: {} has {name} too and comes first, so the value of the store is not used",
            place(&used)
        ));
    }
}

fn remove(name: &SecretName, settings: &Settings, output: Output) -> anyhow::Result<Ended> {
    let removed = SecretStore::new(settings.secrets_store()).remove(name)?;
    if output.is_json() {
        output.json(&json!({ "name": name, "removed": removed }))?;
    }
    if removed {
        output.talk(&format!("{name} is removed"));
        return Ok(Ended::Done);
    }
    output.talk(&format!(
        "error: the store has no {name}; see what there is with: magic secrets list"
    ));
    Ok(Ended::Refused)
}

fn list(settings: &Settings, output: Output) -> anyhow::Result<Ended> {
    let listed = Secrets::open(settings.secrets_options())
        .and_then(|secrets| secrets.list())
        .context("the secrets cannot be listed")?;
    if output.is_json() {
        let secrets: Vec<Value> = listed.iter().map(to_json).collect();
        output.json(&json!({ "secrets": secrets }))?;
        return Ok(Ended::Done);
    }
    if listed.is_empty() {
        output.talk("there are no secrets; set one with: magic secrets set KEY < FILE");
        return Ok(Ended::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "SOURCE", "CHANGED", ""]);
    for one in &listed {
        let changed = one
            .changed_at
            .map_or("-".to_owned(), |time| time.to_string());
        let note = if one.hidden {
            "hidden by the line above"
        } else {
            ""
        };
        table.add_row([one.name.as_str(), &place(one), &changed, note]);
    }
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}

fn to_json(one: &SecretListing) -> Value {
    let (source, directory) = match &one.source {
        SecretSource::Environment => ("environment", None),
        SecretSource::Directory(path) => ("directory", Some(path)),
        SecretSource::Store => ("store", None),
    };
    json!({
        "name": one.name, "source": source, "directory": directory,
        "changed_at": one.changed_at, "hidden": one.hidden,
    })
}

/// Where a secret lies, for people.
fn place(one: &SecretListing) -> String {
    match &one.source {
        SecretSource::Environment => format!("variable MAGIC_SECRET_{}", one.name),
        SecretSource::Directory(path) => escaped(&path.display().to_string()),
        SecretSource::Store => "store".to_owned(),
    }
}
