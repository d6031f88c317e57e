//! One question to a supervisor, and the two ends that every command has in common: a refusal is told, and who wants JSON gets the
//! answer as it came.

use std::ops::ControlFlow;

use hyper::Method;
use serde_json::Value;

use crate::cli::Ended;
use crate::client::{Client, Reply, whole};
use crate::output::Output;

/// Asks. An answer goes on to be shown to people; everything else has ended the command.
///
/// # Errors
/// When no supervisor answers, or not in a way that can be read.
pub(super) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
    output: Output,
) -> anyhow::Result<ControlFlow<Ended, Value>> {
    let response = match client.send(method, path, body).await? {
        Reply::Ok(response) => response,
        Reply::Refused(envelope) => {
            return super::logs::refuse(&envelope, output).map(ControlFlow::Break);
        }
    };
    let answer: Value = serde_json::from_slice(&whole(response).await?)?;
    if output.is_json() {
        output.json(&answer)?;
        return Ok(ControlFlow::Break(Ended::Done));
    }
    Ok(ControlFlow::Continue(answer))
}
