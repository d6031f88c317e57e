//! The runtime as its callers hold it.

use crate::bundle::{Bundle, keep};
use crate::cleanup::Cleaner;
use crate::deploy::{self, Deployed, Inspection};
use crate::deployment::Deployment;
use crate::history::History;
use crate::interpreter::{Interpreter, InterpreterError};
use crate::launcher::Launcher;
use crate::leaves::Leaves;
use crate::lifecycle::{self, Actor, DeployOrder, Lifecycle, Moved, Versions};
use crate::options::RuntimeOptions;
use crate::packages::PackageStore;
use crate::policies::{PolicyCell, PolicyChange};
use crate::registry::Registry;
use crate::request::{Answer, Failed, Request};
use crate::sdk::{self, SdkError};
use crate::self_test::{self, LayerState, SelfTest};
use crate::services::Working;
use crate::summary::{
    ControllerDetail, ControllerInterface, ControllerSummary, Readiness, Unserved,
};
use crate::template::Template;
use crate::triggers::{self, Triggers};
use crate::version::{self, Version};
use crate::{confinement, folder, invoke, levels, metrics};
use magic_broker::db::Access;
use magic_broker::{Capabilities, GrantSource, RequestFacts};
use magic_contract::{
    CapabilityKind, ErrorCode, Explanation, Failure, NamedTarget, Policy, Reason,
};
use magic_sandbox::{GroupError, Groups, Level, Spawner};
use magic_store::{Kind, Record, RunLogLimits, RunLogs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;

mod ending;
mod versions;

/// A running runtime. Clones are the same runtime.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
}

/// What every part of the runtime shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) launcher: Arc<Launcher>,
    /// The policy in force.
    pub(crate) policies: Arc<PolicyCell>,
    /// Where bundles are kept.
    pub(crate) bundles: PathBuf,
    /// Where the packages of controllers come from and are kept.
    pub(crate) packages: PackageStore,
    /// Places for requests of all controllers.
    pub(crate) places: Arc<Semaphore>,
    /// Back ends and audit log, of a runtime that serves.
    pub(crate) services: Option<Working>,
    /// What is deployed, by the state; without one, only folders are served.
    pub(crate) lifecycle: Option<Lifecycle>,
    /// What is kept of the past, in the state.
    pub(crate) history: Option<Arc<History>>,
    /// What starts controllers besides HTTP.
    pub(crate) triggers: Triggers,
    /// What requests still do when nobody waits for them any more.
    pub(crate) closings: TaskTracker,
    /// New work that is not a request is refused.
    leaving: AtomicBool,
    /// Requests are refused too.
    draining: AtomicBool,
    /// What scrapes asked of back ends.
    pub(crate) asked: metrics::Asked,
    /// What the last self-test found.
    layers: std::sync::Mutex<Vec<LayerState>>,
    /// Held by the self-test that runs: one at a time, however many ask.
    testing: Arc<Mutex<()>>,
}

impl Shared {
    /// The sessions of one request of a version.
    pub(crate) fn capabilities(
        &self,
        version: &Version,
        request: &Request,
        deadline: tokio::time::Instant,
    ) -> Capabilities {
        let Some(services) = &self.services else {
            return Capabilities::none();
        };
        let grant = version.current();
        let policy = grant.policy();
        let facts = RequestFacts {
            controller: version.contract.name.clone(),
            effects: version.contract.effects,
            access: Access {
                write: grant.check(CapabilityKind::DbWrite).is_ok(),
                raw: grant.check(CapabilityKind::DbRawsql).is_ok(),
            },
            rows: version::rows(&grant, policy.limits.rows),
            deadline,
            temporary: version.temporary_bytes.map(|_| confinement::TEMPORARY),
            acknowledges: request
                .started_by
                .as_ref()
                .map(|message| message.acknowledges.clone()),
            trace: request.trace.clone(),
        };
        Capabilities::of(&services.backends, facts)
    }

