//! One request on one worker: from the `execute` frame to the evidence.

use crate::capture;
use crate::launcher::Launcher;
use crate::outcome::Evidence;
use crate::request::Caller;
use crate::sinks::Sinks;
use crate::version::Version;
use crate::worker::Worker;
use magic_broker::{Budget, Capabilities, End, Session, Surroundings};
use magic_store::Stream;
use serde::Serialize;
use serde_json::Value;
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

/// What one execution works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surrounded<'a> {
    pub(crate) version: &'a Version,
    pub(crate) launcher: &'a Launcher,
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) sinks: &'a Sinks,
    pub(crate) deadline: Instant,
}

/// Runs the job and returns what is known about its end. The worker is not
/// used afterwards; dropping it cleans up.
pub(crate) async fn run(worker: &mut Worker, frame: &[u8], around: Surrounded<'_>) -> Evidence {
    let Surrounded {
        version,
        launcher,
        capabilities,
        sinks,
        deadline,
    } = around;
    if let Some((stdout, stderr)) = worker.outputs.take() {
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            launcher.cleaner.track(capture::drain(
                pipe,
                stream,
                sinks.source.clone(),
                launcher.logs.clone(),
                capabilities.redactor().clone(),
                launcher.limits.output_bytes,
            ));
        }
    }
    let resources = &version.contract.resources;
    let surroundings = Surroundings {
        grants: version,
        capabilities,
        deadline,
        logs: sinks,
        audit: sinks,
    };
    let session = Session::new(&mut worker.channel, surroundings, Budget::default());
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
