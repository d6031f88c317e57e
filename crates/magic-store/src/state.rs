//! The runtime's durable state: what must be the same after a restart, and the
//! same on every node.
//!
//! One [`State`] stands before a SQLite file or a PostgreSQL database, which keep
//! the same tables and are asked with the same statements. What was acknowledged
//! is on stable storage. Every change of what is served or of who may call counts
//! up a number in the transaction that makes it, so whoever has seen a number has
//! seen everything below it; [`State::watch`] tells of new ones, from whatever
//! process they come.
//!
//! A node must go on serving when the database is away. So every call has a time
//! limit, [`StateError::is_unavailable`] tells a database that is away from one
//! that said no, and nothing here is needed to answer a request.

use std::sync::Arc;

mod backup;
mod batch;
mod bundles;
mod deployments;
mod error;
mod executions;
mod keys;
mod logs;
mod nodes;
mod open;
mod schema;
mod sqlite_file;
mod time;
mod transaction;
mod watch;
mod wheels;

pub use backup::BackupError;
pub use batch::{BATCH_BYTES, BATCH_LIMIT};
pub use bundles::{BUNDLE_LIMIT, Bundle, BundleError, bundle_digest};
pub use deployments::{
    Canary, CanaryShare, CannotMove, Deployment, DeploymentError, Difference, Event, EventKind,
    NewVersion, Outcome, Placed, Placement, Snapshot, StoredVersion,
};
pub use error::StateError;
pub use executions::Execution;
pub use keys::{
    ApiKey, ApiKeys, KeyError, KeyRate, KeyRefusal, KeyText, NewKey, NotAKey, StoredKey, is_key_id,
};
pub use logs::{KeptLine, LogFilter, LogPage, LogStart, PAGE_LIMIT, ShippedLine};
pub use nodes::{AuditHeadRefused, Heartbeat, Node, NodeAuditHead};
pub use open::{OpenError, StateOptions};
pub use watch::{Link, Revision};
pub use wheels::{VersionWheel, WHEELS_LIMIT, WHEELS_OF_VERSION, WheelError};

use open::{Inner, Pools};
use time::moment;
use transaction::{Access, Transaction};
use watch::Watching;

/// The state; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
    watching: Arc<Watching>,
}

impl State {
    async fn begin(&self, access: Access) -> Result<Transaction, StateError> {
        Transaction::begin(&self.inner, access).await
    }

    /// Commits a change and tells whoever watches, here and elsewhere.
    async fn commit_and_tell(&self, mut transaction: Transaction) -> Result<(), StateError> {
        if transaction.is_postgres() {
            let tell = "SELECT pg_catalog.pg_notify('magic_state', '')";
            transaction.fetch("tell of a change", tell, &[]).await?;
        }
        let committed = transaction.commit().await;
        self.watching.nudge();
        committed
    }

    /// Closes every connection, once they are back; nothing more is heard of changes.
    pub async fn close(&self) {
        self.watching.stop();
        match &self.inner.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests of the binary use the rest")]
mod postgres_server;

#[cfg(test)]
mod tests;
