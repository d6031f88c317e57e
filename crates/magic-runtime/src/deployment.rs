//! One controller that serves: its version, its door, its stock.

use crate::admission::Admission;
use crate::launcher::Launcher;
use crate::stock::Stock;
use crate::template::Template;
use crate::version::Version;
use magic_contract::Contract;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A version in service. Dropping the last reference ends its processes;
/// requests in flight hold one.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) version: Arc<Version>,
    pub(crate) admission: Admission,
    pub(crate) stock: Stock,
    pub(crate) deployed_at: jiff::Timestamp,
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
            .map_or(limits.concurrency, std::num::NonZero::get);
        Self {
            admission: Admission::new(
                all,
                own.min(limits.concurrency),
                limits.queue,
                limits.queue_wait,
            ),
            stock: Stock::new(launcher.clone(), version.clone(), template),
            version,
            deployed_at: jiff::Timestamp::now(),
        }
    }

    /// The contract.
    pub(crate) fn contract(&self) -> &Contract {
        &self.version.contract
    }
}
