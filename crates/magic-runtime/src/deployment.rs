//! One controller that serves: its version, its door, its stock.

use crate::admission::Admission;
use crate::launcher::Launcher;
use crate::stock::Stock;
use crate::template::Template;
use crate::version::Version;
use magic_contract::Contract;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A version in service. Dropping the last reference ends its processes;
/// requests in flight hold one.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) version: Arc<Version>,
    pub(crate) admission: Admission,
    pub(crate) stock: Stock,
    pub(crate) deployed_at: jiff::Timestamp,
    /// How many requests it runs at once.
    pub(crate) concurrency: u32,
    /// Whether its triggers have been started.
    pub(crate) followed: AtomicBool,
    /// It is not in service any more; what is left finishes.
    pub(crate) withdrawn: CancellationToken,
}

impl Deployment {
    /// Puts a version into service, with the template of its trial.
    pub(crate) fn new(
        launcher: &Arc<Launcher>,
        version: Arc<Version>,
        all: Arc<Semaphore>,
        template: Option<Arc<Template>>,
    ) -> Self {
        let limits = &launcher.limits;
        let own = version
            .contract
            .concurrency
            .map_or(limits.concurrency, std::num::NonZero::get)
            .min(limits.concurrency);
        Self {
            admission: Admission::new(all, own, limits.queue, limits.queue_wait),
            stock: Stock::new(launcher.clone(), version.clone(), template),
            version,
            deployed_at: jiff::Timestamp::now(),
            concurrency: own,
            followed: AtomicBool::new(false),
            withdrawn: CancellationToken::new(),
        }
    }

    /// The contract.
    pub(crate) fn contract(&self) -> &Contract {
        &self.version.contract
    }
}
