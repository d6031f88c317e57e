//! The path of one request, top to bottom.
//!
//! find deployment -> admission permit -> read and validate input -> take a
//! worker -> session -> outcome -> validate output -> answer; cleaning up is
//! what dropping the worker does, off this path.

use crate::execution::{self, Job};
use crate::outcome::{self, Returned};
use crate::request::{Answer, Failed, Request};
use crate::runtime::Shared;
use crate::version::Version;
use bytes::Bytes;
use magic_contract::{ErrorCode, Failure, JsonLimits, Reason, ValidValue};
use magic_sandbox::Ended;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a refused client should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Runs one request to its answer.
pub(crate) async fn invoke(shared: &Shared, request: Request) -> Result<Answer, Failed> {
    let arrived = Instant::now();
    let mut version = None;
    let outcome = steps(shared, &request, &mut version).await;
    let duration = arrived.elapsed();
    match outcome {
        Ok(result) => {
            let version = version.expect("a result has a version that made it");
            tracing::debug!(request_id = request.request_id, controller = %version.contract.name, ?duration, "answered");
            Ok(Answer {
                result,
                request_id: request.request_id,
                duration,
                controller: version.contract.name.to_string(),
                version: version.contract.version.to_string(),
            })
        }
        Err(failure) => {
            tracing::info!(
                request_id = request.request_id,
                controller = version
                    .as_ref()
                    .map(|version| version.contract.name.as_str()),
                code = failure.code.as_str(),
                message = failure.message,
                internal = failure.internal,
                ?duration,
                "failed"
            );
            Err(Failed {
                retry_after: (failure.code == ErrorCode::NoCapacity).then_some(RETRY_AFTER),
                failure,
                duration,
                controller: version
                    .as_ref()
                    .map(|version| version.contract.name.to_string()),
                version: version
                    .as_ref()
                    .map(|version| version.contract.version.to_string()),
            })
        }
    }
}

async fn steps(
    shared: &Shared,
    request: &Request,
    found: &mut Option<Arc<Version>>,
) -> Result<Value, Failure> {
    let deployment = shared
        .registry
        .find(&request.controller, request.version.as_deref())?;
    let version = found.insert(deployment.version.clone()).clone();
    if shared.is_draining() {
        return Err(
            Failure::new(ErrorCode::NoCapacity, "the runtime is shutting down")
                .with_reason(Reason::Draining),
        );
    }
    let permit = deployment.admission.enter().await?;
    let input = admit_input(&version, &request.body).await?;
    let job = Job {
        request_id: &request.request_id,
        caller: &request.caller,
        input: &input,
    };
    let frame = job.frame(&version).map_err(|error| {
        Failure::new(
            ErrorCode::UnacceptableBody,
            "the input is too large once defaults are filled in",
        )
        .with_reason(Reason::TooLarge)
        .with_internal(error.to_string())
    })?;
    let limits = &shared.launcher.limits;
    let mut worker = deployment
        .stock
        .take(limits.queue_wait + limits.load_time)
        .await?;
    worker.permit = Some(permit);
    let evidence = execution::run(
        &mut worker,
        &frame,
        &request.request_id,
        &version,
        &shared.launcher,
    )
    .await;
    if evidence.exit.is_some_and(suggests_damage) {
        deployment.stock.suspect();
    } else {
        deployment.stock.refill();
    }
    let returned = outcome::decide(evidence)?;
    admit_output(&version, returned).await
}

/// Text longer than this, in bytes, is judged on a thread of its own: a large
/// document under a slow pattern must not hold the event loop.
const LONG: usize = 64 * 1024;

/// Reads and validates a body, with the contract's defaults filled in.
async fn admit_input(version: &Arc<Version>, body: &Bytes) -> Result<Value, Failure> {
    let (judging, text) = (version.clone(), body.clone());
    let judge = move || {
        let value = magic_contract::read_json(&text, JsonLimits::default())?;
        let admitted = judging.contract.input.admit(value);
        admitted
            .map_err(|violations| Failure::from_violations(ErrorCode::InvalidInput, &violations))
    };
    off_the_loop_if(body.len() > LONG, judge)
        .await
        .map(ValidValue::into_value)
}

/// Reads and validates what a controller returned, under the limits that hold
/// for a body too.
async fn admit_output(version: &Arc<Version>, returned: Returned) -> Result<Value, Failure> {
    let judging = version.clone();
    let long = returned.0.len() > LONG;
    let judge = move || {
        let value = magic_contract::read_json(returned.0.as_bytes(), JsonLimits::default())
            .map_err(|problem| {
                Failure::new(
                    ErrorCode::InvalidOutput,
                    "the output is larger or deeper than an answer may be, or names a key twice",
                )
                .with_detail("constraint", "json")
                .with_detail("problem", problem.message)
            })?;
        let admitted = judging.contract.output.admit(value);
        admitted
            .map_err(|violations| Failure::from_violations(ErrorCode::InvalidOutput, &violations))
    };
    off_the_loop_if(long, judge)
        .await
        .map(ValidValue::into_value)
}

async fn off_the_loop_if<T: Send + 'static>(
    long: bool,
    judge: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if !long {
        return judge();
    }
    tokio::task::spawn_blocking(judge)
        .await
        .unwrap_or_else(|error| {
            Err(
                Failure::new(ErrorCode::ControllerFailed, "validation was cut short")
                    .with_reason(Reason::Internal)
                    .with_internal(error.to_string()),
            )
        })
}

/// Signals by which a process ends whose memory is damaged, or attacked: the
/// template that it was forked from gets a fresh layout.
fn suggests_damage(ended: Ended) -> bool {
    matches!(
        ended,
        Ended::Signaled(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGABRT | libc::SIGSYS)
    )
}
