//! The database of one request: one transaction, from the first call to the commit.
//!
//! The transaction begins with the first call, so a request that never asks
//! costs nothing. Calls run one after the other in the order in which they came,
//! each behind a savepoint, so that an error which the controller catches undoes
//! that call and nothing else. Without the right to write, the transaction is
//! READ ONLY and the database itself refuses changes.
//!
//! While a call runs, the transaction is outside of the session and inside the
//! call's future. Dropping that future, at whatever await, drops the
//! transaction, which closes its connection, and leaves the session in a state
//! that says so. So there is no half-finished call that a later one, or the
//! commit, could build on.

use magic_contract::{CapabilityKind, ErrorCode, Failure, Reason};
use std::mem;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};
use ulid::Ulid;

use super::idempotency::IdempotentAnswer;
use super::pool::{Database, Pools};
use super::postgres::{self, Fate};
use super::transaction::{CommitFault, Entry, Identity, Mode, Transaction};
use super::{Connection, Limits};
use super::{OWN_TIME, failure, idempotency, outbox};
use crate::call::Call;
use crate::capability::Method;
use crate::{Effect, problem};

/// How much longer than a statement's own limit its answer is waited for: the
/// database's own error leaves the transaction usable, giving up does not.
const GRACE: Duration = Duration::from_secs(1);

/// How long it is asked, after the connection was lost during COMMIT, whether
/// the commit took place.
const RESOLVE_TIME: Duration = Duration::from_secs(5);

/// How often.
const RESOLVE_PAUSE: Duration = Duration::from_millis(50);

/// What the request's grant allows in general; each call is judged by itself as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// `db:write` is granted, so the transaction may change rows.
    pub write: bool,
    /// `db:rawsql` is granted.
    pub raw: bool,
}

/// What is to become durable together with the rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Commit<'a> {
    /// Effects, in the order in which they are to be delivered.
    pub outbox: &'a [Effect],
    /// The answer, when the caller sent a key.
    pub idempotency: Option<IdempotentAnswer<'a>>,
}

/// A commit took place, or there was nothing to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// How many effects wait in the outbox because of it.
    pub effects: usize,
}

/// A commit did not take place, or nobody knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of the request is kept.
    #[error("rolled back: {0}")]
    RolledBack(Failure),
    /// The connection was lost during COMMIT, and the database cannot say what
    /// became of it. All of the request is kept, or nothing.
    #[error("unknown: {0}")]
    Unknown(Failure),
}

/// One request's database.
#[derive(Debug)]
pub struct DatabaseSession {
    database: Database,
    access: Access,
    deadline: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Nothing was asked yet.
    Fresh,
    Open(Transaction),
    /// The transaction is in a call's future, or was dropped there.
    Lost,
    /// Committed or rolled back.
    Ended,
}

impl DatabaseSession {
    /// A session that has not asked the database anything.
    pub(crate) fn new(
        database: Database,
        access: Access,
        deadline: Instant,
        limits: Limits,
    ) -> Self {
        Self {
            database,
            access,
            deadline,
            state: Mutex::new(State {
                limits,
                phase: Phase::Fresh,
            }),
        }
    }

