//! Making the registry show what the state says.

use super::{Lifecycle, Prepared, housekeeping, refusal};
use crate::bundle::Bundle;
use crate::canary::Trial;
use crate::deploy::{self as trial, Source, Under};
use crate::deployment::Deployment;
use crate::registry::{Canary, Origin, Serving};
use crate::runtime::Shared;
use crate::triggers;
use magic_contract::Failure;
use magic_store::state::{self, Heartbeat, Placed, StateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a version that somebody else deployed is warmed before it serves:
/// longer than an import usually takes, so that its first request waits for
/// nothing, and bounded, since the node is to follow all the same.
const WARM_UP: Duration = Duration::from_secs(5);

/// How often a node says that it lives, and tries again what it could not serve.
const BEAT: Duration = Duration::from_secs(5);

/// Follows the state once.
///
/// # Errors
///
/// When the state cannot be read. A controller that cannot be served is no
/// error: it goes on as it was, and its trouble is told.
pub(crate) async fn follow(shared: &Arc<Shared>) -> Result<(), StateError> {
    let Some(lifecycle) = &shared.lifecycle else {
        return Ok(());
    };
    let mut followed = lifecycle.followed.lock().await;
    let snapshot = lifecycle.state.snapshot().await?;
    let first = followed.generation.is_none();
    for serving in shared.registry.all() {
        let name = serving.active.contract().name.as_str();
        let stays = snapshot
            .deployments
            .iter()
            .any(|row| row.controller == name);
        if serving.origin != Origin::Folder && !stays {
            shared.registry.remove(name);
            tracing::info!(controller = name, "withdrawn");
        }
    }
    let known = |name: &String| {
        snapshot
            .deployments
            .iter()
            .any(|row| row.controller == *name)
    };
    lifecycle.troubles().retain(|name, _| known(name));
    for row in &snapshot.deployments {
        let standing = shared.registry.get(&row.controller);
        match standing.map(|standing| standing.origin) {
            // What an author works on, on this machine.
            Some(Origin::Folder) => continue,
            Some(Origin::State(generation)) if generation == row.generation => continue,
            Some(Origin::State(_)) | None => {}
        }
        match serve(shared, lifecycle, row, !first).await {
            Ok(()) => {
                lifecycle.troubles().remove(&row.controller);
            }
            Err(failure) => {
                let why = format!("{} {}", failure.code.as_str(), failure.message);
                let told = lifecycle
                    .troubles()
                    .insert(row.controller.clone(), why.clone());
                // It is tried again every few seconds, and told once.
                if told.as_ref() != Some(&why) {
                    tracing::error!(
                        controller = row.controller,
                        version = row.active.version,
                        internal = failure.internal,
                        "cannot be served as deployed: {why}"
                    );
                }
            }
        }
    }
    followed.generation = Some(snapshot.generation);
    Ok(())
}

/// Puts one controller into service as the state has it.
async fn serve(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    row: &state::Deployment,
    warm: bool,
) -> Result<(), Failure> {
    let active = obtain(shared, lifecycle, &row.controller, &row.active, warm).await?;
    let canary = match &row.canary {
        None => None,
        Some(canary) => Some(Canary {
            deployment: obtain(shared, lifecycle, &row.controller, &canary.placed, warm).await?,
            trial: Arc::new(Trial::new(canary.share.percent, canary.share.error_margin)),
        }),
    };
    tracing::info!(
        controller = row.controller,
        version = row.active.version,
        canary = row.canary.as_ref().map(|canary| &canary.placed.version),
        "serves"
    );
    shared.registry.put(Serving {
        active: active.clone(),
        canary,
        origin: Origin::State(row.generation),
    });
    triggers::follow(shared, &active);
    Ok(())
}

/// The deployment of a version: the one of its trial, the one that serves
/// already, or a new one.
async fn obtain(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    name: &str,
    placed: &Placed,
    warm: bool,
) -> Result<Arc<Deployment>, Failure> {
    if let Some(serving) = shared.registry.get(name)
        && let Some(same) = serving
            .deployments()
            .find(|one| one.contract().version.to_string() == placed.version)
    {
        return Ok(same.clone());
    }
    if let Some(tried) = lifecycle.prepared().remove(&Prepared::new(name, placed)) {
        return Ok(tried);
    }
    load(shared, lifecycle, placed, warm).await
}

/// A deployment of a version from the state.
pub(super) async fn load(
    shared: &Arc<Shared>,
    lifecycle: &Lifecycle,
    placed: &Placed,
    warm: bool,
) -> Result<Arc<Deployment>, Failure> {
    let kept = lifecycle
        .state
        .bundle(&placed.digest)
        .await
        .map_err(|error| refusal::of_bundle(&error))?;
    let bundle = tokio::task::spawn_blocking(move || Bundle::from_archive(&kept.bytes))
        .await
        .map_err(|error| super::deploy::cut_short(&error))??;
    let name = bundle.contract().name.to_string();
    let source = Source::Bundle(Box::new(bundle));
    let under = Under::follow(lifecycle.accepted(&name, placed).await?);
    let version = Arc::new(trial::prepare(shared, source, under).await?);
    let template = if warm {
        // One that does not load is told to whoever asks it, as at any other time.
        timeout(WARM_UP, trial::import(shared, &version))
            .await
            .ok()
            .and_then(Result::ok)
    } else {
        None
    };
    Ok(Arc::new(shared.deployment(version, template)))
}

/// Follows the state from now on.
pub(crate) async fn start(shared: &Arc<Shared>) -> Result<(), Failure> {
    if shared.lifecycle.is_none() {
        return Ok(());
    }
    follow(shared)
        .await
        .map_err(|error| refusal::of_state(&error))?;
    let following = shared.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = keep_following(&following) => {}
            () = housekeeping::run(&following) => {}
            () = following.triggers.stopped() => {}
        }
    });
    Ok(())
}

/// Follows, and says that this node lives.
async fn keep_following(shared: &Arc<Shared>) {
    let Some(lifecycle) = &shared.lifecycle else {
        return;
    };
    let mut changes = lifecycle.state.watch();
    let mut told = false;
    loop {
        let outcome = async {
            follow(shared).await?;
            beat(shared, lifecycle).await
        };
        match outcome.await {
            Ok(()) => told = false,
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    %error,
                    "the runtime's state cannot be followed; what is deployed is served on"
                );
            }
            Err(_) => {}
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    // The state is closed.
                    return;
                }
            }
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

async fn beat(shared: &Shared, lifecycle: &Lifecycle) -> Result<(), StateError> {
    let generation = lifecycle.followed.lock().await.generation.unwrap_or(0);
    let beat = Heartbeat {
        node: lifecycle.node.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        policy: shared.policies.current().hash().to_owned(),
        generation,
        address: None,
    };
    lifecycle.state.heartbeat(&beat).await
}