    /// Records what is not part of any request; without an audit log, nothing.
    pub(crate) fn record(&self, record: &Record) {
        if let Some(services) = &self.services {
            // Nobody waits for it; a log that has stopped says so by itself.
            let _ = services.audit.append(record);
        }
    }

    /// Records durably that something is about to be changed for good.
    ///
    /// # Errors
    ///
    /// E4005 when it cannot be recorded; then it must not be changed.
    pub(crate) async fn announce(&self, what: &str, about: &Record) -> Result<(), Failure> {
        let mut intent = about.clone();
        intent.kind = Kind::Intent;
        intent.method = Some(what.to_owned());
        self.record_durably(&intent).await
    }

    /// Records, and waits until the record is durable.
    ///
    /// # Errors
    ///
    /// E4005 when the log does not take it.
    pub(crate) async fn record_durably(&self, record: &Record) -> Result<(), Failure> {
        let Some(services) = &self.services else {
            return Ok(());
        };
        let durable = services.audit.append(record).durable().await;
        durable.map(drop).map_err(|why| {
            Failure::new(
                ErrorCode::DeploymentFailed,
                "the audit log does not take the record of this change; see to its disk, then start the runtime anew",
            )
            .with_reason(Reason::Store)
            .with_internal(why.to_string())
        })
    }

    /// A version put into service; with the template of its trial, if there was one.
    pub(crate) fn deployment(
        &self,
        version: Arc<Version>,
        template: Option<Arc<Template>>,
    ) -> Deployment {
        Deployment::new(&self.launcher, version, self.places.clone(), template)
    }

    /// Every version that serves.
    pub(crate) fn deployments(&self) -> Vec<Arc<Deployment>> {
        let serving = self.registry.all();
        serving
            .iter()
            .flat_map(|serving| serving.deployments().cloned())
            .collect()
    }

    /// The layers as the last self-test found them.
    pub(crate) fn tested_layers(&self) -> Vec<LayerState> {
        self.tested().clone()
    }

