//! What can go wrong with any call, sorted by what the caller can do about it.

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// A call to the state failed for a reason that is not the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The database does not answer, not in time, or does not take changes now.
    /// Nothing was changed. What is already being served can go on being served.
    #[error("the runtime's state is not available: {why}; nothing was changed")]
    Unavailable {
        /// What was tried, and what came of it.
        why: String,
    },
    /// The database went away while it was committing. Whether the change took
    /// place is told by reading; every change may be asked for again.
    #[error(
        "the runtime's state became unavailable while a change was committed ({why}); look whether it took place, or ask for it again"
    )]
    Uncertain {
        /// What came of it.
        why: String,
    },
    /// What is stored is not what was stored.
    #[error("the runtime's state is damaged: {what}; restore it from a backup")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// More than a bound allows.
    #[error("{what} has {found} bytes, and at most {limit} are kept")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// More at once than a bound allows.
    #[error("{what} has {found} rows, and at most {limit} are taken at once")]
    TooMany {
        /// What it is.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// The database refuses a statement; a fault of ours, or somebody changed the tables.
    #[error("the database of the runtime's state refused to {step}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// What the database says.
        source: sqlx::Error,
    },
}

impl StateError {
    /// Whether the database could not be reached or used, as opposed to having answered.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Uncertain { .. })
    }

    /// The error of a statement that did what `step` says.
    pub(super) fn of(step: &'static str, source: sqlx::Error) -> Self {
        match kind(&source) {
            Kind::Lost | Kind::Disk | Kind::Busy => Self::Unavailable {
                why: format!("{step}: {source}"),
            },
            Kind::Damaged => Self::Corrupt {
                what: source.to_string(),
            },
            Kind::Other => Self::Refused { step, source },
        }
    }

    pub(super) fn late(step: &'static str) -> Self {
        Self::Unavailable {
            why: format!("{step}: no answer within the time limit"),
        }
    }

    /// What a column holds cannot be what was stored.
    pub(super) fn unreadable(what: &str) -> Self {
        Self::Corrupt {
            what: format!("{what} cannot be read"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connection is of no use any more, or there is none.
    Lost,
    /// The disk fails or is full.
    Disk,
    /// Somebody else was in the way for too long.
    Busy,
    /// The file is not a database any more.
    Damaged,
    Other,
}

/// What the error of a driver means.
pub(super) fn kind(error: &sqlx::Error) -> Kind {
    let sqlx::Error::Database(inner) = error else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Kind::Lost,
            _ => Kind::Other,
        };
    };
    let code = inner.code().unwrap_or_default();
    if inner.try_downcast_ref::<SqliteError>().is_some() {
        return sqlite_kind(&code);
    }
    if inner.try_downcast_ref::<PgDatabaseError>().is_some() {
        return postgres_kind(&code);
    }
    Kind::Other
}

/// Numbers of <https://www.sqlite.org/rescode.html>; the low byte is the primary one.
fn sqlite_kind(code: &str) -> Kind {
    match code.parse::<i32>().map(|code| code & 0xff) {
        // BUSY, LOCKED, INTERRUPT
        Ok(5 | 6 | 9) => Kind::Busy,
        // NOMEM, READONLY, IOERR, FULL, CANTOPEN
        Ok(7 | 8 | 10 | 13 | 14) => Kind::Disk,
        // CORRUPT, NOTADB
        Ok(11 | 26) => Kind::Damaged,
        _ => Kind::Other,
    }
}

/// Codes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn postgres_kind(code: &str) -> Kind {
    match code {
        // A role or password that is not taken; a standby; no such database.
        "25006" | "28000" | "28P01" | "3D000" => Kind::Lost,
        // Out of time, a lock, a deadlock, a conflict.
        "57014" | "55P03" | "40P01" | "40001" => Kind::Busy,
        // The end of a transaction that stood still.
        "25P03" | "25P04" => Kind::Lost,
        "58030" | "53100" => Kind::Disk,
        "XX001" | "XX002" => Kind::Damaged,
        code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => {
            Kind::Lost
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind with a code, and a neighbour that is another kind.
    #[test]
    fn codes_have_kinds() {
        for (code, expected) in [
            ("5", Kind::Busy),
            ("517", Kind::Busy),
            ("1034", Kind::Disk),
            ("13", Kind::Disk),
            ("11", Kind::Damaged),
            ("19", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(sqlite_kind(code), expected, "{code}");
        }
        for (code, expected) in [
            ("08006", Kind::Lost),
            ("57P01", Kind::Lost),
            ("53300", Kind::Lost),
            ("57014", Kind::Busy),
            ("53100", Kind::Disk),
            ("XX001", Kind::Damaged),
            ("42P01", Kind::Other),
            ("23505", Kind::Other),
        ] {
            assert_eq!(postgres_kind(code), expected, "{code}");
        }
    }
}
