//! Migrations of the controllers' tables: plain SQL files, forward only.
//!
//! A file is applied in one transaction together with its record, so a file that
//! fails leaves nothing, and one that is recorded was applied in full. Records
//! hold the hash of the file: one that was changed afterwards, or is gone, is
//! refused, because from then on nobody can say what a new database would look
//! like. Two programs that migrate at once take turns file by file: whoever comes
//! second sees the record and goes on with the next file.
//!
//! A file that begins or ends transactions by itself would break that promise
//! and is refused before it runs ([`script`]); should one get past, the savepoint
//! around it is gone afterwards, and the run stops and says so.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{ConnectOptions, Executor, PgConnection, Row, SqliteConnection};

use super::pool::DatabaseError;
use super::{postgres, schema, sqlite};
use crate::effects::now_ms;
use crate::sqlite_file;
use magic_contract::{DatabasePlace, DatabaseUrl};

mod error;
mod file;
mod plan;
mod script;

pub use error::MigrateError;
pub use file::{Migration, read_migrations};
pub use plan::Plan;
use plan::{Record, plan};

/// How long another program that writes to a SQLite file is waited for.
const BUSY_TIME: Duration = Duration::from_secs(60);

/// Holds the turn of one file, on PostgreSQL: "migrate" in ASCII.
const TURN: i64 = 0x6d_69_67_72_61_74_65;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file's name without `.sql`.
    pub name: String,
    /// How long it took.
    pub took: Duration,
}

/// A connection to migrate on.
#[derive(Debug)]
pub struct Migrator {
    link: Link,
}

#[derive(Debug)]
enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    /// A SQLite file that does not exist, and shall not by being looked at.
    Nothing,
}

impl Migrator {
    /// Connects, and makes the runtime's own tables where they are missing.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Open`].
    pub async fn connect(url: &DatabaseUrl) -> Result<Self, MigrateError> {
        let place = url.to_string();
        let link = match url.place() {
            DatabasePlace::Sqlite(path) => {
                if let Err(source) = sqlite_file::prepare(path).await {
                    return Err(DatabaseError::Create { place, source }.into());
                }
                // Tables are rebuilt with foreign keys off, as SQLite's own
                // procedure says (https://www.sqlite.org/lang_altertable.html,
                // "Making other kinds of table schema changes"): dropping the old
                // one would otherwise delete what refers to it. They are checked
                // as a whole before the commit.
                let options = sqlite::options(path, BUSY_TIME).foreign_keys(false);
                let mut connection = sqlite::connect(&options, BUSY_TIME)
                    .await
                    .map_err(|source| DatabaseError::Connect { place, source })?;
                schema::update_sqlite(&mut connection).await?;
                Link::Sqlite(connection)
            }
            DatabasePlace::Postgres(_) => {
                let mut connection = connect_postgres(url).await?;
                schema::update_postgres(&mut connection).await?;
                Link::Postgres(connection)
            }
        };
        Ok(Self { link })
    }

    /// Connects to look only: nothing is made or changed.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Open`].
    pub async fn look(url: &DatabaseUrl) -> Result<Self, MigrateError> {
        let place = url.to_string();
        let link = match url.place() {
            DatabasePlace::Sqlite(path) if !path.exists() => Link::Nothing,
            DatabasePlace::Sqlite(path) => Link::Sqlite(
                sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(BUSY_TIME)
                    .pragma("query_only", "ON")
                    .disable_statement_logging()
                    .connect()
                    .await
                    .map_err(|source| DatabaseError::Connect { place, source })?,
            ),
            DatabasePlace::Postgres(_) => Link::Postgres(connect_postgres(url).await?),
        };
        Ok(Self { link })
    }

