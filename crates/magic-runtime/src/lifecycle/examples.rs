//! The examples of a contract, run before anybody else calls the version.
//!
//! They run as requests do, in workers of the trial's own template, but without
//! any back end: what a deploy tries out must not leave rows or charge cards.
//! An example that asks for a capability is told apart from one that fails: its
//! input is checked and its code runs up to there, and how it goes on is for the
//! author's own tests. A capability that the contract does not declare fails it.

use crate::deployment::Deployment;
use crate::execution::{self, Job, Surrounded};
use crate::invoke;
use crate::outcome;
use crate::request::Caller;
use crate::runtime::Shared;
use crate::sinks::Sinks;
use magic_broker::Capabilities;
use magic_contract::{ErrorCode, Failure, ValidValue};
use serde_json::{Value, json};

/// How the examples ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    /// So many gave what they promise.
    pub(super) kept: usize,
    /// So many asked for a capability.
    pub(super) cut_short: usize,
}

/// Runs all of them, in their order.
///
/// # Errors
///
/// E4002, with the number of the example, what was expected and what came.
pub(super) async fn run(shared: &Shared, deployment: &Deployment) -> Result<Tried, Failure> {
    let examples = &deployment.contract().examples;
    let mut tried = Tried::default();
    for (index, example) in examples.iter().enumerate() {
        let number = index + 1;
        let came = execute(shared, deployment, number, &example.input)
            .await
            .map_err(|failure| failed(number, &failure))?;
        let Some(came) = came else {
            tried.cut_short += 1;
            continue;
        };
        if let Some(expected) = &example.output
            && *expected != came
        {
            return Err(Failure::new(
                ErrorCode::DoesNotLoad,
                format!("example {number} of the contract gives another output than it says"),
            )
            .with_detail("kind", "example")
            .with_detail("example", number)
            .with_detail("expected", expected.clone())
            .with_detail("received", came));
        }
        tried.kept += 1;
    }
    Ok(tried)
}

/// The output; nothing if a capability was asked for.
async fn execute(
    shared: &Shared,
    deployment: &Deployment,
    number: usize,
    input: &Value,
) -> Result<Option<Value>, Failure> {
    let version = &deployment.version;
    let input = version
        .contract
        .input
        .admit(input.clone())
        .map(ValidValue::into_value)
        .map_err(|violations| Failure::from_violations(ErrorCode::InvalidInput, &violations))?;
    let request_id = format!("example-{number}");
    let capabilities = Capabilities::none();
    let mut source = version.source();
    source.request_id = Some(request_id.clone());
    let caller = Caller {
        subject: "example".to_owned(),
        ..Caller::anonymous()
    };
    let sinks = Sinks::new(
        source,
        shared.launcher.logs.clone(),
        capabilities.redactor().clone(),
        None,
        caller.subject.clone(),
    );
    let job = Job {
        request_id: &request_id,
        caller: &caller,
        input: &input,
    };
    let frame = job.frame(version).map_err(invoke::too_large)?;
    let mut worker = deployment
        .stock
        .take(shared.launcher.limits.load_time)
        .await?;
    let around = Surrounded {
        version,
        launcher: &shared.launcher,
        capabilities: &capabilities,
        sinks: &sinks,
        deadline: tokio::time::Instant::now() + version.contract.resources.timeout,
    };
    let evidence = execution::run(&mut worker, &frame, around).await;
    if capabilities.missed().is_some() {
        return Ok(None);
    }
    let returned = outcome::decide(evidence)?;
    invoke::admit_output(version, returned).await.map(Some)
}

fn failed(number: usize, failure: &Failure) -> Failure {
    Failure::new(
        ErrorCode::DoesNotLoad,
        format!(
            "example {number} of the contract ended in {}: {}",
            failure.code.as_str(),
            failure.message
        ),
    )
    .with_detail("kind", "example")
    .with_detail("example", number)
    .with_detail(
        "failure",
        json!({"code": failure.code, "details": failure.details}),
    )
}
