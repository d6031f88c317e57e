//! From an upload to a version that serves on every node.
//!
//! Until the commit every step only looks or prepares, so an upload that is
//! refused, cut off or killed has changed nothing. The steps run in a task of
//! their own: a client that goes away leaves a deploy that is finished or
//! refused, and never one that hangs.

use super::{Actor, Lifecycle, Prepared, examples, follow, refusal};
use crate::bundle::Bundle;
use crate::deploy::{self as trial, Deployed, Source, Under};
use crate::packages::Packages;
use crate::registry::Origin;
use crate::runtime::Shared;
use crate::version::Version;
use magic_contract::{Contract, ErrorCode, Failure, Reason};
use magic_store::state::{
    self, CanaryShare, DeploymentError, NewVersion, Outcome, Placement, StoredVersion,
    bundle_digest,
};
use magic_store::{Kind, Record};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// What somebody asks for when they deploy.
#[derive(Debug)]
pub struct DeployOrder {
    /// The controller's files.
    pub bundle: Box<Bundle>,
    /// Who gets the version: everybody, or a share.
    pub share: Share,
    /// Whether it may break whoever relies on the version before it.
    pub allow_breaking: bool,
    /// Who deploys.
    pub actor: Actor,
    /// Told of each step as it is done.
    pub progress: Option<UnboundedSender<Step>>,
}

/// Who gets a version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// Everybody.
    All,
    /// Of a hundred requests so many, until the version fails more often than
    /// the active one by more than the margin (0 to 1).
    Canary {
        /// 1 to 99.
        percent: u8,
        /// 0 to 1.
        margin: f64,
    },
}

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The archive was read, and what is in it is acceptable.
    Read {
        /// The controller.
        name: String,
        /// Its version.
        version: String,
    },
    /// Contract and policy allow it, and its packages are there.
    Judged,
    /// It was imported in a sandbox without capabilities.
    Imported,
    /// So many examples of the contract gave what they promise.
    Tried {
        /// How many.
        examples: usize,
        /// So many asked for a capability, which a deploy does not have, and were run up to there.
        cut_short: usize,
    },
    /// It is in the state, for every node.
    Stored,
    /// This node serves it.
    Switched,
}

/// Deploys, whoever goes on waiting.
pub(crate) async fn deploy(shared: &Arc<Shared>, order: DeployOrder) -> Result<Deployed, Failure> {
    let working = shared.clone();
    let task = shared.closings.spawn(async move {
        let done = steps(&working, order).await;
        if let (Err(_), Some(lifecycle)) = (&done, &working.lifecycle) {
            lifecycle.untidy.notify_one();
        }
        done
    });
    task.await.unwrap_or_else(|error| Err(cut_short(&error)))
}

/// How many nodes may start at once with folders that differ: each looks again as
/// often as others were faster, because a folder says the same whatever is there.
const NODES_THAT_START: u32 = 16;

/// Deploys what a node's own folder brings along, unless that version was
/// deployed before: who rolled it back or deleted it meant it, and a restart is
/// no reason to undo that.
pub(crate) async fn introduce(
    shared: &Arc<Shared>,
    bundle: Box<Bundle>,
    actor: Actor,
) -> Result<Deployed, Failure> {
    let lifecycle = super::of(shared)?;
    let mut bundle = bundle;
    let mut rounds = NODES_THAT_START;
    let stored = loop {
        if let Some(stored) = known(lifecycle, &bundle).await? {
            break stored;
        }
        rounds -= 1;
        let again = (rounds > 0).then(|| bundle.clone());
        let order = DeployOrder {
            bundle,
            share: Share::All,
            allow_breaking: false,
            actor: actor.clone(),
            progress: None,
        };
        match (deploy(shared, order).await, again) {
            (Err(failure), Some(same)) if refusal::is_overtaken(&failure) => bundle = same,
            (done, _) => return done,
        }
    };
    let (bundle, packed) = pack(bundle).await?;
    as_stored(lifecycle, &stored, &bundle, packed).await?;
    let contract = bundle.contract();
    Ok(Deployed {
        name: contract.name.to_string(),
        version: contract.version.to_string(),
        digest: bundle.digest().to_owned(),
        changed: false,
        warnings: contract.warnings.clone(),
    })
}

