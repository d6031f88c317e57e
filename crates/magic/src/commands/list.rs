//! `magic list`: what the supervisor has deployed.

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::cli::Ended;
use crate::client::{Client, Reply, whole};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The supervisor's URL, instead of its socket
    #[arg(long)]
    url: Option<String>,
}

/// Columns: the title, and the member of the JSON form.
const COLUMNS: [(&str, &str); 4] = [
    ("NAME", "name"),
    ("VERSION", "version"),
    ("ISOLATION", "isolation"),
    ("DEPLOYED", "deployed_at"),
];

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let response = match client.get("/api/controllers").await? {
        Reply::Ok(response) => response,
        Reply::Refused(envelope) => return super::logs::refuse(&envelope, output),
    };
    let answer: Value = serde_json::from_slice(&whole(response).await?)?;
    if output.is_json() {
        output.json(&answer)?;
        return Ok(Ended::Done);
    }
    let empty = Vec::new();
    let controllers = answer
        .get("controllers")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    let unserved = answer.get("unserved").and_then(Value::as_array);
    for one in unserved.into_iter().flatten() {
        output.talk(&format!(
            "{} is not served here as it is deployed: {}",
            shown(one.get("name")),
            shown(one.get("why"))
        ));
    }
    if controllers.is_empty() && unserved.is_none() {
        output.talk("nothing is deployed; make a controller with: magic new controller NAME");
        return Ok(Ended::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(COLUMNS.map(|(title, _)| title));
    for controller in controllers {
        table.add_row(COLUMNS.map(|(_, member)| shown(controller.get(member))));
    }
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => escaped(text),
        Some(other) => escaped(&other.to_string()),
    }
}
