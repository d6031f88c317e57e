//! The path of one request, top to bottom.
//!
//! find deployment -> admission permit -> read input -> claim its name -> validate
//! input -> take a worker -> session -> outcome -> validate output -> commit ->
//! record -> answer; each step is a span where traces are recorded. Cleaning up is
//! what dropping the worker does, off this path.

use crate::admission::Permit;
use crate::canary::{Side, Trial, Verdict};
use crate::capture::Source;
use crate::closing::{Closing, Open};
use crate::deployment::Deployment;
use crate::execution::{self, Surrounded};
use crate::history::Draft;
use crate::idempotency::{self, Claimed, Named};
use crate::lifecycle;
use crate::logged::{self, Logged};
use crate::meters::Counting;
use crate::outcome::{self, Returned};
use crate::registry::{self, Chosen, Missing};
use crate::request::{Answer, Failed, Request};
use crate::runtime::Shared;
use crate::sinks::Sinks;
use crate::traces;
use crate::version::Version;
use bytes::Bytes;
use magic_broker::{OpenSpan, SpanEnd, TraceContext};
use magic_contract::{Category, ErrorCode, Failure, JsonLimits, Reason, ValidValue};
use magic_sandbox::Ended;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a refused client should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When the return of a canary is tried again that could not be written. On this
/// node it gets no requests meanwhile.
const RETURN_AGAIN: Duration = Duration::from_secs(5);

/// What a request comes to: the output, and which request and version made it.
struct Output {
    result: Value,
    request_id: String,
    version: String,
    replayed: bool,
}

/// Runs one request to its answer.
pub(crate) async fn invoke(shared: &Arc<Shared>, request: Request) -> Result<Answer, Failed> {
    let mut begun = Begun::now();
    let mut tried = None;
    let outcome = async {
        let admitted = async {
            let chosen = choose(shared, &request).await?;
            tried = chosen.tried;
            let deployment = chosen.deployment;
            begun.on(shared, &request, &deployment.version);
            if shared.is_draining() {
                return Err(
                    Failure::new(ErrorCode::NoCapacity, "the runtime is shutting down")
                        .with_reason(Reason::Draining),
                );
            }
            let permit = deployment.admission.enter().await?;
            Ok((deployment, permit))
        };
        let (deployment, permit) =
            traces::step(request.trace.as_ref(), "admission", admitted).await?;
        steps(shared, &request, &deployment, permit, &begun).await
    };
    let outcome = outcome.await;
    if let Some((trial, side)) = tried {
        judge_canary(shared, &request.controller, &trial, side, &outcome);
    }
    conclude(&request, begun, outcome)
}

/// Tells log lines and spans from here on which version it is about.
fn known(request: &Request, version: &Version) {
    let contract = &version.contract;
    let lines = tracing::Span::current();
    lines.record("controller", tracing::field::display(&contract.name));
    lines.record("version", tracing::field::display(&contract.version));
    if let Some(trace) = request.trace.as_ref().filter(|trace| trace.is_recorded()) {
        trace.note("magic.controller", contract.name.to_string());
        trace.note("magic.version", contract.version.to_string());
    }
}

/// What there is of a request beside itself, from its arrival on.
struct Begun {
    arrived: Instant,
    /// What it is about, as soon as that is known.
    version: Option<Arc<Version>>,
    /// What is told of its execution, where that is kept.
    draft: Option<Arc<Draft>>,
    counting: Option<Counting>,
    logged: Logged,
}

impl Begun {
    fn now() -> Self {
        Self {
            arrived: Instant::now(),
            version: None,
            draft: None,
            counting: None,
            logged: Logged::default(),
        }
    }

    /// Now it is known which version it is about.
    fn on(&mut self, shared: &Shared, request: &Request, version: &Arc<Version>) {
        known(request, version);
        let (id, caller) = (&request.request_id, &request.caller.subject);
        self.draft = shared
            .history
            .as_ref()
            .map(|history| Draft::new(history, id, version, caller, self.arrived));
        self.counting = Some(version.meters.begin());
        self.version = Some(version.clone());
    }
}

/// Finds what serves the request: in memory, or, if it insists on a version that
/// nothing points to, in the state.
async fn choose(shared: &Arc<Shared>, request: &Request) -> Result<Chosen, Failure> {
    let asked = request.version.as_deref();
    match shared.registry.find(&request.controller, asked) {
        Ok(chosen) => Ok(chosen),
        Err(Missing::Controller(failure)) => {
            Err(lifecycle::unserved(shared, &request.controller).unwrap_or(failure))
        }
        Err(Missing::Version(failure)) => {
            let version = registry::without_v(asked.unwrap_or_default());
            match lifecycle::pinned(shared, &request.controller, version).await? {
                Some(deployment) => Ok(Chosen {
                    deployment,
                    tried: None,
                }),
                None => Err(failure),
            }
        }
    }
}