    /// What is applied and what is pending.
    ///
    /// # Errors
    ///
    /// [`MigrateError`], when files were changed, are missing or out of order, or
    /// when a pending one begins or ends transactions.
    pub async fn plan(&mut self, migrations: &[Migration]) -> Result<Plan, MigrateError> {
        let records = self
            .records()
            .await
            .map_err(|source| MigrateError::Record { source })?;
        let pending = plan(migrations, &records)?;
        for migration in &pending {
            self.check(migration)?;
        }
        Ok(Plan {
            applied: records.len(),
            pending: pending.iter().map(|one| one.name.clone()).collect(),
        })
    }

    /// Applies the first pending file; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; nothing of that file is kept then.
    pub async fn apply_next(
        &mut self,
        migrations: &[Migration],
    ) -> Result<Option<Step>, MigrateError> {
        let started = Instant::now();
        let result = self.apply(migrations).await;
        match result {
            Ok(Some(name)) => Ok(Some(Step {
                name,
                took: started.elapsed(),
            })),
            other => {
                // Ends the turn; after a failure there may be nothing to end.
                let _ = self.run("ROLLBACK").await;
                other.map(|_| None)
            }
        }
    }

    async fn apply(&mut self, migrations: &[Migration]) -> Result<Option<String>, MigrateError> {
        let recording = |source| MigrateError::Record { source };
        self.take_turn().await.map_err(recording)?;
        let records = self.records().await.map_err(recording)?;
        let Some(migration) = plan(migrations, &records)?.into_iter().next() else {
            return Ok(None);
        };
        self.check(migration)?;
        let name = migration.name.clone();
        self.run("SAVEPOINT magic_migration")
            .await
            .map_err(recording)?;
        self.run_file(migration).await?;
        if self.run("RELEASE SAVEPOINT magic_migration").await.is_err() {
            return Err(MigrateError::EndedTransaction { name });
        }
        self.check_foreign_keys(&name).await?;
        self.record(migration).await.map_err(recording)?;
        // Constraints that are judged at the end are the file's business too.
        self.run("COMMIT")
            .await
            .map_err(|error| refused(migration, &error))?;
        Ok(Some(name))
    }

    fn check(&self, migration: &Migration) -> Result<(), MigrateError> {
        let found = match &self.link {
            Link::Postgres(_) => script::transaction_control_postgres(&migration.sql),
            Link::Sqlite(_) | Link::Nothing => script::transaction_control_sqlite(&migration.sql),
        };
        match found {
            None => Ok(()),
            Some((line, word)) => Err(MigrateError::TransactionControl {
                name: migration.name.clone(),
                line,
                word,
            }),
        }
    }

