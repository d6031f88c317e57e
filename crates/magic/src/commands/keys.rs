//! `magic keys`: the API keys of a running supervisor.

use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::asking::ask;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The commands below `magic keys`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, this once
    Create(CreateArguments),
    /// List all keys, revoked ones included
    List(ListArguments),
    /// Revoke a key, everywhere and at once
    Revoke(RevokeArguments),
}

/// The arguments of `magic keys create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// What the key is for
    name: String,
    /// What it may do: execute, read, deploy (contains read) or admin; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// Bind it to this controller; may be repeated
    #[arg(long = "controller", value_name = "NAME")]
    controllers: Vec<String>,
    /// How long it is good, such as 90d or 12h; without this, until it is revoked
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// How many requests in a second each node takes with it; without this, as the node's settings say
    #[arg(long, value_name = "NUMBER")]
    rate: Option<u32>,
    /// How many at once; without this, twice the rate
    #[arg(long, value_name = "NUMBER", requires = "rate")]
    burst: Option<u32>,
    #[command(flatten)]
    supervisor: SupervisorArguments,
}

/// The arguments of `magic keys list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    supervisor: SupervisorArguments,
}

/// The arguments of `magic keys revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArguments {
    /// The key's id: the 16 digits behind mgk_
    id: String,
    #[command(flatten)]
    supervisor: SupervisorArguments,
}

#[derive(Debug, clap::Args)]
struct SupervisorArguments {
    /// The supervisor's URL, instead of its socket; needs MAGIC_API_KEY
    #[arg(long)]
    url: Option<String>,
}

/// Columns: the title, and the member of the JSON form.
const COLUMNS: [(&str, &str); 7] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("ROLES", "roles"),
    ("CONTROLLERS", "controllers"),
    ("RATE", "rate"),
    ("EXPIRES", "expires_at"),
    ("REVOKED", "revoked_at"),
];

pub(crate) async fn run(
    command: &KeysCommand,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let (supervisor, method, path, body) = match command {
        KeysCommand::Create(arguments) => {
            let mut wanted = json!({ "name": arguments.name, "roles": arguments.roles });
            if !arguments.controllers.is_empty() {
                wanted["controllers"] = json!(arguments.controllers);
            }
            if let Some(time) = &arguments.expires_in {
                wanted["expires_in"] = json!(time);
            }
            for (member, number) in [("rate", arguments.rate), ("burst", arguments.burst)] {
                if let Some(number) = number {
                    wanted[member] = json!(number);
                }
            }
            let path = "/api/keys".to_owned();
            (&arguments.supervisor, Method::POST, path, Some(wanted))
        }
        KeysCommand::List(arguments) => {
            let path = "/api/keys".to_owned();
            (&arguments.supervisor, Method::GET, path, None)
        }
        KeysCommand::Revoke(arguments) => {
            let path = format!("/api/keys/{}", segment(&arguments.id));
            (&arguments.supervisor, Method::DELETE, path, None)
        }
    };
    let client = Client::new(&settings.with_url(supervisor.url.as_ref()))?;
    let answer = match ask(&client, method, &path, body.as_ref(), output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
    match command {
        KeysCommand::Create(_) => created(&answer, output),
        KeysCommand::List(_) => listed(&answer, output),
        KeysCommand::Revoke(arguments) => {
            let was_live = answer["revoked"] == json!(true);
            let said = if was_live {
                "is revoked"
            } else {
                "was revoked before"
            };
            output.talk(&format!("{} {said}", escaped(&arguments.id)));
            Ok(Ended::Done)
        }
    }
}

/// The key alone goes to standard output, where a script takes it.
fn created(answer: &Value, output: Output) -> anyhow::Result<Ended> {
    output.talk(&format!(
        "made key {}; it is shown now and never again:",
        shown(answer.get("id"))
    ));
    output.data(&shown(answer.get("key")))?;
    Ok(Ended::Done)
}

fn listed(answer: &Value, output: Output) -> anyhow::Result<Ended> {
    let empty = Vec::new();
    let keys = answer["keys"].as_array().unwrap_or(&empty);
    if keys.is_empty() {
        output.talk("there are no keys; make one with: magic keys create NAME --role execute");
        return Ok(Ended::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(COLUMNS.map(|(title, _)| title));
    for key in keys {
        table.add_row(COLUMNS.map(|(_, member)| match (member, key.get(member)) {
            ("controllers", None | Some(Value::Null)) => "all".to_owned(),
            ("rate", Some(Value::Number(rate))) => format!("{rate}/s"),
            (_, value) => shown(value),
        }));
    }
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => escaped(text),
        Some(Value::Array(items)) => {
            let words: Vec<String> = items.iter().map(|item| shown(Some(item))).collect();
            words.join(",")
        }
        Some(other) => escaped(&other.to_string()),
    }
}