async fn steps(shared: &Arc<Shared>, mut order: DeployOrder) -> Result<Deployed, Failure> {
    let lifecycle = super::of(shared)?;
    let progress = order.progress.take();
    let tell = |step| {
        if let Some(progress) = &progress {
            // Whoever asked may be gone.
            let _ = progress.send(step);
        }
    };
    refuse_while_leaving(shared)?;
    let DeployOrder {
        bundle,
        share,
        allow_breaking,
        actor,
        ..
    } = order;
    let (bundle, packed) = pack(bundle).await?;
    let (name, number) = (
        bundle.contract().name.to_string(),
        bundle.contract().version.to_string(),
    );
    tell(Step::Read {
        name: name.clone(),
        version: number.clone(),
    });
    if shared
        .registry
        .get(&name)
        .is_some_and(|serving| serving.origin == Origin::Folder)
    {
        return Err(Failure::new(
            ErrorCode::VersionConflict,
            format!(
                "{name} is served from a folder of this machine; change it there, or serve without that folder"
            ),
        ));
    }
    let _turn = lifecycle.turns.take(&name).await?;
    let (packed, accepted) = match known(lifecycle, &bundle).await? {
        Some(stored) => {
            let packed = as_stored(lifecycle, &stored, &bundle, packed).await?;
            (
                packed,
                Some(lifecycle.accepted(&name, &stored.placed).await?),
            )
        }
        None => (packed, None),
    };
    // What is compared here is what the commit replaces, or there is none.
    let seen = lifecycle.row(&name).await?;
    if let (false, Some(standing)) = (allow_breaking, &seen) {
        refuse_breaking(lifecycle, standing, &bundle).await?;
    }
    let source = Source::Bundle(bundle);
    let version = Arc::new(trial::prepare(shared, source, Under::deploy(accepted)).await?);
    tell(Step::Judged);
    let template = trial::import(shared, &version).await?;
    tell(Step::Imported);
    let deployment = Arc::new(shared.deployment(version.clone(), Some(template)));
    let tried = examples::run(shared, &deployment).await?;
    tell(Step::Tried {
        examples: tried.kept,
        cut_short: tried.cut_short,
    });

    let new = NewVersion {
        controller: name.clone(),
        version: number.clone(),
        digest: bundle_digest(&packed),
        packages_digest: version.packages_digest(),
        wheels: version
            .packages
            .as_ref()
            .map(Packages::wheels)
            .unwrap_or_default(),
        contract: version.contract.to_json().to_string(),
        allow_breaking,
        by: actor.subject.clone(),
        reason: actor.reason.clone(),
    };
    let placement = match share {
        Share::All => Placement::Active,
        Share::Canary { percent, margin } => Placement::Canary(CanaryShare {
            percent,
            error_margin: margin,
        }),
    };
    // The runtime may have begun to end meanwhile, and what is committed is served.
    refuse_while_leaving(shared)?;
    let record = record(&version, share, allow_breaking, &actor);
    shared.announce("deploy", &record).await?;
    let prepared = Prepared {
        controller: name.clone(),
        version: number.clone(),
        digest: new.digest.clone(),
        packages_digest: new.packages_digest.clone(),
    };
    lifecycle.prepared().insert(prepared.clone(), deployment);
    let committed = commit(lifecycle, &version, &packed, &new, placement, seen.as_ref()).await;
    let outcome = match committed {
        Ok(outcome) => outcome,
        Err(failure) => {
            lifecycle.prepared().remove(&prepared);
            // What was announced has an end; a log that does not take it says so itself.
            let _ = shared
                .record_durably(&refusal::recorded(record, &failure))
                .await;
            return Err(failure);
        }
    };
    tell(Step::Stored);
    let followed = follow(shared).await;
    lifecycle.prepared().remove(&prepared);
    shared
        .record_durably(&record.with_field("changed", outcome.changed))
        .await?;
    refusal::unless_served(lifecycle, &name, followed)?;
    tell(Step::Switched);
    Ok(Deployed::of(&version, outcome.changed))
}

/// Puts what the version is made of into the state, and then the version.
async fn commit(
    lifecycle: &Lifecycle,
    version: &Version,
    packed: &[u8],
    new: &NewVersion,
    placement: Placement,
    seen: Option<&state::Deployment>,
) -> Result<Outcome, Failure> {
    let state = &lifecycle.state;
    let bundle = state.put_bundle(packed).await;
    bundle.map_err(|error| refusal::of_state(&error))?;
    if let Some(packages) = &version.packages {
        let put = packages.put_wheels(state).await;
        put.map_err(|error| refusal::of_wheel(&error))?;
    }
    let deployed = state.deploy(new, placement, seen).await;
    deployed.map_err(|error| refusal::of_deployment(&error))
}