    fn tested(&self) -> std::sync::MutexGuard<'_, Vec<LayerState>> {
        self.layers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Why the runtime refuses to start. Each says which, why, and what to type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory `{}` cannot be used: {source}; name another with --data-dir", path.display())]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No interpreter.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The SDK could not be laid out.
    #[error(transparent)]
    Sdk(#[from] SdkError),
    /// The thread that starts sandboxes could not be made.
    #[error("the spawning thread could not be started: {0}")]
    Spawner(#[source] io::Error),
    /// Control groups are required and not to be had.
    #[error("control group limits are required by the policy and not available: {}", .0.explanation())]
    Groups(#[from] GroupError),
    /// A required layer does not stand.
    #[error("the sandbox does not stand on this host: {0}")]
    Sandbox(String),
}

impl Runtime {
    /// Starts a runtime, and proves that its sandbox stands by running a
    /// program in it.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind then.
    pub async fn start(options: RuntimeOptions) -> Result<Self, StartError> {
        let RuntimeOptions {
            data_directory,
            interpreter,
            wheels,
            policy,
            limits,
            services,
        } = options;
        let unusable = |source| StartError::DataDirectory {
            path: data_directory.clone(),
            source,
        };
        folder::create_private(&data_directory).map_err(unusable)?;
        let data_directory = data_directory.canonicalize().map_err(unusable)?;
        let bundles = data_directory.join("bundles");
        folder::create_private(&bundles).map_err(unusable)?;
        let packages = data_directory.join("packages");
        folder::create_private(&packages).map_err(unusable)?;
        for kept in [&bundles, &packages] {
            if let Err(error) = keep::sweep(kept) {
                tracing::warn!(%error, "what a deploy left half-written could not be removed");
            }
        }
        let interpreter = Interpreter::find(interpreter.as_deref())?;
        let sdk = sdk::lay_out(&data_directory, &interpreter)?;
        let layers = levels::of(&policy);
        let leaves = Arc::new(Leaves::new(groups(layers.cgroup_limits)?));
        let places = Arc::new(Semaphore::new(limits.total_concurrency as usize));
        let history = services.as_ref().and_then(|services| {
            let state = services.state.clone()?;
            let node = services.node.clone();
            Some(Arc::new(History::new(state, node, services.retention)))
        });
        let logs = match &history {
            Some(history) => RunLogs::with_outlet(RunLogLimits::default(), history.outlet()),
            None => RunLogs::new(RunLogLimits::default()),
        };
        let launcher = Launcher {
            spawner: Spawner::start().map_err(StartError::Spawner)?,
            cleaner: Cleaner::new(leaves.clone()),
            leaves,
            interpreter,
            sdk,
            layers,
            logs,
            privileged: rustix::process::geteuid().is_root(),
            exit_information: AtomicBool::new(false),
            next_uid: AtomicU32::new(first_uid(limits.uid_count)),
            limits,
        };
        let lifecycle = services.as_ref().and_then(|services| {
            let state = services.state.clone()?;
            Some(Lifecycle::new(state, services.node.clone()))
        });
        let state = services
            .as_ref()
            .and_then(|services| services.state.clone());
        if let (Some(history), Some(services)) = (&history, &services) {
            history.start(services.audit.clone());
        }
        let shared = Shared {
            history,
            registry: Registry::default(),
            launcher: Arc::new(launcher),
            policies: Arc::new(PolicyCell::new(policy)),
            bundles,
            packages: PackageStore::new(packages, wheels, state),
            places,
            lifecycle,
            services: services.map(Working::start),
            triggers: Triggers::new(),
            closings: TaskTracker::new(),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            asked: metrics::Asked::default(),
            layers: std::sync::Mutex::default(),
            testing: Arc::default(),
        };
        let runtime = Self {
            shared: Arc::new(shared),
        };
        let test = runtime.self_test().await;
        match test.failure {
            None => Ok(runtime),
            Some(failure) => {
                runtime.stop().await;
                Err(StartError::Sandbox(failure))
            }
        }
    }

    /// Puts the controller in `folder` into service. The same content again
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// E4001 for the folder, E1001, E1002 or E1005 for the contract, E2002 for
    /// the policy, E4002 for the import, E4005 for the runtime itself.
    pub async fn deploy(&self, folder: &Path) -> Result<Deployed, Failure> {
        deploy::deploy_folder(&self.shared, folder).await
    }

    /// From now on messages start controllers, those in service and those that
    /// are deployed later, as their contracts say. A runtime that runs one
    /// request and ends does not call this.
    pub fn start_triggers(&self) {
        triggers::start(&self.shared);
    }

    /// Imports the controller in `folder` in a sandbox and says what it is.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::deploy`].
    pub async fn inspect(&self, folder: &Path) -> Result<Inspection, Failure> {
        deploy::inspect(&self.shared, folder).await
    }

    /// Takes a controller out of service; requests in flight end as they began.
    /// Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.shared.registry.remove(name)
    }

    /// The controllers in service, by name.
    pub fn controllers(&self) -> Vec<ControllerSummary> {
        self.shared
            .registry
            .all()
            .iter()
            .map(|serving| ControllerSummary::of(serving))
            .collect()
    }

    /// What the controllers in service take and give, by name.
    pub fn interfaces(&self) -> Vec<ControllerInterface> {
        let serving = self.shared.registry.all();
        serving
            .iter()
            .map(|one| ControllerInterface::of(one))
            .collect()
    }

    /// One controller in service.
    pub fn controller(&self, name: &str) -> Option<ControllerDetail> {
        self.shared
            .registry
            .get(name)
            .map(|serving| ControllerDetail::of(&serving))
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policies.current()
    }

    /// Puts another policy in force. It holds for every capability call that
    /// begins after this, in requests that run already, too; calls that have
    /// begun end under the policy they began with. Versions in service stay
    /// there, whatever the policy says of them; what it refuses them is E2002.
    ///
    /// The sandbox's layers follow a new policy after a restart only, and
    /// isolation for versions that are deployed from now on.
    pub fn set_policy(&self, policy: Policy) -> PolicyChange {
        let new = Arc::new(policy);
        let old = self.shared.policies.replace(Arc::clone(&new));
        let serving = self.shared.deployments();
        let versions = serving.iter().map(|deployment| &*deployment.version);
        let change = PolicyChange::between(&old, &new, versions);
        change.log();
        if change.is_change() {
            let record = Record::new(Kind::Policy)
                .with_field("policy", change.name.clone())
                .with_field("old_hash", change.old_hash.clone())
                .with_field("new_hash", change.new_hash.clone());
            self.shared.record(&record);
        }
        change
    }

    /// Records what happened outside of any request's execution, such as a
    /// caller who was refused; without an audit log, nothing. Nobody waits for
    /// it to be on stable storage.
    pub fn record(&self, record: &Record) {
        self.shared.record(record);
    }

    /// Why a controller in service may or may not do something, under the
    /// policy in force.
    ///
    /// # Errors
    ///
    /// E4004 if no such controller serves.
    pub fn explain(
        &self,
        controller: &str,
        capability: CapabilityKind,
        target: Option<&NamedTarget>,
    ) -> Result<Explanation, Failure> {
        let deployment = self.shared.registry.active(controller)?;
        Ok(self
            .policy()
            .explain(deployment.contract(), capability, target))
    }

    /// Runs one request. Dropping the future cancels it and ends its process.
    ///
    /// # Errors
    ///
    /// [`Failed`] with exactly one code of the catalogue.
    pub async fn invoke(&self, request: Request) -> Result<Answer, Failed> {
        invoke::invoke(&self.shared, request).await
    }

    /// What controllers wrote on this node, as long as it is in memory.
    pub fn logs(&self) -> &RunLogs {
        &self.shared.launcher.logs
    }

    /// What a scrape sees.
    pub async fn metrics(&self) -> Vec<metrics::Family> {
        metrics::families(&self.shared).await
    }

    /// Whether requests are served, and if not, why.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.shared.is_leaving() {
            reasons.push("draining".to_owned());
        }
        if let Some(services) = &self.shared.services {
            if let Err(why) = services.audit.health() {
                reasons.push(why.to_string());
            }
            if !services.backends.database.is_sound() {
                reasons.push(
                    "the database could not make a commit durable; see to its disk, then start the runtime anew"
                        .to_owned(),
                );
            }
            if !services.backends.queues.is_sound() {
                reasons.push(
                    "the queues could not be written; see to their disk, then start the runtime anew".to_owned(),
                );
            }
        }
        let notes = self
            .shared
            .history
            .as_ref()
            .and_then(|history| history.told_losses())
            .into_iter()
            .collect();
        Readiness {
            ready: reasons.is_empty(),
            reasons,
            notes,
        }
    }

