//! The end of a runtime, in three steps: no new work that is not a request, no new requests, nothing.

use super::Runtime;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the end of the last processes is waited for.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How long the last commits are waited for: they have limits of their own,
/// which this exceeds.
const CLOSE: Duration = Duration::from_secs(30);

impl Runtime {
    /// Is not ready any more, takes no further message and no deploy, but goes on
    /// answering requests: those that are still on their way on connections that
    /// were accepted are nobody else's to answer.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Ordering::Release);
        self.shared.triggers.stop();
    }

    /// Admits nobody any more and waits at most `patience` for the requests that
    /// run. Whoever is still waiting for an answer then is to be cut off before
    /// [`Runtime::stop`].
    pub async fn drain(&self, patience: Duration) {
        self.leave();
        self.shared.draining.store(true, Ordering::Release);
        let until = tokio::time::Instant::now() + patience;
        let all = u32::try_from(self.shared.places.available_permits()).unwrap_or(u32::MAX);
        let total = self.shared.launcher.limits.total_concurrency.max(all);
        // Every place is free when nobody runs.
        let everybody = self.shared.places.clone().acquire_many_owned(total);
        if tokio::time::timeout(patience, everybody).await.is_err() {
            tracing::warn!("requests still ran at the end of the grace period; they are ended");
        }
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        self.shared.triggers.finish(left).await;
    }

    /// Ends every process and removes every control group, then lets go of the
    /// back ends and closes the audit log: after everything that could still
    /// want to write to them, undone and unrecorded requests included.
    pub async fn stop(&self) {
        self.leave();
        self.shared.draining.store(true, Ordering::Release);
        self.shared.triggers.finish(Duration::ZERO).await;
        for serving in self.shared.registry.all() {
            self.shared
                .registry
                .remove(serving.active.contract().name.as_str());
        }
        if tokio::time::timeout(CLEAN_UP, self.shared.launcher.cleaner.finished())
            .await
            .is_err()
        {
            tracing::warn!("cleaning up did not end within {CLEAN_UP:?}");
        }
        self.shared.closings.close();
        if tokio::time::timeout(CLOSE, self.shared.closings.wait())
            .await
            .is_err()
        {
            tracing::error!("requests were still committing or undoing after {CLOSE:?}");
        }
        if let Some(services) = &self.shared.services {
            services.stop().await;
            if let Some(history) = &self.shared.history {
                history.stop(&services.audit).await;
            }
        }
        if let Some(lifecycle) = &self.shared.lifecycle {
            lifecycle.state.close().await;
        }
        let launcher = self.shared.launcher.clone();
        let removed = tokio::task::spawn_blocking(move || launcher.leaves.remove_all()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "control groups were left behind");
        }
    }
}
