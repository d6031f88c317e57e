//! What was deployed once, and what of it serves.

use super::turn::could_be_version;
use super::{follow, refusal};
use crate::deployment::Deployment;
use crate::registry::Origin;
use crate::runtime::Shared;
use magic_contract::{ErrorCode, Failure, Reason};
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

/// What is known of a controller.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// Every version that was deployed, the newest first.
    pub versions: Vec<VersionSummary>,
    /// What happened to it, the newest first; the last hundred events.
    pub history: Vec<EventSummary>,
}

/// One event of a controller's history.
#[derive(Debug, Clone, Serialize)]
pub struct EventSummary {
    /// `deploy`, `rollback`, `delete`, `canary_begin`, `canary_promote` or `canary_return`.
    pub event: &'static str,
    /// The version that it is about.
    pub version: String,
    /// What was active before, if that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// The share of a canary that began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// When.
    pub at: jiff::Timestamp,
    /// Who did it; `runtime` for a canary that was taken back.
    pub by: String,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How much of a history is told.
const EVENTS: u32 = 100;

/// All versions of a controller and its history, the newest first.
pub(crate) async fn versions(shared: &Shared, name: &str) -> Result<Versions, Failure> {
    if let Some(serving) = shared.registry.get(name)
        && serving.origin == Origin::Folder
    {
        let only = VersionSummary {
            version: serving.active.contract().version.to_string(),
            state: "active",
            percent: None,
            deployed_at: serving.active.deployed_at,
            deployed_by: None,
            allow_breaking: false,
        };
        return Ok(Versions {
            versions: vec![only],
            history: Vec::new(),
        });
    }
    let lifecycle = super::of(shared)?;
    let stored = lifecycle
        .state
        .versions(name)
        .await
        .map_err(|error| refusal::of_deployment(&error))?;
    let row = lifecycle.row(name).await?;
    let row = row.as_ref();
    let events = lifecycle
        .state
        .history(name, EVENTS)
        .await
        .map_err(|error| refusal::of_state(&error))?;
    let history = events.into_iter().map(|event| EventSummary {
        event: event.kind.name(),
        version: event.version,
        replaced: event.from,
        percent: event.percent,
        at: event.at,
        by: event.by,
        reason: event.reason,
    });
    let versions = stored
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
        .collect();
    Ok(Versions {
        versions,
        history: history.collect(),
    })
}

/// What to answer for a controller that is deployed and that this node cannot
/// serve; nothing for one that is not deployed.
pub(crate) fn unserved(shared: &Shared, name: &str) -> Option<Failure> {
    let why = shared.lifecycle.as_ref()?.trouble_of(name)?;
    Some(
        Failure::new(
            ErrorCode::DeploymentFailed,
            format!("{name} is deployed, but this node cannot serve it: {why}"),
        )
        .with_reason(Reason::Rollout),
    )
}

/// A version that a request asked for by number and that nothing points to.
/// `None` if there is none.
pub(crate) async fn pinned(
    shared: &Arc<Shared>,
    name: &str,
    version: &str,
) -> Result<Option<Arc<Deployment>>, Failure> {
    if shared.lifecycle.is_none() {
        return Ok(None);
    }
    let serving = shared.registry.get(name);
    if serving.is_none_or(|serving| serving.origin == Origin::Folder) || !could_be_version(version)
    {
        return Ok(None);
    }
    let lifecycle = super::of(shared)?;
    // Of many who ask at once, one loads.
    let _turn = lifecycle.pinning.lock().await;
    if let Ok(found) = shared.registry.find(name, Some(version)) {
        return Ok(Some(found.deployment));
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
