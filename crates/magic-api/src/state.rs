//! What the handlers share.

use std::path::Path;
use std::sync::Arc;

use magic_runtime::Runtime;
use magic_store::state::ApiKeys;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answered::Answered;
use crate::auth::authenticator::Authentication;
use crate::body::BodyLimits;
use crate::options::ApiOptions;

/// How many questions are looked up in the audit log at once. Each keeps a thread and a disk busy.
const AUDIT_READERS: usize = 2;

/// How many uploads are read at once. Further ones wait before their bodies are.
const UPLOADS: usize = 4;

/// Handed to every handler; a clone is a handle.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) runtime: Runtime,
    pub(crate) bodies: Arc<BodyLimits>,
    /// One permit for each client that follows a log.
    pub(crate) followers: Arc<Semaphore>,
    /// The folder of the audit log.
    pub(crate) audit_directory: Option<Arc<Path>>,
    /// One permit for each client whose question is being looked up in the audit log.
    pub(crate) audit_readers: Arc<Semaphore>,
    /// Where API keys are made and revoked.
    pub(crate) keys: Option<ApiKeys>,
    /// Who is let in, for routes that change it.
    pub(crate) authentication: Authentication,
    /// One permit for each upload that is read.
    pub(crate) uploads: Arc<Semaphore>,
    /// The open connections.
    pub(crate) connections: TaskTracker,
    /// What was answered, by status.
    pub(crate) answered: Answered,
    /// Cancelled when the server is told to stop; endless answers end then.
    pub(crate) stopping: CancellationToken,
}

impl ApiState {
    pub(crate) fn new(runtime: Runtime, options: &ApiOptions, stopping: CancellationToken) -> Self {
        Self {
            runtime,
            bodies: Arc::new(BodyLimits::of(options)),
            followers: Arc::new(Semaphore::new(options.followers)),
            audit_directory: options.audit_directory.as_deref().map(Arc::from),
            audit_readers: Arc::new(Semaphore::new(AUDIT_READERS)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            keys: options.keys.clone(),
            authentication: options.authentication.clone(),
            connections: TaskTracker::new(),
            answered: Answered::default(),
            stopping,
        }
    }
}
