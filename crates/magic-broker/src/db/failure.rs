//! What a controller is told when the database fails outside of its own statements.
//!
//! The statements of a call have their own translation, which knows tables and
//! columns. Here is the rest: no connection, a transaction that cannot begin or
//! commit. The text of the database goes into the internal note alone.

use std::time::Duration;

use magic_contract::Failure;

use crate::problem;

/// Codes of SQLite's results, in their first eight bits.
/// Source: <https://www.sqlite.org/rescode.html>.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_INTERRUPT: i32 = 9;
const SQLITE_IOERR: i32 = 10;
const SQLITE_FULL: i32 = 13;
const SQLITE_CONSTRAINT: i32 = 19;

/// What kind of failure an error of the driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The connection is gone, or never came to be.
    Lost,
    /// Another transaction is in the way.
    Contended,
    /// Its time is up.
    Time,
    /// A constraint that is judged at the end of a transaction.
    Constraint,
    /// The disk fails, or is full.
    Disk,
    /// Anything else.
    Other,
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code();
            let code = code.as_deref().unwrap_or_default();
            if error
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .is_some()
            {
                sqlstate_kind(code)
            } else {
                sqlite_kind(code)
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Lost,
        _ => Kind::Other,
    }
}

/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn sqlstate_kind(code: &str) -> Kind {
    match code {
        "57014" => Kind::Time,
        "40001" | "40P01" | "55P03" => Kind::Contended,
        "53100" | "58030" => Kind::Disk,
        // Connection exceptions, too many connections, shutdown, crash, start-up,
        // idle too long in a transaction; a standby that was promoted or will be.
        "53300" | "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25006" => Kind::Lost,
        other if other.starts_with("08") => Kind::Lost,
        other if other.starts_with("23") => Kind::Constraint,
        _ => Kind::Other,
    }
}

fn sqlite_kind(code: &str) -> Kind {
    match code.parse::<i32>().map_or(0, |code| code & 0xff) {
        SQLITE_BUSY | SQLITE_LOCKED => Kind::Contended,
        SQLITE_INTERRUPT => Kind::Time,
        SQLITE_CONSTRAINT => Kind::Constraint,
        SQLITE_IOERR | SQLITE_FULL => Kind::Disk,
        _ => Kind::Other,
    }
}

/// Whether a commit that ended with this error may have taken place.
///
/// PostgreSQL can end a session between recording a commit and saying so. With
/// SQLite a failed synchronisation leaves the pages of the commit in the log,
/// where the next start may or may not find them.
pub(super) fn leaves_commit_open(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(inner)
            if inner
                .try_downcast_ref::<sqlx::sqlite::SqliteError>()
                .is_some() =>
        {
            inner
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .is_some_and(|code| code & 0xff == SQLITE_IOERR)
        }
        other => kind(other) == Kind::Lost,
    }
}

/// Whether another transaction was in the way.
pub(super) fn is_contended(error: &sqlx::Error) -> bool {
    kind(error) == Kind::Contended
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    kind(error) == Kind::Lost
}

/// The failure for an error while doing what `step` says, as in "begin a transaction".
pub(super) fn of(step: &str, error: &sqlx::Error) -> Failure {
    let note = format!("{step}: {error}");
    match kind(error) {
        Kind::Lost => problem::backend(
            format!("the database went away while the runtime tried to {step}; try again"),
            true,
            note,
        ),
        Kind::Contended => problem::backend(
            format!(
                "other transactions held the database while the runtime tried to {step}; try again"
            ),
            true,
            note,
        ),
        Kind::Disk => problem::backend(
            format!("the database could not keep data while the runtime tried to {step}"),
            true,
            note,
        ),
        Kind::Time => out_of_time(step).with_internal(note),
        Kind::Constraint => {
            let name = match error {
                sqlx::Error::Database(error) => error
                    .constraint()
                    .map(|name| format!(" `{}`", name.escape_default()))
                    .unwrap_or_default(),
                _ => String::new(),
            };
            problem::misuse(format!(
                "the rows of this request break the constraint{name}, which is judged when the request ends"
            ))
            .with_internal(note)
        }
        Kind::Other => problem::backend(format!("the database refused to {step}"), false, note),
    }
}

/// The disk has failed a commit, so nothing is built on it.
pub(super) fn broken() -> Failure {
    problem::backend(
        "the database could not make an earlier commit durable, and takes no more changes until the operator has seen to its disk and started the runtime anew",
        false,
        "a sync of the database's log has failed",
    )
}

/// The time of the call or of the request is up.
pub(super) fn out_of_time(step: &str) -> Failure {
    problem::exhausted(
        "time",
        format!(
            "the time was up while the runtime tried to {step}; make the statement faster, or raise `resources.timeout` in the contract"
        ),
    )
}

/// No connection within the time that a request may wait for one.
pub(super) fn no_connection(waited: Duration, cause: impl Into<String>) -> Failure {
    problem::backend(
        format!(
            "no connection to the database within {} ms: it is down, or other requests hold all connections; try again",
            waited.as_millis()
        ),
        true,
        cause,
    )
}

/// So many requests wait for a connection already that one more would wait in vain.
pub(super) fn too_many_waiting() -> Failure {
    problem::backend(
        "too many requests wait for a connection to the database; try again",
        true,
        "the queue for connections is full",
    )
}

/// The transaction of this request is gone, and with it everything that was done in it.
pub(super) fn transaction_gone() -> Failure {
    problem::backend(
        "an earlier failure of the database ended the transaction of this request, and nothing of it is kept; try the request again",
        true,
        "the transaction was lost by an earlier call",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that decide whether a caller tries again.
    #[test]
    fn codes() {
        for (code, expected) in [
            ("08006", Kind::Lost),
            ("57P01", Kind::Lost),
            ("40001", Kind::Contended),
            ("23505", Kind::Constraint),
            ("57014", Kind::Time),
            ("42P01", Kind::Other),
        ] {
            assert_eq!(sqlstate_kind(code), expected, "{code}");
        }
        for (code, expected) in [
            ("5", Kind::Contended),
            ("517", Kind::Contended),
            ("9", Kind::Time),
            ("787", Kind::Constraint),
            ("1034", Kind::Disk),
            ("13", Kind::Disk),
            ("1", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(sqlite_kind(code), expected, "{code}");
        }
    }
}
