//! Removing from this node's disk what nothing uses any more.
//!
//! Bundles and packages are kept on disk so that interpreters can be shown them;
//! what is deployed is in the state, and is brought back from there when it is
//! wanted. So a folder may go as soon as nobody has a lease of it: no version
//! that serves, is tried or is being deployed, in this process or in another on
//! the same data folder. Packages take long to make, so those of versions that
//! the state knows stay for a roll-back. A folder that somebody has changed
//! stays for whoever wants to find out who did.

use super::Lifecycle;
use crate::bundle::keep;
use crate::runtime::Shared;
use magic_store::state::StateError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked, besides after a deploy that was refused.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Why it could not be tidied up now.
#[derive(Debug, thiserror::Error)]
enum HousekeepingError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the data folder: {0}")]
    Folder(#[from] io::Error),
}

/// Tidies up, for ever.
pub(super) async fn run(shared: &Arc<Shared>) {
    let Some(lifecycle) = &shared.lifecycle else {
        return;
    };
    loop {
        // Not at once: what an author works on is not in the state, and is about
        // to be deployed again.
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = lifecycle.untidy.notified() => {}
        }
        match tidy(shared, lifecycle).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed bundles and packages that nothing uses"),
            Err(error) => {
                tracing::debug!(%error, "what nothing uses any more could not be removed now");
            }
        }
    }
}

async fn tidy(shared: &Shared, lifecycle: &Lifecycle) -> Result<usize, HousekeepingError> {
    let stay = lifecycle.state.packages_digests().await?;
    let packages = shared
        .packages
        .remove_unused(stay.into_iter().collect())
        .await?;
    let root = shared.bundles.clone();
    let removing =
        tokio::task::spawn_blocking(move || keep::remove_unused(&root, keep::has_digest));
    let bundles = removing.await.map_err(io::Error::other)??;
    Ok(packages.len() + bundles.len())
}
