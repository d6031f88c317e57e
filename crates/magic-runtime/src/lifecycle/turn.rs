//! Pointers that move without anything new: roll back, delete, and the end of
//! a canary.

use super::{Actor, Lifecycle, Prepared, follow, refusal};
use crate::canary::Trial;
use crate::registry::{Origin, without_v};
use crate::runtime::Shared;
use magic_contract::{ErrorCode, Failure};
use magic_store::state::{self, DeploymentError, Outcome};
use magic_store::{Kind, Record};
use serde::Serialize;
use std::sync::Arc;

/// What a move did.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// The controller.
    pub name: String,
    /// What is active now; nothing after a delete.
    pub version: Option<String>,
    /// What was active before, if that changed.
    pub replaced: Option<String>,
    /// Whether anything changed.
    pub changed: bool,
}

/// Makes an earlier version the active one again; the one before, if none is named.
pub(crate) async fn roll_back(
    shared: &Arc<Shared>,
    name: &str,
    to: Option<&str>,
    actor: &Actor,
) -> Result<Moved, Failure> {
    let lifecycle = super::of(shared)?;
    let to = to.map(without_v);
    if to.is_some_and(|to| !could_be_version(to)) {
        return Err(Failure::new(
            ErrorCode::UnknownController,
            format!(
                "{name} has no such version; GET /api/controllers/{name}/versions lists those there are"
            ),
        ));
    }
    let seen = lifecycle.row(name).await?;
    let seen = seen.as_ref();
    let prepared = prepare(shared, lifecycle, name, to, seen).await?;
    let record = record(Kind::Rollback, name, actor);
    let record = match to {
        Some(to) => record.with_field("to", to),
        None => record,
    };
    shared.announce("rollback", &record).await?;
    let reason = actor.reason.as_deref();
    let moved = lifecycle
        .state
        .roll_back(name, to, seen, &actor.subject, reason)
        .await;
    let finished = finish(shared, lifecycle, name, record, moved).await;
    if let Some(prepared) = prepared {
        lifecycle.prepared().remove(&prepared);
    }
    finished
}

/// Loads where a roll-back is about to go, before the state says so: a version
/// whose files this node cannot have any more is refused while nothing has
/// changed, and one that it can have is warm when the pointer moves to it.
async fn prepare(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    name: &str,
    to: Option<&str>,
    seen: Option<&state::Deployment>,
) -> Result<Option<Prepared>, Failure> {
    // Whatever cannot be found here is the operation's to refuse.
    let target = seen.and_then(|row| to.or(row.previous.as_deref()));
    let Some(target) = target else {
        return Ok(None);
    };
    let Ok((stored, _)) = lifecycle.state.version(name, target).await else {
        return Ok(None);
    };
    let serves = shared.registry.get(name).is_some_and(|serving| {
        serving
            .deployments()
            .any(|one| one.contract().version.to_string() == target)
    });
    if serves {
        return Ok(None);
    }
    let deployment = follow::load(shared, lifecycle, &stored.placed, true).await?;
    let prepared = Prepared::new(name, &stored.placed);
    lifecycle.prepared().insert(prepared.clone(), deployment);
    Ok(Some(prepared))
}

/// Whether a text from outside is worth asking for and repeating.
pub(super) fn could_be_version(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))
}

/// Takes a controller out of service on every node.
pub(crate) async fn delete(
    shared: &Arc<Shared>,
    name: &str,
    actor: &Actor,
) -> Result<Moved, Failure> {
    let lifecycle = super::of(shared)?;
    let seen = lifecycle.row(name).await?;
    let record = record(Kind::Remove, name, actor);
    shared.announce("remove", &record).await?;
    let reason = actor.reason.as_deref();
    let moved = lifecycle
        .state
        .delete(name, seen.as_ref(), &actor.subject, reason)
        .await;
    finish(shared, lifecycle, name, record, moved).await
}

