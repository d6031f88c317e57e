//! What one request may call: a session of each capability over back ends that
//! all requests share.
//!
//! The match in [`Capabilities::perform`] is the one way from a method to an
//! effect. It is exhaustive, so a method without a back end does not compile.
//!
//! The sessions of a request end together, in one of two ways. [`commit`]
//! makes rows, held effects and the stored answer durable in one transaction;
//! everything else, a dropped value included, undoes them. There is no third.
//!
//! [`commit`]: Capabilities::commit

use crate::cache::{Cache, CacheSession};
use crate::call::Call;
use crate::capability::Method;
use crate::db::{Access, Commit, CommitError, Database, DatabaseSession, IdempotentAnswer, Limits};
use crate::effects::{Effect, Held, HeldLimits};
use crate::files;
use crate::http::{Egress, EgressSession};
use crate::problem;
use crate::queue::{QueueSession, Queues};
use crate::secrets::{Redactor, Secrets, SecretsSession};
use crate::trace::{SpanId, TraceContext};
use magic_contract::{CapabilityKind, ControllerName, Effects, Failure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Rows that one call may return.
const ROWS_PER_CALL: u64 = 10_000;
/// Bytes of rows that one call may return: they share a frame with little else.
const BYTES_PER_CALL: u64 = 6 * 1024 * 1024;

/// The back ends of a runtime. Clones are the same back ends.
#[derive(Debug, Clone)]
pub struct Backends {
    /// The controllers' database, with the outbox.
    pub database: Database,
    /// Outbound HTTP.
    pub egress: Arc<Egress>,
    /// Where secrets come from.
    pub secrets: Secrets,
    /// The queues.
    pub queues: Queues,
    /// The cache.
    pub cache: Cache,
}

/// What the runtime knows of a request before it runs.
#[derive(Debug)]
pub struct RequestFacts {
    /// The controller, whose private queues and cache entries it may use.
    pub controller: ControllerName,
    /// When its effects take place.
    pub effects: Effects,
    /// Which rights to the database it has at all.
    pub access: Access,
    /// Rows that it may change at most, whatever its contract says.
    pub rows: u64,
    /// When its time is up.
    pub deadline: Instant,
    /// The directory that its sandbox lends it, as it is called there.
    pub temporary: Option<&'static str>,
    /// The effect of its success that no call asks for: the acknowledgement of
    /// the message that started it.
    pub acknowledges: Option<Effect>,
    /// The trace that its own requests belong to.
    pub trace: Option<TraceContext>,
}

/// The sessions of one request.
#[derive(Debug)]
pub struct Capabilities {
    sessions: Option<Sessions>,
    redactor: Redactor,
    /// What a run without back ends asked for first.
    missed: OnceLock<CapabilityKind>,
}

struct Sessions {
    facts: RequestFacts,
    backend: Database,
    database: DatabaseSession,
    /// What is left of [`RequestFacts::rows`] where each call is a transaction
    /// of its own; also their turn.
    rows_left: Mutex<u64>,
    egress: EgressSession,
    secrets: Arc<SecretsSession>,
    queue: QueueSession,
    cache: CacheSession,
    held: Arc<Held>,
    /// Whether a call that changes rows was begun.
    wrote: AtomicBool,
    /// Whether a call that changes something was dropped while it ran.
    cut_off: AtomicBool,
}

/// A call under way whose half must not be kept. Dropped before the call has
/// ended, as it is when the controller answers without waiting for it, it
/// keeps the request from being committed: nobody can say how far it came, and
/// one that never reached its back end is missing altogether.
struct Underway<'a> {
    cut_off: &'a AtomicBool,
    ended: bool,
}

impl<'a> Underway<'a> {
    fn begin(cut_off: &'a AtomicBool) -> Self {
        Self {
            cut_off,
            ended: false,
        }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.cut_off.store(true, Ordering::Release);
        }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sessions")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Whether cache entries wait to be delivered.
    pub touches_cache: bool,
}

