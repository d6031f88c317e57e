//! `magic audit export`: records for other programs, as they are found, so that a log of any size can be exported.

use magic_store::{AUDIT_CSV_HEADER, AuditOrder, AuditReader, audit_csv_row};

use super::{FilterArguments, LogArguments, unreadable};
use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;

/// The arguments of `magic audit export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    log: LogArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// One JSON object a line, or a table for spreadsheets
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

/// What an export looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values.
    Csv,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let places = arguments.log.places(settings)?;
    let reader = AuditReader::open(
        &places.directory,
        arguments.filter.filter(),
        AuditOrder::OldestFirst,
    )?;
    if arguments.format == Format::Csv {
        output.data(AUDIT_CSV_HEADER)?;
    }
    let mut records: u64 = 0;
    for record in reader {
        let record = match record {
            Ok(record) => record,
            Err(error) => return unreadable(error, output),
        };
        match arguments.format {
            Format::Jsonl => output.json(&record)?,
            Format::Csv => output.data(&audit_csv_row(&record))?,
        }
        records += 1;
    }
    output.talk(&format!(
        "{records} records of {}",
        places.directory.display()
    ));
    Ok(Ended::Done)
}