/// Ends a trial: the canary becomes the active version, or gets nothing more.
pub(crate) async fn end_canary(
    shared: &Arc<Shared>,
    name: &str,
    promote: bool,
    actor: &Actor,
) -> Result<Moved, Failure> {
    let lifecycle = super::of(shared)?;
    let seen = lifecycle.row(name).await?;
    match &seen {
        Some(seen) if seen.canary.is_some() => {
            end_canary_of(shared, lifecycle, seen, promote, actor).await
        }
        _ => Err(Failure::new(
            ErrorCode::UnknownController,
            format!("{name} has no canary"),
        )),
    }
}

/// Ends the trial that was seen.
async fn end_canary_of(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    seen: &state::Deployment,
    promote: bool,
    actor: &Actor,
) -> Result<Moved, Failure> {
    let name = &seen.controller;
    let canary = seen.canary.as_ref();
    let version = canary.map_or("", |canary| &canary.placed.version);
    let (kind, word) = if promote {
        (Kind::Deploy, "promote")
    } else {
        (Kind::Rollback, "return")
    };
    let record = record(kind, name, actor)
        .with_field("canary", version)
        .with_field("canary_ends", word);
    shared.announce(word, &record).await?;
    let (by, reason) = (&actor.subject, actor.reason.as_deref());
    let moved = if promote {
        lifecycle
            .state
            .promote_canary(name, version, Some(seen), by, reason)
            .await
    } else {
        lifecycle
            .state
            .return_canary(name, version, Some(seen), by, reason)
            .await
    };
    finish(shared, lifecycle, name, record, moved).await
}

/// Takes a canary back that fails too often, if it still is the one that was
/// tried.
pub(crate) async fn take_canary_back(
    shared: &Arc<Shared>,
    name: &str,
    trial: &Arc<Trial>,
    why: String,
) -> Result<(), Failure> {
    let Some(serving) = shared.registry.get(name) else {
        return Ok(());
    };
    let canary = serving.canary.as_ref();
    let Some(canary) = canary.filter(|canary| Arc::ptr_eq(&canary.trial, trial)) else {
        return Ok(());
    };
    let origin = serving.origin;
    let version = canary.deployment.contract().version.to_string();
    let lifecycle = super::of(shared)?;
    let seen = lifecycle.row(name).await?;
    // A later trial of the same version is another one, of which nothing is known yet.
    let seen = seen.filter(|seen| {
        let same = |canary: &state::Canary| canary.placed.version == version;
        Origin::State(seen.generation) == origin && seen.canary.as_ref().is_some_and(same)
    });
    let Some(seen) = seen else {
        return Ok(());
    };
    let actor = Actor {
        subject: "runtime".to_owned(),
        reason: Some(why),
    };
    match end_canary_of(shared, lifecycle, &seen, false, &actor).await {
        // Another node, or somebody, was faster.
        Err(failure) if failure.code != ErrorCode::DeploymentFailed => Ok(()),
        ended => ended.map(drop),
    }
}

/// Serves what the state says now, and records that it does.
async fn finish(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    name: &str,
    record: Record,
    moved: Result<Outcome, DeploymentError>,
) -> Result<Moved, Failure> {
    let outcome = match moved {
        Ok(outcome) => outcome,
        Err(error) => {
            let failure = refusal::of_deployment(&error);
            // What was announced has an end; a log that does not take it says so itself.
            let _ = shared
                .record_durably(&refusal::recorded(record, &failure))
                .await;
            return Err(failure);
        }
    };
    let followed = follow(shared).await;
    let mut record = record.with_field("changed", outcome.changed);
    record.version.clone_from(&outcome.active);
    shared.record_durably(&record).await?;
    refusal::unless_served(lifecycle, name, followed)?;
    Ok(Moved {
        name: name.to_owned(),
        version: outcome.active,
        replaced: outcome.replaced,
        changed: outcome.changed,
    })
}

fn record(kind: Kind, name: &str, actor: &Actor) -> Record {
    let record = Record {
        controller: Some(name.to_owned()),
        caller: Some(actor.subject.clone()),
        ..Record::new(kind)
    };
    match &actor.reason {
        Some(reason) => record.with_field("why", reason.clone()),
        None => record,
    }
}
