//! What can be wrong with migrations, and what to type then.

use std::path::PathBuf;

use super::super::pool::DatabaseError;
use super::file::{COUNT_LIMIT, FILE_LIMIT};

/// Migrations cannot be read or applied. The messages say what to type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The folder or a file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More files than there may be.
    #[error("there are more than {COUNT_LIMIT} files; put those that every database has into one")]
    TooMany,
    /// A file that is larger than one may be.
    #[error("{file} is larger than {} MiB; load data by other means", FILE_LIMIT / 1024 / 1024)]
    TooLarge {
        /// The file's name.
        file: String,
    },
    /// A file that is not text.
    #[error("{file} is not valid UTF-8")]
    NotText {
        /// The file's name.
        file: String,
    },
    /// A name that gives no place in the order.
    #[error("{file}: name it NNNN_what_it_does.sql, with four digits or more, such as {example}")]
    Name {
        /// The file's name.
        file: String,
        /// A name that would do.
        example: String,
    },
    /// Two files of one number.
    #[error(
        "{first}.sql and {second}.sql have the same number; give the later one the next number"
    )]
    SameNumber {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A file that begins or ends transactions.
    #[error("{name}.sql:{line}: leave out {word}: each file is one transaction already")]
    TransactionControl {
        /// The file's name without `.sql`.
        name: String,
        /// From 1.
        line: u64,
        /// The word that it begins with.
        word: String,
    },
    /// A file is not what was applied.
    #[error(
        "{name}.sql was changed after it was applied; put it back as it was (git checkout) and write the change into a new file"
    )]
    Changed {
        /// The file's name without `.sql`.
        name: String,
    },
    /// A file that was applied is not there.
    #[error(
        "{name} was applied to this database and there is no {name}.sql; put it back (git checkout)"
    )]
    Missing {
        /// The file's name without `.sql`.
        name: String,
    },
    /// A new file before one that was applied.
    #[error(
        "{name}.sql was not applied, and {after}, which comes after it, was; rename it to {suggestion}.sql"
    )]
    OutOfOrder {
        /// The file's name without `.sql`.
        name: String,
        /// The last one that was applied.
        after: String,
        /// A name that comes last.
        suggestion: String,
    },
    /// The database refused a statement; nothing of that file is kept.
    #[error("{name}.sql{}: {message}; nothing of this file was kept", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Statement {
        /// The file's name without `.sql`.
        name: String,
        /// From 1, where the database says so.
        line: Option<usize>,
        /// What the database says.
        message: String,
    },
    /// Rows refer to rows that are not there, on SQLite.
    #[error(
        "{name}.sql leaves rows of {table} that refer to rows of {parent} which are not there; nothing of this file was kept"
    )]
    ForeignKeys {
        /// The file's name without `.sql`.
        name: String,
        /// The table that refers.
        table: String,
        /// The table that is referred to.
        parent: String,
    },
    /// A file ended its transaction all the same.
    #[error(
        "{name}.sql ended its transaction: what it did may be kept, and it is not recorded; see what the database has, and leave transactions to this command"
    )]
    EndedTransaction {
        /// The file's name without `.sql`.
        name: String,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] DatabaseError),
    /// The records cannot be read or written.
    #[error("cannot keep the records of migrations")]
    Record {
        /// What the database says.
        source: sqlx::Error,
    },
}

impl MigrateError {
    /// Whether the files are at fault, and not the database or the machine.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Read { .. } | Self::Open(_) | Self::Record { .. }
        )
    }
}
