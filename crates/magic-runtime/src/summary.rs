//! What the runtime tells about the controllers in service.

use crate::registry::Serving;
use magic_contract::{Isolation, Schema};
use serde::Serialize;
use serde_json::Value;

/// One controller in a list.
#[derive(Debug, Clone, Serialize)]
pub struct ControllerSummary {
    /// Its name.
    pub name: String,
    /// The version in service.
    pub version: String,
    /// SHA-256 of its files, in hexadecimal.
    pub digest: String,
    /// `request` or `pristine`.
    pub isolation: &'static str,
    /// When this version was put into service.
    pub deployed_at: jiff::Timestamp,
    /// The version that is tried on a share of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySummary>,
}

/// A version on trial.
#[derive(Debug, Clone, Serialize)]
pub struct CanarySummary {
    /// The version.
    pub version: String,
    /// Its share of a hundred requests.
    pub percent: u64,
    /// Requests that this node gave it so far.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
}

/// One controller with its contract.
#[derive(Debug, Clone, Serialize)]
pub struct ControllerDetail {
    /// What the list says.
    #[serde(flatten)]
    pub summary: ControllerSummary,
    /// The contract, defaults filled in.
    pub contract: Value,
}

/// What callers of a controller in service send and get.
#[derive(Debug, Clone)]
pub struct ControllerInterface {
    /// Its name.
    pub name: String,
    /// The active version.
    pub version: String,
    /// What it takes.
    pub input: Schema,
    /// What it gives.
    pub output: Schema,
}

/// Whether requests are served.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether they are.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What is wrong without keeping requests from being served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A controller that this node cannot serve as it is deployed.
#[derive(Debug, Clone, Serialize)]
pub struct Unserved {
    /// Its name.
    pub name: String,
    /// Code and message of what keeps it from being served.
    pub why: String,
}

impl ControllerSummary {
    pub(crate) fn of(serving: &Serving) -> Self {
        let deployment = &serving.active;
        let contract = deployment.contract();
        Self {
            canary: serving.canary.as_ref().map(|canary| {
                let (_, tally) = canary.trial.tallies();
                CanarySummary {
                    version: canary.deployment.contract().version.to_string(),
                    percent: canary.trial.percent(),
                    requests: tally.requests,
                    failures: tally.failures,
                }
            }),
            name: contract.name.to_string(),
            version: contract.version.to_string(),
            digest: deployment.version.digest.clone(),
            isolation: match deployment.version.isolation {
                Isolation::Request => "request",
                Isolation::Pristine => "pristine",
            },
            deployed_at: deployment.deployed_at,
        }
    }
}

impl ControllerInterface {
    pub(crate) fn of(serving: &Serving) -> Self {
        let contract = serving.active.contract();
        Self {
            name: contract.name.to_string(),
            version: contract.version.to_string(),
            input: contract.input.clone(),
            output: contract.output.clone(),
        }
    }
}

impl ControllerDetail {
    pub(crate) fn of(serving: &Serving) -> Self {
        Self {
            summary: ControllerSummary::of(serving),
            contract: serving.active.contract().to_json(),
        }
    }
}
