//! Standard output is data, standard error is talk.
//!
//! Data that cannot be written is an error, except that a reader who has seen enough (`magic list | head -1`) is a normal end:
//! Rust's own macros would panic there. Talk that cannot be written is nobody's problem.

use std::io::{self, Write};

use serde::Serialize;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    /// Talk goes into the log.
    log: bool,
}

/// Standard output cannot be written.
#[derive(Debug)]
struct DataError(io::Error);

impl std::fmt::Display for DataError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("cannot write to standard output")
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, log: false }
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// The same output whose talk goes into the log, for services whose standard error is read by programs.
    pub(crate) fn talking_to_the_log(self) -> Self {
        Self { log: true, ..self }
    }

    /// Whether talk goes into the log.
    pub(crate) fn is_log(self) -> bool {
        self.log
    }

    /// One line of data.
    pub(crate) fn data(self, line: &str) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(line.as_bytes())
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush())
            .map_err(|error| DataError(error).into())
    }

    /// A value as one line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.data(&serde_json::to_string(value)?)
    }

    /// One line for people.
    pub(crate) fn talk(self, line: &str) {
        if self.log {
            if !line.is_empty() {
                tracing::info!("{line}");
            }
            return;
        }
        let mut stderr = io::stderr().lock();
        let _ = stderr
            .write_all(line.as_bytes())
            .and_then(|()| stderr.write_all(b"\n"));
    }
}

/// Whether an error only means that the reader of standard output has left.
pub(crate) fn is_closed_output(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<DataError>()
        .is_some_and(|DataError(cause)| cause.kind() == io::ErrorKind::BrokenPipe)
}