    /// Performs one call, after those that came before it.
    ///
    /// # Errors
    ///
    /// A failure for the controller; of that call nothing is kept.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        params: &str,
    ) -> Result<String, Failure> {
        let raw = call.method == Method::DbRaw;
        if raw {
            self.check_raw()?;
        }
        let mut turn = self.enter(raw, call.deadline).await?;
        let limit = turn.limit;
        let (connection, limits) = turn.parts()?;
        let catalog = self.database.catalog();
        let result = if raw {
            let granted = call.granted(CapabilityKind::DbWrite);
            let writes = granted.filter(|_| self.access.write);
            let work = super::perform_raw(connection, catalog, call, params, limits, writes);
            timeout_at(limit, work).await
        } else {
            let work = super::perform(connection, catalog, call, params, limits);
            timeout_at(limit, work).await
        };
        turn.leave(result.ok()).await
    }

    /// Raw SQL is not a thing of lists, so in production it is confined by the
    /// database or not at all.
    fn check_raw(&self) -> Result<(), Failure> {
        if self.access.raw && self.database.confines_raw() {
            return Ok(());
        }
        let message = "raw SQL is refused in production unless the database is PostgreSQL and the runtime's setting `raw_role` names a role for it; use the structured calls, or ask the operator for: raw_role = \"magic_raw\"";
        Err(Failure::new(ErrorCode::CapabilityDenied, message)
            .with_detail("capability", "db:rawsql")
            .with_detail("layer", "database")
            .with_detail("line", "raw_role = \"magic_raw\""))
    }

    /// Waits for the turn of a call and makes the transaction ready for it.
    async fn enter(&self, raw: bool, deadline: Instant) -> Result<Turn<'_>, Failure> {
        let deadline = deadline.min(self.deadline);
        let late = || failure::out_of_time("wait for the calls before it");
        let mut state = timeout_at(deadline, self.state.lock())
            .await
            .map_err(|_| late())?;
        let now = Instant::now();
        if now >= deadline {
            return Err(late());
        }
        let entry = Entry {
            raw,
            savepoint: true,
            expiry: deadline.min(now + self.database.statement_timeout()),
            deadline: self.deadline,
        };
        let limit = deadline.min(entry.expiry + GRACE);
        let mode = if self.access.write {
            Mode::ReadWrite
        } else {
            Mode::ReadOnly
        };
        let transaction = match mem::replace(&mut state.phase, Phase::Lost) {
            Phase::Ended => {
                state.phase = Phase::Ended;
                return Err(problem::misuse("the transaction of this request has ended"));
            }
            Phase::Lost => return Err(failure::transaction_gone()),
            Phase::Fresh => {
                state.phase = Phase::Fresh;
                timeout_at(limit, Transaction::begin(&self.database, mode, &entry))
                    .await
                    .unwrap_or_else(|_| Err(failure::out_of_time("begin a transaction")))?
            }
            Phase::Open(mut transaction) => {
                let entered = timeout_at(limit, transaction.enter(&entry)).await;
                if let Some(failure) = match entered {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(failure::of("go on", &error)),
                    Err(_) => Some(failure::out_of_time("go on")),
                } {
                    state.phase = after_loss(mode);
                    return Err(failure);
                }
                transaction
            }
        };
        state.phase = after_loss(mode);
        let before = state.limits;
        Ok(Turn {
            state,
            transaction,
            limit,
            before,
        })
    }

    /// Makes the rows, the effects and the answer durable, all of them or none,
    /// and ends the session. Waits for calls that are still running; has ten
    /// seconds of its own, whatever is left of the request's time, because a
    /// commit that is abandoned is one whose outcome nobody knows.
    ///
    /// # Errors
    ///
    /// [`CommitError`], which says whether anything is kept.
    pub async fn commit(&self, commit: Commit<'_>) -> Result<Committed, CommitError> {
        let mut state = self.state.lock().await;
        let until = Instant::now() + OWN_TIME;
        let nothing = commit.outbox.is_empty() && commit.idempotency.is_none();
        let open = match mem::replace(&mut state.phase, Phase::Ended) {
            Phase::Ended => {
                let failure = problem::misuse("the transaction of this request has ended");
                return Err(CommitError::RolledBack(failure));
            }
            Phase::Lost => return Err(CommitError::RolledBack(failure::transaction_gone())),
            Phase::Open(transaction) if transaction.mode() == Mode::ReadOnly => {
                transaction.release();
                None
            }
            Phase::Open(transaction) => Some(transaction),
            Phase::Fresh => None,
        };
        if open.is_none() && nothing {
            return Ok(Committed::default());
        }
        let written = timeout_at(until, self.write(open, &commit, nothing, until)).await;
        let transaction = match written {
            Ok(Ok(transaction)) => transaction,
            Ok(Err(failure)) => return Err(CommitError::RolledBack(failure)),
            Err(_) => return Err(CommitError::RolledBack(failure::out_of_time("commit"))),
        };
        let identity = transaction.identity();
        let fault = match timeout_at(until + GRACE, transaction.commit(until)).await {
            Ok(Ok(())) => return Ok(self.committed(&commit)),
            Ok(Err(fault)) if !fault.is_open() => {
                let failure = failure::of("commit", &fault.error);
                return Err(CommitError::RolledBack(failure));
            }
            Ok(Err(fault)) => fault,
            Err(_) => CommitFault::new(sqlx::Error::PoolTimedOut),
        };
        match self.resolve(identity).await {
            Fate::Committed => Ok(self.committed(&commit)),
            Fate::Aborted => {
                let failure = failure::of("commit", &fault.error);
                Err(CommitError::RolledBack(failure))
            }
            Fate::InProgress | Fate::Unknown => {
                let message = "the connection to the database was lost during COMMIT: either all of this request is kept or nothing, and the database cannot say which; look at the rows before you try again";
                let failure = Failure::new(ErrorCode::ControllerFailed, message)
                    .with_reason(Reason::CommitUnknown)
                    .with_detail("retriable", false)
                    .with_internal(fault.error.to_string());
                Err(CommitError::Unknown(failure))
            }
        }
    }

    /// How many rows may still be changed.
    pub(crate) async fn writes_left(&self) -> u64 {
        self.state.lock().await.limits.writes_left
    }

    /// Undoes everything and ends the session. Nothing waits for the database.
    pub async fn rollback(&self) {
        let mut state = self.state.lock().await;
        if let Phase::Open(transaction) = mem::replace(&mut state.phase, Phase::Ended) {
            transaction.release();
        }
    }

    /// The effects and the answer, written beside the rows.
    async fn write(
        &self,
        open: Option<Transaction>,
        commit: &Commit<'_>,
        nothing: bool,
        until: Instant,
    ) -> Result<Transaction, Failure> {
        let entry = Entry::own(until);
        let mut transaction = match open {
            Some(transaction) if nothing => return Ok(transaction),
            Some(mut transaction) => {
                transaction
                    .enter(&entry)
                    .await
                    .map_err(|error| failure::of("commit", &error))?;
                transaction
            }
            None => Transaction::begin(&self.database, Mode::ReadWrite, &entry).await?,
        };
        if !commit.outbox.is_empty() {
            let request = Ulid::generate().to_string();
            outbox::insert(transaction.connection()?, &request, commit.outbox)
                .await
                .map_err(|error| failure::of("keep the request's effects", &error))?;
        }
        if let Some(answer) = &commit.idempotency {
            let stored = idempotency::store(transaction.connection()?, answer)
                .await
                .map_err(|error| failure::of("keep the request's answer", &error))?;
            if !stored {
                return Err(problem::backend(
                    "this request has outlived its claim to its Idempotency-Key, and another one has taken it over",
                    true,
                    "the claim to the key was lost",
                ));
            }
        }
        Ok(transaction)
    }

    fn committed(&self, commit: &Commit<'_>) -> Committed {
        if !commit.outbox.is_empty() {
            self.database.effects().notify_one();
        }
        Committed {
            effects: commit.outbox.len(),
        }
    }

    /// Asks on another connection what became of a transaction. PostgreSQL keeps
    /// that for a while; a server that was started since is not believed.
    async fn resolve(&self, identity: Option<Identity>) -> Fate {
        let (Pools::Postgres(pool), Some(identity)) = (self.database.pools(), identity) else {
            return Fate::Unknown;
        };
        let until = Instant::now() + RESOLVE_TIME;
        let ask = async {
            loop {
                // A failure to ask is asked again: the server may be coming back.
                if let Ok(mut connection) = self.database.acquire(pool, until).await
                    && let Ok(fate) = postgres::fate(&mut connection, &identity).await
                    && fate != Fate::InProgress
                {
                    return fate;
                }
                tokio::time::sleep(RESOLVE_PAUSE).await;
            }
        };
        timeout_at(until, ask).await.unwrap_or(Fate::Unknown)
    }
}

