//! What the handlers share.

use std::sync::Arc;

use magic_runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::body::BodyLimits;
use crate::options::ApiOptions;

/// Handed to every handler; a clone is a handle.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) runtime: Runtime,
    pub(crate) bodies: Arc<BodyLimits>,
    /// One permit for each client that follows a log.
    pub(crate) followers: Arc<Semaphore>,
    /// Cancelled when the server is told to stop; endless answers end then.
    pub(crate) stopping: CancellationToken,
}

impl ApiState {
    pub(crate) fn new(runtime: Runtime, options: &ApiOptions, stopping: CancellationToken) -> Self {
        Self {
            runtime,
            bodies: Arc::new(BodyLimits::of(options)),
            followers: Arc::new(Semaphore::new(options.followers)),
            stopping,
        }
    }
}
