//! From a controller's files to a version that has been imported once.
//!
//! read the bundle -> keep it -> judge it under the policy -> provide its packages -> import it in a
//! sandbox without capabilities. Each step refuses with its own code, and nothing that serves changes. A folder that an author
//! works in is put into service straight from here, for as long as this runtime lives; what is uploaded goes on through
//! `lifecycle`.

use crate::bundle::{Bundle, KeepError};
use crate::control::Entry;
use crate::load_failure;
use crate::packages::{Manifest, PackageOrder};
use crate::policies::Rights;
use crate::registry::{Origin, Serving};
use crate::runtime::Shared;
use crate::template::Template;
use crate::triggers;
use crate::version::{self, Version};
use magic_contract::{Diagnostics, Environment, ErrorCode, Failure, Grant, Isolation, Reason};
use magic_store::state::VersionWheel;
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

/// Puts the controller in a folder into service, in place of whatever served
/// under its name: what an author works on comes before what was deployed once.
pub(crate) async fn deploy_folder(
    shared: &Arc<Shared>,
    folder: &Path,
) -> Result<Deployed, Failure> {
    let source = Source::Folder(folder.to_owned());
    let version = Arc::new(prepare(shared, source, Under::deploy(None)).await?);
    let standing = shared.registry.get(version.contract.name.as_str());
    let is_there = |standing: &Serving| {
        standing.origin == Origin::Folder && standing.active.version.is_same_as(&version)
    };
    if standing.is_some_and(|standing| is_there(&standing)) {
        return Ok(Deployed::of(&version, false));
    }
    let template = import(shared, &version).await?;
    let deployment = Arc::new(shared.deployment(version.clone(), Some(template)));
    // Whatever served before ends when its last request does.
    shared
        .registry
        .put(Serving::from_folder(deployment.clone()));
    triggers::follow(shared, &deployment);
    let deployed = Deployed::of(&version, true);
    tracing::info!(
        controller = deployed.name,
        version = deployed.version,
        digest = deployed.digest,
        "deployed from a folder"
    );
    Ok(deployed)
}

impl Deployed {
    pub(crate) fn of(version: &Version, changed: bool) -> Self {
        let contract = &version.contract;
        Self {
            name: contract.name.to_string(),
            version: contract.version.to_string(),
            digest: version.digest.clone(),
            changed,
            warnings: contract.warnings.clone(),
        }
    }
}

/// Imports the controller in `folder` without putting it into service.
pub(crate) async fn inspect(shared: &Shared, folder: &Path) -> Result<Inspection, Failure> {
    let source = Source::Folder(folder.to_owned());
    let version = prepare(shared, source, Under::deploy(None)).await?;
    let template = import(shared, &version).await?;
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

/// What a version must satisfy.
#[derive(Debug)]
pub(crate) struct Under {
    /// Whether the policy judges it. One that became stricter refuses the calls of
    /// a version that serves, and not the version.
    judged: bool,
    /// What is known of it, if it was accepted once.
    accepted: Option<Accepted>,
}

/// What a version had when it was accepted, and therefore has for ever.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Whether it has packages.
    pub(crate) with_packages: bool,
    /// The wheels that they are made of, as far as the state has them.
    pub(crate) wheels: Vec<VersionWheel>,
}

impl Under {
    /// A version to deploy, perhaps again.
    pub(crate) fn deploy(accepted: Option<Accepted>) -> Self {
        let judged = true;
        Self { judged, accepted }
    }

    /// A version that somebody has deployed.
    pub(crate) fn follow(accepted: Accepted) -> Self {
        Self {
            judged: false,
            accepted: Some(accepted),
        }
    }

    /// The packages to provide for it.
    fn packages(self, bundle: &Bundle, environment: Environment) -> Option<PackageOrder> {
        let manifest = Manifest::of(bundle);
        let hashed = self.judged && environment == Environment::Production;
        match self.accepted {
            None => Some(PackageOrder {
                manifest,
                hashed,
                carried: Vec::new(),
            }),
            Some(accepted) if accepted.with_packages => Some(PackageOrder {
                manifest: manifest.before_uv_was_read(),
                hashed,
                carried: accepted.wheels,
            }),
            Some(_) => None,
        }
    }
}

/// Everything that can be said of a version without running it.
///
/// # Errors
///
/// E4001, E1001, E1002, E1005, E2002 or E4005, as the step that refuses has it.
pub(crate) async fn prepare(
    shared: &Shared,
    source: Source,
    under: Under,
) -> Result<Version, Failure> {
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
    if under.judged
        && let Some(refusal) = combined(grant.refusals())
    {
        return Err(refusal);
    }
    let order = under.packages(&bundle, policy.environment);
    let packages = match order {
        Some(order) => shared.packages.provide(&shared.launcher, order).await?,
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
    Ok(Version {
        isolation: if pristine {
            Isolation::Pristine
        } else {
            bundle.contract.isolation
        },
        meters: Arc::new(crate::meters::Meters::new(&bundle.contract)),
        contract: bundle.contract,
        rights: Rights::new(shared.policies.clone(), grant),
        digest: bundle.digest,
        bundle: kept,
        packages,
        temporary_bytes,
    })
}

/// Imports a version in a sandbox without capabilities.
///
/// # Errors
///
/// E4002 with the author's traceback, or E4005.
pub(crate) async fn import(shared: &Shared, version: &Version) -> Result<Arc<Template>, Failure> {
    Template::launch(&shared.launcher, version)
        .await
        .map_err(|error| load_failure::at_deploy(&error))
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