/// What a session is once its transaction is gone: nothing is lost with one that
/// only reads.
fn after_loss(mode: Mode) -> Phase {
    match mode {
        Mode::ReadOnly => Phase::Fresh,
        Mode::ReadWrite => Phase::Lost,
    }
}

/// The turn of one call, which holds the transaction until it is left.
struct Turn<'s> {
    state: MutexGuard<'s, State>,
    transaction: Transaction,
    /// When the call is given up.
    limit: Instant,
    before: Limits,
}

impl Turn<'_> {
    /// What the call works with.
    fn parts(&mut self) -> Result<(Connection<'_>, &mut Limits), Failure> {
        Ok((self.transaction.connection()?, &mut self.state.limits))
    }

    /// Keeps what the call has done, or undoes it; `None` when it was given up.
    async fn leave(mut self, result: Option<Result<String, Failure>>) -> Result<String, Failure> {
        let Some(result) = result else {
            return Err(failure::out_of_time("perform this call"));
        };
        if result.is_err() {
            self.state.limits = self.before;
            let undone = timeout_at(self.limit + GRACE, self.transaction.undo()).await;
            if !matches!(undone, Ok(Ok(()))) {
                tracing::debug!(
                    ?undone,
                    "a call could not be undone; the transaction is lost"
                );
                return result;
            }
        }
        self.state.phase = Phase::Open(self.transaction);
        result
    }
}

#[cfg(test)]
mod lost_commit;
#[cfg(test)]
mod tests;
