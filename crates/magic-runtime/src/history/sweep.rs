//! Forgetting what is old, now and then.
//!
//! Every node does it: what one has swept, the next one does not find.

use super::History;
use magic_store::state::StateError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often. The first time soon after the start.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
const FIRST: Duration = Duration::from_secs(30);

/// A bundle, or a wheel, that no version has was left by a deploy that did not end; one that
/// goes on is younger than this.
const UNUSED_BUNDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// A node that was not heard for so long is gone.
const SILENT_NODE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many executions are kept at most, whatever their age.
const EXECUTIONS: u32 = 1_000_000;

/// Sweeps, for ever.
pub(super) async fn run(history: Arc<History>) {
    sleep(FIRST).await;
    loop {
        if let Err(error) = sweep(&history).await {
            tracing::debug!(%error, "what is old could not be forgotten now");
        }
        sleep(SWEEP_EVERY).await;
    }
}

async fn sweep(history: &History) -> Result<(), StateError> {
    let state = &history.state;
    let retention = history.retention;
    while state.sweep_logs(retention.logs).await? > 0 {}
    while state
        .sweep_executions(retention.executions, EXECUTIONS)
        .await?
        > 0
    {}
    while state.sweep_bundles(UNUSED_BUNDLE).await? > 0 {}
    while state.sweep_wheels(UNUSED_BUNDLE).await? > 0 {}
    state.sweep_nodes(SILENT_NODE).await?;
    Ok(())
}
