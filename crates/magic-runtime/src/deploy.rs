//! From a folder to a version in service.
//!
//! read the bundle -> keep it -> judge it under the policy -> provide its packages -> import it in a
//! sandbox without capabilities -> switch the pointer. Each step refuses with
//! its own code, and until the last one nothing that serves has changed.

use crate::bundle::{Bundle, KeepError};
use crate::control::Entry;
use crate::deployment::Deployment;
use crate::load_failure;
use crate::policies::Rights;
use crate::runtime::Shared;
use crate::template::Template;
use crate::triggers;
use crate::version::{self, Version};
use magic_contract::{Diagnostics, Environment, ErrorCode, Failure, Grant, Isolation, Reason};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a deploy did.
#[derive(Debug, Clone, Serialize)]
pub struct Deployed {
    /// The controller's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its files, in hexadecimal.
    pub digest: String,
    /// Whether anything changed: the same content again is no change.
    pub changed: bool,
    /// What the author should know; does not stop the deploy.
    #[serde(skip)]
    pub warnings: Diagnostics,
}

/// What a trial import found.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The controller's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The entry point.
    pub entry: Entry,
    /// Why requests of this version are served by fresh interpreters, if the
    /// contract does not ask for that itself.
    pub unforkable: Option<String>,
}

/// Where a controller's files are.
pub(crate) enum Source {
    /// In a folder, to be read.
    Folder(PathBuf),
    /// In hand.
    Bundle(Box<Bundle>),
}

impl Source {
    fn read(self) -> Result<Bundle, Failure> {
        match self {
            Self::Folder(folder) => Bundle::read(&folder),
            Self::Bundle(bundle) => Ok(*bundle),
        }
    }
}

/// Puts a controller into service.
pub(crate) async fn deploy(shared: &Arc<Shared>, source: Source) -> Result<Deployed, Failure> {
    let (version, template) = trial(shared, source, true).await?;
    let contract = &version.contract;
    let mut deployed = Deployed {
        name: contract.name.to_string(),
        version: contract.version.to_string(),
        digest: version.digest.clone(),
        changed: true,
        warnings: contract.warnings.clone(),
    };
    let Some(template) = template else {
        deployed.changed = false;
        return Ok(deployed);
    };
    let version = Arc::new(version);
    let deployment = Deployment::new(
        &shared.launcher,
        version,
        shared.places.clone(),
        Some(template),
    );
    let deployment = Arc::new(deployment);
    // Whatever served before ends when its last request does.
    drop(shared.registry.put(deployment.clone()));
    triggers::follow(shared, &deployment);
    tracing::info!(
        controller = deployed.name,
        version = deployed.version,
        digest = deployed.digest,
        "deployed"
    );
    Ok(deployed)
}

/// Imports the controller in `folder` without putting it into service.
pub(crate) async fn inspect(shared: &Shared, folder: &Path) -> Result<Inspection, Failure> {
    let source = Source::Folder(folder.to_owned());
    let (version, template) = trial(shared, source, false).await?;
    let template = template.expect("an inspection always imports");
    Ok(Inspection {
        name: version.contract.name.to_string(),
        version: version.contract.version.to_string(),
        entry: template
            .entry
            .clone()
            .expect("a loaded template has an entry point"),
        unforkable: template.unforkable.clone(),
    })
}

/// Everything before the switch. No template means that this content, under
/// this name, is in service already.
async fn trial(
    shared: &Shared,
    source: Source,
    may_stand: bool,
) -> Result<(Version, Option<Arc<Template>>), Failure> {
    let bundles = shared.bundles.clone();
    let (bundle, kept) = tokio::task::spawn_blocking(move || {
        let bundle = source.read()?;
        let kept = bundle.keep(&bundles).map_err(|error| {
            let message = match error {
                KeepError::Write { .. } => "the bundle could not be kept",
                KeepError::Changed(_) => {
                    "the kept files of this bundle were changed on disk; the log says which"
                }
            };
            Failure::new(ErrorCode::DeploymentFailed, message)
                .with_reason(Reason::Store)
                .with_internal(error.to_string())
        })?;
        Ok::<_, Failure>((bundle, kept))
    })
    .await
    .map_err(|error| {
        Failure::new(
            ErrorCode::DeploymentFailed,
            "reading the bundle was cut short",
        )
        .with_reason(Reason::Internal)
        .with_internal(error.to_string())
    })??;
    let policy = shared.policies.current();
    let grant = Grant::derive_under(&bundle.contract, &policy);
    if let Some(refusal) = combined(grant.refusals()) {
        return Err(refusal);
    }
    let packages = match bundle.requirements() {
        Some(content) => {
            let hashed = policy.environment == Environment::Production;
            shared
                .packages
                .provide(&shared.launcher, content, hashed)
                .await?
        }
        None => None,
    };
    let temporary_bytes = version::temporary_bytes(&grant, policy.limits.temp_bytes);
    let pristine = policy.isolation == Isolation::Pristine
        // Without a group, what a fork leaves behind outlives its request; a
        // namespace of its own ends with it.
        || !shared.launcher.leaves.enforced()
        // A writable directory is emptied by ending the mount namespace that it
        // lies in; one that forks shared would have to be emptied from outside,
        // by names that hostile code has written.
        || temporary_bytes.is_some();
    let version = Version {
        isolation: if pristine {
            Isolation::Pristine
        } else {
            bundle.contract.isolation
        },
        contract: bundle.contract,
        rights: Rights::new(shared.policies.clone(), grant),
        digest: bundle.digest,
        folder: kept,
        packages,
        temporary_bytes,
    };
    let standing = shared.registry.get(version.contract.name.as_str());
    if may_stand && standing.is_some_and(|standing| standing.version.is_same_as(&version)) {
        return Ok((version, None));
    }
    let template = Template::launch(&shared.launcher, &version)
        .await
        .map_err(|error| load_failure::at_deploy(&error))?;
    Ok((version, Some(template)))
}

/// All refusals of a policy in one answer, the first as its message.
fn combined(refusals: &[Failure]) -> Option<Failure> {
    let mut first = refusals.first()?.clone();
    if refusals.len() > 1 {
        let messages: Vec<_> = refusals
            .iter()
            .map(|refusal| json!(refusal.message))
            .collect();
        first = first.with_detail("refusals", json!(messages));
    }
    Some(first)
}
