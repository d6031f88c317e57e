//! `magic audit list`: the last records, for people.
//!
//! The log is read from its end, so the last hundred records of a large log come at once; they are shown in the order in which
//! they happened, so that the newest stands above the prompt.

use comfy_table::{Table, presets};
use magic_store::{AuditOrder, AuditReader, StoredRecord};
use serde_json::Value;

use super::{FilterArguments, LogArguments, say_empty, unreadable};
use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic audit list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    log: LogArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// How many records to show
    #[arg(long, short = 'n', value_name = "RECORDS", default_value_t = 100)]
    limit: usize,
}

/// Columns: the title, and the member of the record.
const COLUMNS: [(&str, &str); 8] = [
    ("TIME", "time"),
    ("KIND", "kind"),
    ("REQUEST", "request_id"),
    ("CONTROLLER", "controller"),
    ("CAPABILITY", "capability"),
    ("DECISION", "decision"),
    ("CODE", "code"),
    ("FIELDS", "fields"),
];

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let places = arguments.log.places(settings)?;
    let reader = AuditReader::open(
        &places.directory,
        arguments.filter.filter(),
        AuditOrder::NewestFirst,
    )?;
    let found: Result<Vec<StoredRecord>, _> = reader.take(arguments.limit).collect();
    let mut records = match found {
        Ok(records) => records,
        Err(error) => return unreadable(error, output),
    };
    records.reverse();
    if output.is_json() {
        for record in &records {
            output.json(record)?;
        }
        return Ok(Ended::Done);
    }
    if records.is_empty() {
        say_empty(&places, output);
        return Ok(Ended::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SEQ"].into_iter().chain(COLUMNS.map(|(title, _)| title)));
    for record in &records {
        let members = COLUMNS.map(|(_, member)| shown(record.members.get(member)));
        table.add_row([record.seq.to_string()].into_iter().chain(members));
    }
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}

/// A member on one line. Whatever a controller called a table or a key, it moves no cursor.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => escaped(text),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), shown(Some(value))))
            .collect::<Vec<_>>()
            .join(" "),
        Some(other) => escaped(&other.to_string()),
    }
}
