//! `magic list`: what the supervisor has deployed.

use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::Value;

use super::asking::ask;
use crate::cli::Ended;
use crate::client::Client;
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
    let answer = match ask(&client, Method::GET, "/api/controllers", None, output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
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