impl Capabilities {
    /// No back end at all: every call fails. For runs that must not have any.
    #[must_use]
    pub fn none() -> Self {
        Self {
            sessions: None,
            redactor: Redactor::new(),
            missed: OnceLock::new(),
        }
    }

    /// What a run without back ends asked for first, of what its grant allows.
    /// From there on it shows nothing of how it runs with them.
    #[must_use]
    pub fn missed(&self) -> Option<CapabilityKind> {
        self.missed.get().copied()
    }

    /// The sessions of one request. Nothing is asked of any back end yet.
    #[must_use]
    pub fn of(backends: &Backends, facts: RequestFacts) -> Self {
        let redactor = Redactor::new();
        let held = Arc::new(Held::new(HeldLimits::default()));
        if let Some(effect) = &facts.acknowledges {
            // An empty list has room for one.
            let _ = held.hold(effect.clone());
        }
        let secrets = Arc::new(SecretsSession::new(
            backends.secrets.clone(),
            redactor.clone(),
        ));
        let limits = limits(facts.rows);
        let sessions = Sessions {
            database: DatabaseSession::new(
                backends.database.clone(),
                facts.access,
                facts.deadline,
                limits,
            ),
            backend: backends.database.clone(),
            rows_left: Mutex::new(facts.rows),
            egress: EgressSession::new(backends.egress.clone(), secrets.clone())
                .within(facts.trace.clone()),
            secrets,
            queue: QueueSession::new(
                backends.queues.clone(),
                facts.controller.clone(),
                facts.effects,
                held.clone(),
            ),
            cache: CacheSession::new(
                backends.cache.clone(),
                facts.controller.clone(),
                facts.effects,
                held.clone(),
            ),
            held,
            wrote: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            facts,
        };
        Self {
            sessions: Some(sessions),
            redactor,
            missed: OnceLock::new(),
        }
    }

    /// What hides this request's secrets in everything that is kept of it.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Whether effects take place call by call, and so are not undone.
    #[must_use]
    pub fn is_immediate(&self) -> bool {
        self.sessions
            .as_ref()
            .is_some_and(|sessions| sessions.facts.effects == Effects::Immediate)
    }

    /// Whether a commit would make anything durable beside a stored answer.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| {
            sessions.wrote.load(Ordering::Relaxed) || !sessions.held.is_empty()
        })
    }

    /// Makes everything durable: rows, held effects and the answer, all of them
    /// or nothing.
    ///
    /// # Errors
    ///
    /// [`CommitError`], which says whether anything is kept.
    pub async fn commit(
        &self,
        answer: Option<IdempotentAnswer<'_>>,
    ) -> Result<Settled, CommitError> {
        let Some(sessions) = &self.sessions else {
            return Ok(Settled::default());
        };
        if sessions.cut_off.load(Ordering::Acquire) {
            self.abandon().await;
            return Err(CommitError::RolledBack(problem::unfinished()));
        }
        let effects = sessions.held.take_effects();
        let commit = Commit {
            outbox: &effects,
            idempotency: answer,
        };
        match sessions.database.commit(commit).await {
            Ok(_) => {
                sessions.queue.settle().await;
                let touches_cache = effects.iter().any(|effect| {
                    matches!(effect, Effect::CacheSet { .. } | Effect::CacheDelete { .. })
                });
                Ok(Settled { touches_cache })
            }
            Err(error) => {
                match &error {
                    CommitError::RolledBack(_) => sessions.queue.abandon().await,
                    // If it took place after all, the acknowledgements are in
                    // the outbox, and giving back would make them worthless.
                    CommitError::Unknown(_) => sessions.queue.settle().await,
                }
                Err(error)
            }
        }
    }

    /// Undoes everything that can be undone and gives received messages back.
    /// Dropping does the same, a little later.
    pub async fn abandon(&self) {
        if let Some(sessions) = &self.sessions {
            sessions.database.rollback().await;
            sessions.queue.abandon().await;
        }
    }

    /// A number for the span of a call that begins, where spans are recorded.
    pub(crate) fn reserve_span(&self) -> Option<SpanId> {
        let trace = self.sessions.as_ref()?.facts.trace.as_ref()?;
        trace.reserve()
    }

    /// Performs a call that the grant allows as such.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        params: &str,
    ) -> Result<String, Failure> {
        let Some(sessions) = &self.sessions else {
            // Only the first is kept.
            let _ = self.missed.set(call.method.capability());
            return Err(problem::misuse(format!(
                "this run has no back end for `{}`",
                call.method.capability()
            )));
        };
        // What takes place call by call is not undone by refusing the commit.
        let underway = (sessions.facts.effects == Effects::OnSuccess
            && sessions.is_tied(call.method))
        .then(|| Underway::begin(&sessions.cut_off));
        let performed = sessions.perform(call, params).await;
        if let Some(underway) = underway {
            underway.end();
        }
        performed
    }
}

