//! `POST /api/policy/explain`: what the policy in force says about a capability, and why.
//!
//! The question names a deployed controller, or brings a contract that is deployed nowhere, so that
//! it can be asked before a deploy.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use hyper::HeaderMap;
use magic_contract::{
    CapabilityKind, Contract, ErrorCode, Failure, JsonLimits, NamedTarget, read_json,
};
use serde::Deserialize;
use serde_json::Value;

use super::json;
use crate::auth::authorize::Authorized;
use crate::refusal::Refusal;
use crate::state::ApiState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The name of a deployed controller.
    controller: Option<String>,
    /// A contract: its text, or an object.
    contract: Option<Value>,
    capability: String,
    target: Option<String>,
}

/// Explains. The answer is 200 whether it says allow or deny.
pub(super) async fn explain(
    State(state): State<ApiState>,
    authorized: Authorized,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = state.bodies.read(&headers, body).await?;
    let question = read_json(&body.bytes, JsonLimits::default()).map_err(Refusal::of)?;
    let question: Question = serde_json::from_value(question).map_err(|error| {
        let said: String = error.to_string().chars().take(300).collect();
        unacceptable("the question is not acceptable").with_detail("received", said)
    })?;
    let capability: CapabilityKind = question.capability.parse().map_err(|_| {
        let known: Vec<&str> = CapabilityKind::ALL.iter().map(|one| one.as_str()).collect();
        unacceptable("there is no such capability")
            .with_detail("field", "/capability")
            .with_detail("expected", known)
    })?;
    let target = match &question.target {
        None => None,
        Some(text) => Some(NamedTarget::parse(capability, text).map_err(|problem| {
            unacceptable(&format!("the target is not acceptable: {problem}"))
                .with_detail("field", "/target")
        })?),
    };
    let explanation = match (question.controller, question.contract) {
        (Some(name), None) => {
            authorized.check(&name)?;
            state
                .runtime
                .explain(&name, capability, target.as_ref())
                .map_err(Refusal::of)?
        }
        (None, Some(contract)) => {
            let policy = state.runtime.policy();
            // Compiling the schemas of a contract is more work than an event loop should do.
            tokio::task::spawn_blocking(move || {
                let text = match contract {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let contract = Contract::parse(text.as_bytes(), "contract")
                    .map_err(|problems| Refusal::of(problems.to_failure()))?;
                Ok(policy.explain(&contract, capability, target.as_ref()))
            })
            .await
            .unwrap_or_else(|error| {
                Err(Refusal::of(
                    Failure::new(
                        ErrorCode::DeploymentFailed,
                        "reading the contract was cut short",
                    )
                    .with_internal(error.to_string()),
                ))
            })?
        }
        _ => {
            return Err(unacceptable(
                "the question names either a deployed `controller` or brings a `contract`",
            ));
        }
    };
    Ok(json(&explanation.without_folders().to_json()))
}

fn unacceptable(message: &str) -> Refusal {
    Refusal::of(Failure::new(ErrorCode::UnacceptableBody, message))
}
