//! One request on one worker: from the `execute` frame to the evidence.

use crate::capture::{self, Source};
use crate::launcher::Launcher;
use crate::outcome::Evidence;
use crate::request::Caller;
use crate::version::Version;
use crate::worker::Worker;
use magic_broker::{AuditSink, Budget, CallRecord, End, LogLevel, LogSink, Session};
use magic_store::{Level, RunLogs, Stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A worker whose channel has closed and that has not ended so long after was
/// not ending. Long, because a process that dies on a busy host, or in a group
/// that has used up its share, takes its time, and a wrong label is worse than
/// a slow one; only a worker that lives on without its channel is waited for.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Execute<'a> {
    id: u64,
    method: &'static str,
    params: Parameters<'a>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    input: &'a Value,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Context<'a> {
    request_id: &'a str,
    deadline_ms: u64,
    caller: &'a Caller,
    version: &'a str,
    controller: &'a str,
}

/// Who asks for what, as the worker is told.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) caller: &'a Caller,
    pub(crate) input: &'a Value,
}

impl Job<'_> {
    /// The `execute` frame; an input too long for one is an error.
    pub(crate) fn frame(&self, version: &Version) -> Result<Vec<u8>, magic_broker::FrameError> {
        let timeout = version.contract.resources.timeout;
        magic_broker::encode(&Execute {
            id: 0,
            method: "execute",
            params: Parameters {
                input: self.input,
                context: Context {
                    request_id: self.request_id,
                    deadline_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    caller: self.caller,
                    version: &version.contract.version.to_string(),
                    controller: version.contract.name.as_str(),
                },
            },
        })
    }
}

/// Runs the job and returns what is known about its end. The worker is not
/// used afterwards; dropping it cleans up.
pub(crate) async fn run(
    worker: &mut Worker,
    frame: &[u8],
    request_id: &str,
    version: &Version,
    launcher: &Launcher,
) -> Evidence {
    let logs = &launcher.logs;
    let source = Source {
        request_id: Some(request_id.to_owned()),
        ..version.source()
    };
    if let Some((stdout, stderr)) = worker.outputs.take() {
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            launcher.cleaner.track(capture::drain(
                pipe,
                stream,
                source.clone(),
                logs.clone(),
                launcher.limits.output_bytes,
            ));
        }
    }
    let resources = &version.contract.resources;
    let deadline = Instant::now() + resources.timeout;
    let sinks = Sinks {
        source,
        logs: logs.clone(),
    };
    let session = Session::new(
        &mut worker.channel,
        &version.grant,
        Budget::default(),
        &sinks,
        &sinks,
    );
    let end = timeout_at(deadline, session.serve(frame)).await.ok();
    let mut evidence = Evidence {
        memory_kills: 0,
        exit: None,
        outlived_channel: false,
        timeout: resources.timeout,
        memory_bytes: resources.memory_bytes,
        end,
    };
    match &evidence.end {
        // A deadline that has passed is acted upon before anything else.
        None => worker.process.kill(),
        Some(End::Returned(_)) => {}
        Some(End::Closed) => {
            evidence.outlived_channel = !worker.process.ended_within(ENDS_WITHIN).await;
            if !evidence.outlived_channel {
                evidence.exit = worker.exit().await;
            }
            evidence.memory_kills = worker.memory_kills();
        }
        Some(End::Failed { .. } | End::Protocol(_)) => {
            evidence.memory_kills = worker.memory_kills()
        }
    }
    evidence
}

/// Where a session's lines and records go.
#[derive(Debug)]
struct Sinks {
    source: Source,
    logs: RunLogs,
}

impl LogSink for Sinks {
    fn log(&self, level: LogLevel, message: String, fields: Map<String, Value>) {
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
            LogLevel::Error => Level::Error,
        };
        let message = capture::escape(message.as_bytes());
        self.source
            .append(&self.logs, Stream::Log, level, message, fields);
    }

    fn dropped(&self, lines: u64) {
        let fields = Map::from_iter([("dropped_lines".to_owned(), json!(lines))]);
        let message = format!("{lines} log lines beyond this request's budget were dropped");
        self.source
            .append(&self.logs, Stream::Runtime, Level::Warning, message, fields);
    }
}

impl AuditSink for Sinks {
    fn record(&self, record: CallRecord<'_>) {
        let refusal = record.refusal.map(|failure| failure.code.as_str());
        let capability = record
            .capability
            .map(magic_contract::CapabilityKind::as_str);
        let method = capture::escape(record.method.as_bytes());
        tracing::info!(
            target: "magic::audit",
            request_id = self.source.request_id,
            controller = self.source.controller,
            version = self.source.version,
            call = record.call,
            method,
            capability,
            refusal,
            "capability call"
        );
        let message = match record.refusal {
            Some(failure) => format!("{method} refused: {}", failure.message),
            None => format!("{method} allowed"),
        };
        let fields = Map::from_iter([
            ("capability".to_owned(), json!(capability)),
            ("refusal".to_owned(), json!(refusal)),
        ]);
        self.source
            .append(&self.logs, Stream::Runtime, Level::Info, message, fields);
    }
}