/// Counts an outcome while a canary is tried, and takes the canary back once it
/// has failed too often.
fn judge_canary(
    shared: &Arc<Shared>,
    controller: &str,
    trial: &Arc<Trial>,
    side: Side,
    outcome: &Result<Output, Failure>,
) {
    // Not what a caller did wrong, and not that there was no room.
    let failed = match outcome {
        Ok(_) => false,
        Err(failure) if failure.code == ErrorCode::NoCapacity => return,
        Err(failure) => failure.code.category() != Category::Contract,
    };
    if trial.note(side, failed) != Verdict::Return {
        return;
    }
    let (shared, trial) = (shared.clone(), trial.clone());
    let controller = controller.to_owned();
    let closings = shared.closings.clone();
    closings.spawn(async move {
        let (active, canary) = trial.tallies();
        let why = format!(
            "{} of {} requests failed, and {} of {} of the active version",
            canary.failures, canary.requests, active.failures, active.requests
        );
        tracing::warn!(controller, why, "the canary is taken back");
        let returned = lifecycle::take_canary_back(&shared, &controller, &trial, why).await;
        if let Err(failure) = returned {
            tracing::error!(
                controller,
                internal = failure.internal,
                "the canary could not be taken back: {}",
                failure.message
            );
            tokio::select! {
                () = tokio::time::sleep(RETURN_AGAIN) => {}
                () = shared.triggers.stopped() => {}
            }
            trial.not_returned();
        }
    });
}

/// Runs a request that has a place already, on this deployment whatever serves
/// by now.
pub(crate) async fn invoke_on(
    shared: &Arc<Shared>,
    deployment: &Deployment,
    permit: Permit,
    request: Request,
) -> Result<Answer, Failed> {
    let mut begun = Begun::now();
    begun.on(shared, &request, &deployment.version);
    let outcome = steps(shared, &request, deployment, permit, &begun).await;
    conclude(&request, begun, outcome)
}

#[expect(
    clippy::result_large_err,
    reason = "a request ends once, and its failure is looked at by whoever gets it"
)]
fn conclude(
    request: &Request,
    begun: Begun,
    outcome: Result<Output, Failure>,
) -> Result<Answer, Failed> {
    let duration = begun.arrived.elapsed();
    if let Some(draft) = &begun.draft {
        let code = outcome.as_ref().err().map_or("ok", |f| f.code.as_str());
        draft.outcome(code, duration);
    }
    if let Some(counting) = begun.counting {
        counting.ended(outcome.as_ref().map(drop), duration);
    }
    let version = begun.version.as_deref();
    let controller = version.map(|version| version.contract.name.to_string());
    let caller = &request.caller.subject;
    let input = begun.logged.text();
    match outcome {
        Ok(output) => {
            // A contract that names fields for the log asks for a line for each request.
            match input {
                Some(input) => tracing::info!(caller, %input, ?duration, "answered"),
                None => tracing::debug!(caller, ?duration, "answered"),
            }
            Ok(Answer {
                result: output.result,
                request_id: output.request_id,
                duration,
                controller: controller.unwrap_or_default(),
                version: output.version,
                replayed: output.replayed,
            })
        }
        Err(failure) => {
            tracing::info!(
                caller,
                input = input.map(tracing::field::display),
                code = failure.code.as_str(),
                failure = failure.message,
                internal = failure.internal,
                ?duration,
                "failed"
            );
            Err(Failed {
                retry_after: (failure.code == ErrorCode::NoCapacity).then_some(RETRY_AFTER),
                failure,
                duration,
                controller,
                version: version.map(|version| version.contract.version.to_string()),
            })
        }
    }
}