fn refuse_while_leaving(shared: &Shared) -> Result<(), Failure> {
    if !shared.is_leaving() {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::DeploymentFailed,
        "the runtime is shutting down; deploy to another node, or when it is back",
    )
    .with_reason(Reason::Draining)
    .with_detail("retriable", json!(true)))
}

/// Packs the files: what is stored is ours, byte for byte, whoever packed what
/// was uploaded.
async fn pack(bundle: Box<Bundle>) -> Result<(Box<Bundle>, Vec<u8>), Failure> {
    let packing = move || match bundle.to_archive() {
        Ok(packed) => Ok((bundle, packed)),
        Err(error) => Err(cut_short(&error)),
    };
    tokio::task::spawn_blocking(packing)
        .await
        .unwrap_or_else(|error| Err(cut_short(&error)))
}

/// The version of that number, if it was deployed before.
async fn known(lifecycle: &Lifecycle, bundle: &Bundle) -> Result<Option<StoredVersion>, Failure> {
    let contract = bundle.contract();
    let (name, number) = (contract.name.as_str(), contract.version.to_string());
    match lifecycle.state.version(name, &number).await {
        Ok((stored, _)) => Ok(Some(stored)),
        Err(DeploymentError::NoSuchController { .. } | DeploymentError::NoSuchVersion { .. }) => {
            Ok(None)
        }
        Err(error) => Err(refusal::of_deployment(&error)),
    }
}

/// The bytes under which this content is stored already: another program's
/// compressor makes other bytes of the same files, and that must not make a
/// conflict of what is the same. E4003 for other content.
async fn as_stored(
    lifecycle: &Lifecycle,
    stored: &StoredVersion,
    bundle: &Bundle,
    packed: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    if stored.placed.digest == bundle_digest(&packed) {
        return Ok(packed);
    }
    let kept = lifecycle
        .state
        .bundle(&stored.placed.digest)
        .await
        .map_err(|error| refusal::of_bundle(&error))?;
    let digest = bundle.digest().to_owned();
    let same = tokio::task::spawn_blocking(move || {
        let same = Bundle::from_archive(&kept.bytes).is_ok_and(|kept| kept.digest() == digest);
        same.then_some(kept.bytes)
    });
    same.await.ok().flatten().ok_or_else(|| {
        let contract = bundle.contract();
        Failure::new(
            ErrorCode::VersionConflict,
            format!(
                "version {} of {} is deployed already with other content; a version keeps its content for ever, so give it a new number",
                contract.version, contract.name
            ),
        )
    })
}

/// Compares with the version that is active.
async fn refuse_breaking(
    lifecycle: &Lifecycle,
    standing: &state::Deployment,
    bundle: &Bundle,
) -> Result<(), Failure> {
    let (_, text) = lifecycle
        .state
        .version(&standing.controller, &standing.active.version)
        .await
        .map_err(|error| refusal::of_deployment(&error))?;
    // It was a contract once; a later program that reads it otherwise does not
    // hold up the next version.
    let Ok(old) = Contract::parse(text.as_bytes(), "the version before") else {
        return Ok(());
    };
    let new = bundle.contract().clone();
    // Seconds, for schemas that were written to take long.
    let comparing =
        tokio::task::spawn_blocking(move || magic_contract::unannounced_break(&old, &new));
    match comparing.await.map_err(|error| cut_short(&error))? {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// Something of ours ended before its work did.
pub(super) fn cut_short(error: &impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::DeploymentFailed, "the deploy was cut short")
        .with_reason(Reason::Internal)
        .with_internal(error.to_string())
}

fn record(version: &Version, share: Share, allow_breaking: bool, actor: &Actor) -> Record {
    let mut record = Record {
        controller: Some(version.contract.name.to_string()),
        version: Some(version.contract.version.to_string()),
        caller: Some(actor.subject.clone()),
        ..Record::new(Kind::Deploy)
    }
    .with_field("digest", version.digest.clone())
    .with_field("allow_breaking", allow_breaking);
    if let Share::Canary { percent, .. } = share {
        record = record.with_field("canary_percent", percent);
    }
    match &actor.reason {
        Some(reason) => record.with_field("why", reason.clone()),
        None => record,
    }
}
