//! `magic audit`: reading, verifying and exporting the audit log.
//!
//! All three read the files below the data folder directly. They work beside a running server, without one, and on a copy of the
//! folder on another machine, which is where an auditor should want to verify.

use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use magic_store::{AuditFilter, AuditPlaces, AuditReadError, Decision, Kind};

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

mod export;
mod list;
mod verify;

/// The commands below `magic audit`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Show records, the newest last
    List(list::Arguments),
    /// Check that nothing was changed, removed, inserted or cut off
    Verify(verify::Arguments),
    /// Print records for other programs, the oldest first
    Export(export::Arguments),
}

pub(crate) fn run(
    command: &AuditCommand,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    match command {
        AuditCommand::List(arguments) => list::run(arguments, settings, output),
        AuditCommand::Verify(arguments) => verify::run(arguments, settings, output),
        AuditCommand::Export(arguments) => export::run(arguments, settings, output),
    }
}

/// Which log, for all three.
#[derive(Debug, clap::Args)]
struct LogArguments {
    /// The folder of the log's files, instead of the one in the data folder
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
}

impl LogArguments {
    /// The places of the log; without a log, where it would be.
    fn places(&self, settings: &Settings) -> anyhow::Result<AuditPlaces> {
        let data = &settings.data_dir;
        let found = AuditPlaces::found_below(data)
            .with_context(|| format!("cannot look for the audit log in {}", data.display()))?;
        let mut places = found.unwrap_or_else(|| AuditPlaces::below(data, "node"));
        if let Some(log) = &self.log {
            places.directory.clone_from(log);
        }
        Ok(places)
    }
}

/// Which records, for those that show some.
#[derive(Debug, clap::Args)]
struct FilterArguments {
    /// Only records of this controller
    #[arg(long, value_name = "NAME")]
    controller: Option<String>,
    /// Only records of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only records about this capability, such as db:read
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// Only what was allowed, or only what was denied
    #[arg(long, value_name = "allow|deny")]
    decision: Option<Decision>,
    /// Only records of this kind: call, execution, deploy, ...
    #[arg(long)]
    kind: Option<Kind>,
    /// Only records since then: a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only records before then, given like --since
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl FilterArguments {
    fn filter(&self) -> AuditFilter {
        AuditFilter {
            controller: self.controller.clone(),
            request_id: self.request.clone(),
            capability: self.capability.clone(),
            decision: self.decision,
            kind: self.kind,
            since: self.since,
            until: self.until,
            before: None,
            after: None,
        }
    }
}

/// A point in time, or how long ago it was.
fn time(text: &str) -> Result<Timestamp, String> {
    let ago = |duration: SignedDuration| Timestamp::now().checked_sub(duration.abs()).ok();
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().and_then(ago))
        .ok_or_else(|| {
            "write a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h".to_owned()
        })
}

/// A log that cannot be read to its end: a line that is none speaks against the log, everything else is our fault.
fn unreadable(error: AuditReadError, output: Output) -> anyhow::Result<Ended> {
    match error {
        AuditReadError::Line { .. } => {
            output.talk(&format!("error: {}", escaped(&error.to_string())));
            Ok(Ended::Refused)
        }
        other => Err(other.into()),
    }
}

/// Says that there is nothing, and where it was looked for.
fn say_empty(places: &AuditPlaces, output: Output) {
    output.talk(&format!(
        "there are no such records in {}",
        places.directory.display()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to say when.
    #[test]
    fn times() {
        let fixed = time("2026-01-31T12:00:00Z").expect("a time");
        assert_eq!(fixed.to_string(), "2026-01-31T12:00:00Z");
        let ago = time("2h").expect("a time");
        let hours = Timestamp::now().duration_since(ago).as_secs();
        assert!((7200..7300).contains(&hours), "{hours}");
        assert!(time("yesterday").is_err());
    }
}
