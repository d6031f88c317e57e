//! What the runtime tells about the controllers in service.

use crate::deployment::Deployment;
use magic_contract::Isolation;
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

/// Whether requests are served.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether they are.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

impl ControllerSummary {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let contract = deployment.contract();
        Self {
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

impl ControllerDetail {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        Self {
            summary: ControllerSummary::of(deployment),
            contract: deployment.contract().to_json(),
        }
    }
}
