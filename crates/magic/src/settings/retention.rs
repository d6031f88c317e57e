//! How long what is kept of the past is kept, and how much of it.
//!
//! | environment | magic.toml | default |
//! |---|---|---|
//! | `MAGIC_LOG_RETENTION` | `log_retention` | `7d`; how long controllers' log lines are kept in the runtime's state |
//! | `MAGIC_LOG_BYTES` | `log_bytes` | 268435456; how many bytes of them, the oldest go first |
//! | `MAGIC_EXECUTION_RETENTION` | `execution_retention` | `30d`; how long it is told what became of a request, at most a million of them |

use std::time::Duration;

use anyhow::Context;
use jiff::{Span, SpanRelativeTo};
use magic_runtime::Retention;
use serde::{Deserialize, Deserializer};

/// What one source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetentionSettings {
    pub(crate) logs: Option<Duration>,
    pub(crate) executions: Option<Duration>,
    pub(crate) log_bytes: Option<u64>,
}

/// Less would forget lines before anybody has read them.
const LEAST_BYTES: u64 = 1 << 20;

impl RetentionSettings {
    /// Reads the three texts.
    ///
    /// # Errors
    /// When one cannot be understood; the message says which, and what to write.
    pub(super) fn read(
        logs: Option<&str>,
        executions: Option<&str>,
        log_bytes: Option<&str>,
    ) -> anyhow::Result<Self> {
        let time = |text: Option<&str>, name: &str| {
            text.map(|text| {
                duration(text)
                    .with_context(|| format!("{name}={text} is no time; write it like 7d or 12h"))
            })
            .transpose()
        };
        let bytes = |text: &str| {
            text.parse::<u64>()
                .ok()
                .filter(|bytes| *bytes >= LEAST_BYTES)
                .with_context(|| {
                    format!("log_bytes={text} is no number of bytes from {LEAST_BYTES} on")
                })
        };
        Ok(Self {
            logs: time(logs, "log_retention")?,
            executions: time(executions, "execution_retention")?,
            log_bytes: log_bytes.map(bytes).transpose()?,
        })
    }

    /// The times, with the defaults.
    pub(crate) fn times(&self) -> Retention {
        let defaults = Retention::default();
        Retention {
            logs: self.logs.unwrap_or(defaults.logs),
            executions: self.executions.unwrap_or(defaults.executions),
        }
    }
}

/// A number in the file, as the text that a variable has.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(u64::deserialize(from)?.to_string()))
}

/// A positive time; a day has 24 hours.
fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times and sizes, and mistakes that say what to write.
    #[test]
    fn readings() {
        let read = |logs, bytes| RetentionSettings::read(logs, None, bytes);
        let read_times = read(Some("2d"), Some("2097152")).expect("both are right");
        assert_eq!(read_times.times().logs, Duration::from_secs(2 * 86_400));
        assert_eq!(
            read_times.times().executions,
            Retention::default().executions
        );
        assert_eq!(read_times.log_bytes, Some(2 << 20));
        for (logs, bytes, expected) in [
            (Some("soon"), None, "like 7d or 12h"),
            (Some("0s"), None, "like 7d or 12h"),
            (Some("-1h"), None, "like 7d or 12h"),
            (None, Some("100"), "from 1048576 on"),
            (None, Some("1GB"), "from 1048576 on"),
        ] {
            let error = read(logs, bytes).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