    /// Begins a transaction that no other migrator has beside it.
    async fn take_turn(&mut self) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Postgres(connection) => {
                // What the file before has set for its session ends here.
                connection
                    .execute(sqlx::raw_sql(
                        "RESET SESSION AUTHORIZATION; RESET ALL; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
                    ))
                    .await?;
                sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock($1)")
                    .bind(TURN)
                    .execute(connection)
                    .await?;
            }
            Link::Sqlite(connection) => {
                connection.execute(sqlx::raw_sql("BEGIN IMMEDIATE")).await?;
            }
            Link::Nothing => {}
        }
        Ok(())
    }

    async fn records(&mut self) -> Result<Vec<Record>, sqlx::Error> {
        match &mut self.link {
            Link::Postgres(connection) => {
                if !schema::has_table(connection, "migrations").await? {
                    return Ok(Vec::new());
                }
                let rows =
                    sqlx::query("SELECT name, sha256 FROM magic.migrations ORDER BY applied_at")
                        .fetch_all(connection)
                        .await?;
                rows.iter()
                    .map(|row| {
                        Ok(Record {
                            name: row.try_get(0)?,
                            sha256: row.try_get(1)?,
                        })
                    })
                    .collect()
            }
            Link::Sqlite(connection) => {
                let there: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'magic_migrations'",
                )
                .fetch_one(&mut *connection)
                .await?;
                if there == 0 {
                    return Ok(Vec::new());
                }
                let rows =
                    sqlx::query("SELECT name, sha256 FROM magic_migrations ORDER BY applied_at")
                        .fetch_all(connection)
                        .await?;
                rows.iter()
                    .map(|row| {
                        Ok(Record {
                            name: row.try_get(0)?,
                            sha256: row.try_get(1)?,
                        })
                    })
                    .collect()
            }
            Link::Nothing => Ok(Vec::new()),
        }
    }

    async fn run_file(&mut self, migration: &Migration) -> Result<(), MigrateError> {
        let text = super::script::script(migration.sql.clone());
        match &mut self.link {
            Link::Postgres(connection) => connection.execute(text).await.map(drop),
            Link::Sqlite(connection) => connection.execute(text).await.map(drop),
            Link::Nothing => Ok(()),
        }
        .map_err(|error| refused(migration, &error))
    }

    async fn check_foreign_keys(&mut self, name: &str) -> Result<(), MigrateError> {
        let Link::Sqlite(connection) = &mut self.link else {
            return Ok(());
        };
        let recording = |source| MigrateError::Record { source };
        let broken = sqlx::query("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(recording)?;
        match broken {
            None => Ok(()),
            Some(row) => Err(MigrateError::ForeignKeys {
                name: name.to_owned(),
                table: row.try_get(0).map_err(recording)?,
                parent: row.try_get(1).map_err(recording)?,
            }),
        }
    }

    async fn record(&mut self, migration: &Migration) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Postgres(connection) => {
                connection
                    .execute(sqlx::raw_sql("RESET SESSION AUTHORIZATION; RESET ROLE"))
                    .await?;
                sqlx::query("INSERT INTO magic.migrations (name, sha256) VALUES ($1, $2)")
                    .bind(&migration.name)
                    .bind(&migration.sha256)
                    .execute(connection)
                    .await?;
            }
            Link::Sqlite(connection) => {
                sqlx::query(
                    "INSERT INTO magic_migrations (name, sha256, applied_at) VALUES (?1, ?2, ?3)",
                )
                .bind(&migration.name)
                .bind(&migration.sha256)
                .bind(now_ms())
                .execute(connection)
                .await?;
            }
            Link::Nothing => {}
        }
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Postgres(connection) => {
                connection.execute(sqlx::raw_sql(statement)).await.map(drop)
            }
            Link::Sqlite(connection) => {
                connection.execute(sqlx::raw_sql(statement)).await.map(drop)
            }
            Link::Nothing => Ok(()),
        }
    }
}

async fn connect_postgres(url: &DatabaseUrl) -> Result<PgConnection, DatabaseError> {
    let place = url.to_string();
    let DatabasePlace::Postgres(url) = url.place() else {
        return Err(DatabaseError::Connect {
            place,
            source: sqlx::Error::PoolClosed,
        });
    };
    let options = match postgres::options(url) {
        Ok(options) => options,
        Err(source) => return Err(DatabaseError::Parameters { place, source }),
    };
    options
        .connect()
        .await
        .map_err(|source| DatabaseError::Connect { place, source })
}

/// The database's own words: the file is the operator's, so nothing is hidden.
fn refused(migration: &Migration, error: &sqlx::Error) -> MigrateError {
    let (message, line) = match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})"));
                let line = match error.position() {
                    Some(PgErrorPosition::Original(position)) => {
                        Some(line_of(&migration.sql, position))
                    }
                    _ => None,
                };
                (
                    format!("{}{}", error.message(), hint.unwrap_or_default()),
                    line,
                )
            }
            None => (error.message().to_owned(), None),
        },
        other => (other.to_string(), None),
    };
    MigrateError::Statement {
        name: migration.name.clone(),
        line,
        message,
    }
}

/// The line of the character with this number, both from 1.
fn line_of(text: &str, position: usize) -> usize {
    1 + text
        .chars()
        .take(position.saturating_sub(1))
        .filter(|letter| *letter == '\n')
        .count()
}

#[cfg(test)]
mod tests;