async fn steps(
    shared: &Arc<Shared>,
    request: &Request,
    deployment: &Deployment,
    permit: Permit,
    begun: &Begun,
) -> Result<Output, Failure> {
    let draft = begun.draft.as_ref();
    let trace = request.trace.as_ref();
    let version = deployment.version.clone();
    let preparing = prepare(shared, request, &version, draft);
    let prepared = match traces::step(trace, "validation", preparing).await? {
        Prepared::Replayed(output) => return Ok(output),
        Prepared::First(prepared) => prepared,
    };
    let permit = Arc::new(permit);
    let limits = &shared.launcher.limits;
    let patience = limits.queue_wait + limits.load_time;
    let timeout = version.contract.resources.timeout;
    let latest = tokio::time::Instant::now() + patience + timeout;
    let capabilities = Arc::new(shared.capabilities(&version, request, latest));
    let sinks = Sinks::new(
        Source {
            request_id: Some(request.request_id.clone()),
            ..version.source()
        },
        shared.launcher.logs.clone(),
        capabilities.redactor().clone(),
        shared
            .services
            .as_ref()
            .map(|services| services.audit.clone()),
        request.caller.subject.clone(),
    );
    begun.logged.keep(prepared.logged, capabilities.redactor());
    // Calls are told below the step that makes them, and before it.
    let run_id = trace.and_then(TraceContext::reserve);
    let sinks = sinks
        .telling(draft.cloned())
        .counted_by(version.meters.clone())
        .traced(request.trace.clone(), run_id);
    let sinks = Arc::new(sinks);
    let closing = Closing::new(Open {
        shared: shared.clone(),
        _permit: permit.clone(),
        capabilities: capabilities.clone(),
        sinks: sinks.clone(),
        claim: prepared.claim,
        arrived: begun.arrived,
        started_by: request.started_by.clone(),
        trace_id: trace.map(TraceContext::trace_id),
    });
    let ran = async {
        let taking = deployment.stock.take(patience);
        let mut worker = traces::step(trace, "worker", taking).await?;
        // Waiting for a worker is not the controller's time.
        let deadline = tokio::time::Instant::now() + timeout;
        worker.permit = Some(permit);
        worker.draft = draft.cloned();
        let around = Surrounded {
            version: &version,
            launcher: &shared.launcher,
            capabilities: &capabilities,
            sinks: &sinks,
            deadline,
        };
        let running = trace.map_or_else(OpenSpan::default, |trace| trace.step_as(run_id, "run"));
        let evidence = execution::run(&mut worker, &prepared.frame, around).await;
        if evidence.exit.is_some_and(suggests_damage) {
            deployment.stock.suspect();
        } else {
            deployment.stock.refill();
        }
        let returned = traces::end(running, outcome::decide(evidence))?;
        traces::step(trace, "output", admit_output(&version, returned)).await
    };
    match ran.await {
        Ok(output) => Ok(Output {
            result: traces::step(trace, "commit", closing.succeed(output)).await?,
            request_id: request.request_id.clone(),
            version: version.contract.version.to_string(),
            replayed: false,
        }),
        Err(failure) => {
            let undoing = traces::begin(trace, "undo");
            let failure = closing.fail(failure).await;
            undoing.end(SpanEnd::Fine);
            Err(failure)
        }
    }
}

/// What becomes of a request before it needs a worker.
enum Prepared {
    /// Its answer was stored.
    Replayed(Output),
    First(Job),
}

/// What a worker is to do.
struct Job {
    frame: Vec<u8>,
    claim: Option<Claimed>,
    /// What the log says of the input.
    logged: Map<String, Value>,
}

/// Reads the input, claims its name, and validates it.
async fn prepare(
    shared: &Arc<Shared>,
    request: &Request,
    version: &Arc<Version>,
    draft: Option<&Arc<Draft>>,
) -> Result<Prepared, Failure> {
    let body = read_body(&request.body).await?;
    let claim = match idempotency::claim(shared, request, version, &body).await? {
        Named::No => None,
        Named::First(claim) => Some(claim),
        Named::Again(stored) => {
            stored.record(shared, request);
            if let Some(draft) = draft {
                draft.replayed(&stored.request_id);
            }
            return Ok(Prepared::Replayed(Output {
                result: stored.result,
                request_id: stored.request_id,
                version: stored.version,
                replayed: true,
            }));
        }
    };
    let prepared = async {
        let input = admit_input(version, body, request.body.len()).await?;
        let job = execution::Job {
            request_id: &request.request_id,
            caller: &request.caller,
            input: &input,
        };
        let frame = job.frame(version).map_err(too_large)?;
        Ok((frame, logged::named(&version.contract, &input)))
    };
    match prepared.await {
        Ok((frame, logged)) => Ok(Prepared::First(Job {
            frame,
            claim,
            logged,
        })),
        Err(refusal) => {
            if let Some(claim) = claim {
                claim.release().await;
            }
            Err(refusal)
        }
    }
}

pub(crate) fn too_large(error: magic_broker::FrameError) -> Failure {
    Failure::new(
        ErrorCode::UnacceptableBody,
        "the input is too large once defaults are filled in",
    )
    .with_reason(Reason::TooLarge)
    .with_internal(error.to_string())
}

/// Text longer than this, in bytes, is judged on a thread of its own: a large
/// document under a slow pattern must not hold the event loop.
const LONG: usize = 64 * 1024;

/// Reads a body.
async fn read_body(body: &Bytes) -> Result<Value, Failure> {
    let text = body.clone();
    let read = move || magic_contract::read_json(&text, JsonLimits::default());
    off_the_loop_if(body.len() > LONG, read).await
}

/// Validates a body that had so many bytes, with the contract's defaults filled in.
async fn admit_input(version: &Arc<Version>, body: Value, bytes: usize) -> Result<Value, Failure> {
    let judging = version.clone();
    let judge = move || {
        let admitted = judging.contract.input.admit(body);
        admitted
            .map_err(|violations| Failure::from_violations(ErrorCode::InvalidInput, &violations))
    };
    off_the_loop_if(bytes > LONG, judge)
        .await
        .map(ValidValue::into_value)
}

/// Reads and validates what a controller returned, under the limits that hold
/// for a body too.
pub(crate) async fn admit_output(
    version: &Arc<Version>,
    returned: Returned,
) -> Result<Value, Failure> {
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
