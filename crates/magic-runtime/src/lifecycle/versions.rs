//! What was deployed once, and what of it serves.

use super::{follow, refusal};
use crate::deployment::Deployment;
use crate::registry::Origin;
use crate::runtime::Shared;
use magic_contract::Failure;
use magic_store::state::{DeploymentError, Placed};
use serde::Serialize;
use std::sync::Arc;

/// One version of a controller.
#[derive(Debug, Clone, Serialize)]
pub struct VersionSummary {
    /// The version.
    pub version: String,
    /// `active`, `canary` or `idle`.
    pub state: &'static str,
    /// The share of a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// When it was deployed first.
    pub deployed_at: jiff::Timestamp,
    /// Who did; nobody for what a folder holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployed_by: Option<String>,
    /// Whether it was allowed to break its callers.
    pub allow_breaking: bool,
}

/// All versions of a controller, the newest first.
pub(crate) async fn versions(shared: &Shared, name: &str) -> Result<Vec<VersionSummary>, Failure> {
    if let Some(serving) = shared.registry.get(name)
        && serving.origin == Origin::Folder
    {
        return Ok(vec![VersionSummary {
            version: serving.active.contract().version.to_string(),
            state: "active",
            percent: None,
            deployed_at: serving.active.deployed_at,
            deployed_by: None,
            allow_breaking: false,
        }]);
    }
    let lifecycle = super::of(shared)?;
    let stored = lifecycle
        .state
        .versions(name)
        .await
        .map_err(|error| refusal::of_deployment(&error))?;
    let snapshot = lifecycle
        .state
        .snapshot()
        .await
        .map_err(|error| refusal::of_state(&error))?;
    let row = snapshot
        .deployments
        .iter()
        .find(|row| row.controller == name);
    Ok(stored
        .into_iter()
        .map(|version| {
            let number = &version.placed.version;
            let canary = row
                .and_then(|row| row.canary.as_ref())
                .filter(|canary| canary.placed.version == *number);
            let active = row.is_some_and(|row| row.active.version == *number);
            VersionSummary {
                state: match (active, &canary) {
                    (true, _) => "active",
                    (false, Some(_)) => "canary",
                    (false, None) => "idle",
                },
                percent: canary.map(|canary| canary.share.percent),
                version: version.placed.version,
                deployed_at: version.deployed_at,
                deployed_by: Some(version.deployed_by),
                allow_breaking: version.allow_breaking,
            }
        })
        .collect())
}

/// A version that a request asked for by number and that nothing points to.
/// `None` if there is none.
pub(crate) async fn pinned(
    shared: &Arc<Shared>,
    name: &str,
    version: &str,
) -> Result<Option<Arc<Deployment>>, Failure> {
    let Some(lifecycle) = &shared.lifecycle else {
        return Ok(None);
    };
    let serving = shared.registry.get(name);
    if serving.is_none_or(|serving| serving.origin == Origin::Folder) {
        return Ok(None);
    }
    let stored: Placed = match lifecycle.state.version(name, version).await {
        Ok((stored, _)) => stored.placed,
        Err(DeploymentError::NoSuchVersion { .. } | DeploymentError::NoSuchController { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(refusal::of_deployment(&error)),
    };
    let deployment = follow::load(shared, lifecycle, &stored, false).await?;
    Ok(Some(shared.registry.pin(deployment)))
}
