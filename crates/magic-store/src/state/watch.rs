//! Hearing of changes, from whatever process they come.
//!
//! The numbers of the last change are read a few times a second, which costs one
//! row. That alone keeps the promise of a second, whatever stands in between; a
//! change of this process, and PostgreSQL's NOTIFY where it gets through, only
//! make it sooner. The same reading tells whether the database can be reached, so
//! that a node knows how old what it serves may be.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::{PgListener, PgPool};
use sqlx::{Executor, Row as _};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::open::{Inner, Pools};
use super::transaction::bounded;
use super::{State, StateError};

/// How long a change on another node stays unseen, at most, if nothing is lost.
const SQLITE_INTERVAL: Duration = Duration::from_millis(200);
const POSTGRES_INTERVAL: Duration = Duration::from_millis(500);

/// How long the database may take to say two numbers.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a listener that was lost waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);

/// The numbers of the last changes. They only grow, by one for each change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revision {
    /// Of what is deployed.
    pub generation: i64,
    /// Of the API keys.
    pub keys: i64,
}

/// Whether the database answers, as of the last time it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It does, without a gap since then.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// It does not; what is known may be as old as that.
    Lost {
        /// Since when.
        since: Timestamp,
    },
}

/// The task that asks, and what it has heard. It ends with its last handle.
#[derive(Debug)]
pub(super) struct Watching {
    revision: watch::Receiver<Revision>,
    link: watch::Receiver<Link>,
    nudge: Arc<Notify>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// Changes whenever what is deployed or the API keys have changed; a change
    /// of this node at once, one of another node within a second.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.watching.revision.clone()
    }

    /// Changes whenever the database was lost or is back.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.watching.link.clone()
    }

    /// Asks now for the numbers of the last changes.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn revision(&self) -> Result<Revision, StateError> {
        read(&self.inner).await
    }
}

impl Watching {
    /// Begins with what is there now.
    pub(super) async fn begin(inner: &Arc<Inner>) -> Result<Self, StateError> {
        let first = read(inner).await?;
        let (tell_revision, revision) = watch::channel(first);
        let since = Timestamp::now();
        let (tell_link, link) = watch::channel(Link::Connected { since });
        let nudge = Arc::new(Notify::new());
        let mut tasks = Vec::new();
        let interval = match &inner.pools {
            Pools::Sqlite { .. } => SQLITE_INTERVAL,
            Pools::Postgres(pool) => {
                let listening = tokio::spawn(listen(pool.clone(), Arc::clone(&nudge)));
                tasks.push(listening.abort_handle());
                POSTGRES_INTERVAL
            }
        };
        let asking = Asking {
            inner: Arc::clone(inner),
            nudge: Arc::clone(&nudge),
            interval,
            tell_revision,
            tell_link,
        };
        tasks.push(tokio::spawn(asking.run()).abort_handle());
        Ok(Self {
            revision,
            link,
            nudge,
            tasks,
        })
    }

    /// Ends what was begun.
    pub(super) fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    /// There is something new.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }
}

struct Asking {
    inner: Arc<Inner>,
    nudge: Arc<Notify>,
    interval: Duration,
    tell_revision: watch::Sender<Revision>,
    tell_link: watch::Sender<Link>,
}

impl Asking {
    async fn run(self) {
        loop {
            // Either is a reason to ask.
            let _ = tokio::time::timeout(self.interval, self.nudge.notified()).await;
            let since = Timestamp::now();
            match read(&self.inner).await {
                Ok(now) => {
                    self.tell_link.send_if_modified(|link| match link {
                        Link::Connected { .. } => false,
                        Link::Lost { .. } => {
                            tracing::info!("the runtime's state can be reached again");
                            *link = Link::Connected { since };
                            true
                        }
                    });
                    self.tell_revision.send_if_modified(|seen| {
                        let changed = *seen != now;
                        *seen = now;
                        changed
                    });
                }
                Err(error) => {
                    self.tell_link.send_if_modified(|link| match link {
                        Link::Lost { .. } => false,
                        Link::Connected { .. } => {
                            tracing::warn!(%error, "the runtime's state cannot be reached; what is deployed goes on being served");
                            *link = Link::Lost { since };
                            true
                        }
                    });
                }
            }
        }
    }
}

async fn read(inner: &Inner) -> Result<Revision, StateError> {
    let until = Instant::now() + PATIENCE.min(inner.call_limit);
    let step = "read the number of the last change";
    let failed = |error| StateError::of(step, error);
    match &inner.pools {
        Pools::Sqlite { readers, .. } => {
            let query = sqlx::query("SELECT generation, keys FROM revision");
            let row = bounded(until, step, readers.fetch_one(query)).await?;
            Ok(Revision {
                generation: row.try_get(0).map_err(failed)?,
                keys: row.try_get(1).map_err(failed)?,
            })
        }
        Pools::Postgres(pool) => {
            let query = sqlx::query("SELECT generation, keys FROM magic_state.revision");
            let row = bounded(until, step, pool.fetch_one(query)).await?;
            Ok(Revision {
                generation: row.try_get(0).map_err(failed)?,
                keys: row.try_get(1).map_err(failed)?,
            })
        }
    }
}

/// Hears PostgreSQL's notifications, as long as there are any to be had.
async fn listen(pool: PgPool, nudge: Arc<Notify>) {
    loop {
        if let Err(error) = listen_once(&pool, &nudge).await {
            tracing::debug!(%error, "no notifications of changes for now");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn listen_once(pool: &PgPool, nudge: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("magic_state").await?;
    while listener.try_recv().await?.is_some() {
        nudge.notify_one();
    }
    Ok(())
}
