//! The program's own log: on standard error, for people in development and as JSON in production.

use tracing_subscriber::EnvFilter;

use magic_contract::{Color, Environment};

use crate::settings::Settings;
use crate::terminal::color;

mod json_lines;

use json_lines::{JsonLines, SpanMembers};

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter (`RUST_LOG`) cannot be read.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_filter)
        .map_err(|error| anyhow::anyhow!("RUST_LOG={}: {error}", settings.log_filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color() == Color::Always)
        // A closed standard error must not be reported on standard error.
        .log_internal_errors(false);
    match settings.environment {
        Environment::Development => builder.with_target(false).without_time().compact().init(),
        Environment::Production => builder
            .fmt_fields(SpanMembers)
            .event_format(JsonLines)
            .init(),
    }
    Ok(())
}