    /// Runs a program in the sandbox that tries to leave it.
    ///
    /// A test that has begun goes on when the future is dropped, since its
    /// process and its group are taken back at its end.
    ///
    /// # Panics
    ///
    /// If the test does.
    pub async fn self_test(&self) -> SelfTest {
        let turn = self.shared.testing.clone().lock_owned().await;
        let launcher = self.shared.launcher.clone();
        let test = tokio::spawn(async move {
            let _turn = turn;
            self_test::run(&launcher).await
        });
        match test.await {
            Ok(found) => {
                *self.shared.tested() = found.layers.clone();
                found
            }
            // Nobody aborts it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Where this supervisor begins to count host uids: two supervisors on one host
/// are unlikely to give out the same ones, and by far not at the same time.
fn first_uid(count: u32) -> u32 {
    std::process::id().wrapping_mul(1_000) % count
}

/// The groups of this supervisor, or none where the policy can live without.
fn groups(level: Level) -> Result<Option<Groups>, StartError> {
    if level == Level::Off {
        return Ok(None);
    }
    match Groups::discover("runtime") {
        Ok(groups) => Ok(Some(groups)),
        Err(error) if level == Level::BestEffort => {
            tracing::warn!(
                "no control groups here: memory is limited per process only, processor time not at all, and \
                 every request gets a fresh interpreter, since only that can be ended with all it started. {}",
                error.explanation()
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