impl Sessions {
    /// Whether the commit depends on how this call ends: it changes something,
    /// or it reads in the one transaction in which others change something,
    /// which is lost together with a call that is dropped.
    fn is_tied(&self, method: Method) -> bool {
        let reads_rows = method.capability() == CapabilityKind::DbRead;
        method.changes() || (reads_rows && self.facts.access.write)
    }

    async fn perform(&self, call: &mut Call<'_>, params: &str) -> Result<String, Failure> {
        match call.method {
            Method::DbQuery | Method::DbQueryOne | Method::DbCount => self.rows(call, params).await,
            Method::DbInsert | Method::DbUpdate | Method::DbDelete | Method::DbRaw => {
                self.wrote.store(true, Ordering::Relaxed);
                self.rows(call, params).await
            }
            Method::HttpRequest => self.egress.perform(call, params).await,
            Method::SecretsGet => self.secrets.perform(call, params).await,
            Method::QueuePublish | Method::QueueReceive | Method::QueueAck => {
                self.queue.perform(call, params).await
            }
            Method::CacheGet | Method::CacheSet | Method::CacheDelete => {
                self.cache.perform(call, params).await
            }
            Method::FsTemp => files::temporary(call, params, self.facts.temporary),
        }
    }

    async fn rows(&self, call: &mut Call<'_>, params: &str) -> Result<String, Failure> {
        match self.facts.effects {
            Effects::OnSuccess => self.database.perform(call, params).await,
            Effects::Immediate => self.at_once(call, params).await,
        }
    }

    /// A transaction for this call alone.
    async fn at_once(&self, call: &mut Call<'_>, params: &str) -> Result<String, Failure> {
        let mut rows_left = self.rows_left.lock().await;
        let session = DatabaseSession::new(
            self.backend.clone(),
            self.facts.access,
            self.facts.deadline,
            limits(*rows_left),
        );
        if call.method.capability() != CapabilityKind::DbRead {
            // What is committed at once cannot be taken back.
            call.announce().await?;
        }
        let performed = session.perform(call, params).await;
        if performed.is_err() {
            session.rollback().await;
        }
        let result = performed?;
        let left = session.writes_left().await;
        session
            .commit(Commit::default())
            .await
            .map_err(|error| match error {
                CommitError::RolledBack(failure) | CommitError::Unknown(failure) => failure,
            })?;
        *rows_left = left;
        Ok(result)
    }
}

fn limits(writes_left: u64) -> Limits {
    Limits {
        rows_per_call: ROWS_PER_CALL,
        bytes_per_call: BYTES_PER_CALL,
        writes_left,
    }
}

#[cfg(test)]
mod tests {
    use super::Underway;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Only a call that came to its end lets the request be committed.
    #[test]
    fn a_dropped_call_is_noted() {
        let cut_off = AtomicBool::new(false);
        Underway::begin(&cut_off).end();
        assert!(!cut_off.load(Ordering::Acquire));
        drop(Underway::begin(&cut_off));
        assert!(cut_off.load(Ordering::Acquire));
    }
}
