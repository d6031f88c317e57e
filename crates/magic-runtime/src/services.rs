//! What a runtime that serves has beside its sandbox: back ends, and the log of
//! what was done with them.

use crate::history::Retention;
use magic_broker::db::Idempotency;
use magic_broker::{Backends, Deliverer, SpanSink};
use magic_store::state::State;
use magic_store::{AuditLog, Kind, Record};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The back ends of capabilities and the audit log; opened by the composition
/// root, which knows the settings.
#[derive(Debug, Clone)]
pub struct Services {
    /// What capability calls are performed with.
    pub backends: Backends,
    /// Where they are recorded.
    pub audit: AuditLog,
    /// What is deployed, and who may call; `None` for a single run.
    pub state: Option<State>,
    /// This node's name.
    pub node: String,
    /// How long what is kept of the past is kept.
    pub retention: Retention,
    /// Who takes the spans of requests; `None` where nobody traces.
    pub spans: Option<Arc<dyn SpanSink>>,
}

/// Services at work.
#[derive(Debug)]
pub(crate) struct Working {
    pub(crate) backends: Backends,
    pub(crate) audit: AuditLog,
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) spans: Option<Arc<dyn SpanSink>>,
    delivering: JoinHandle<()>,
    sweeping: JoinHandle<()>,
}

/// How often answers whose time is over are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Removes stored answers that nobody can ask for any more.
async fn sweep(keys: Idempotency) {
    loop {
        match keys.sweep().await {
            // A full sweep may have left some.
            Ok(swept) if swept > 0 => continue,
            Ok(_) => {}
            Err(failure) => tracing::warn!(
                internal = failure.internal,
                "old answers could not be removed: {}",
                failure.message
            ),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

impl Working {
    /// Begins to deliver what waits in the outbox.
    pub(crate) fn start(services: Services) -> Self {
        let Services {
            backends,
            audit,
            spans,
            ..
        } = services;
        let deliverer = Arc::new(Deliverer::new(
            backends.database.outbox(),
            backends.queues.clone(),
            backends.cache.clone(),
        ));
        let own = deliverer.clone();
        let delivering = tokio::spawn(async move { own.run().await });
        let sweeping = tokio::spawn(sweep(backends.database.idempotency()));
        let _ = audit.append(&Record::new(Kind::Start));
        Self {
            backends,
            audit,
            deliverer,
            spans,
            delivering,
            sweeping,
        }
    }

    /// Ends delivering and closes the log. What is not delivered stays in the
    /// outbox for the next start.
    pub(crate) async fn stop(&self) {
        self.delivering.abort();
        self.sweeping.abort();
        let _ = self.audit.append(&Record::new(Kind::Stop));
        if let Err(error) = self.audit.close().await {
            tracing::error!(%error, "the audit log did not end in order");
        }
        self.backends.database.close().await;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.delivering.abort();
        self.sweeping.abort();
    }
}
