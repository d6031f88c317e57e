//! What the tables are made of, asked of the database itself and remembered for a moment.
//!
//! The catalogue is the allow-list of columns: a name that is not in it is an error before any SQL
//! exists. It is also what gives values their types. A description is at most a few seconds old, so
//! that a migration needs no restart; one that turns out to be wrong earlier is forgotten at once.

mod postgres;
mod sqlite;

use super::connection::Connection;
use super::kind::Kind;
use super::sql::TypeName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a description is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(5);

/// Descriptions kept; beyond this all are forgotten, since nobody has so many tables in use.
const KEPT: usize = 1_000;

/// Names that are listed to choose a similar one from.
const LISTED: i64 = 500;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Its type as the database writes it; what PostgreSQL casts to.
    pub(crate) type_name: TypeName,
    /// What the database itself calls the type, for people.
    pub(crate) declared: String,
}

/// One table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The one name that contracts use.
    pub(crate) name: String,
    /// Its schema; `main` in SQLite.
    pub(crate) schema: String,
    /// Its name within the schema.
    pub(crate) relation: String,
    /// Its columns, in their order.
    pub(crate) columns: Vec<Column>,
    /// The place of each column, by its name.
    places: HashMap<String, usize>,
    /// Whether it is a view, which can be read only.
    pub(crate) is_view: bool,
}

impl Table {
    /// A table that contracts call `name`.
    pub(crate) fn new(
        name: &str,
        schema: &str,
        relation: &str,
        columns: Vec<Column>,
        is_view: bool,
    ) -> Self {
        Self {
            name: name.to_owned(),
            schema: schema.to_owned(),
            relation: relation.to_owned(),
            places: columns
                .iter()
                .enumerate()
                .map(|(place, column)| (column.name.clone(), place))
                .collect(),
            columns,
            is_view,
        }
    }

    /// The place of the column of exactly that name.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The column of exactly that name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(self.place(name)?)
    }
}

/// What the catalogue knows under a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// A table.
    Table(Arc<Table>),
    /// A table whose one name is shorter.
    OnlyBare,
    /// Nothing.
    Nothing,
}

/// Descriptions of one database's tables, shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    tables: Mutex<HashMap<String, (Instant, Arc<Table>)>>,
}

impl Catalog {
    /// An empty catalogue.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Describes the table of that name.
    ///
    /// # Errors
    ///
    /// The database's own.
    pub(crate) async fn table(
        &self,
        connection: &mut Connection<'_>,
        name: &str,
    ) -> Result<Found, sqlx::Error> {
        if let Some(table) = self.remembered(name) {
            return Ok(Found::Table(table));
        }
        let found = match connection {
            Connection::Sqlite(connection) => sqlite::table(connection, name).await?,
            Connection::Postgres(connection) => postgres::table(connection, name).await?,
        };
        if let Found::Table(table) = &found {
            self.remember(name, Arc::clone(table));
        }
        Ok(found)
    }

    /// Some of the tables that there are, for a suggestion.
    ///
    /// # Errors
    ///
    /// The database's own.
    pub(crate) async fn names(
        &self,
        connection: &mut Connection<'_>,
    ) -> Result<Vec<String>, sqlx::Error> {
        match connection {
            Connection::Sqlite(connection) => sqlite::names(connection, LISTED).await,
            Connection::Postgres(connection) => postgres::names(connection, LISTED).await,
        }
    }

    /// The kinds of PostgreSQL types by their object identifiers, in the same order.
    ///
    /// # Errors
    ///
    /// The database's own; also when a type does not exist any more.
    pub(crate) async fn types(
        connection: &mut sqlx::PgConnection,
        oids: &[u32],
    ) -> Result<Vec<(Kind, TypeName)>, sqlx::Error> {
        postgres::types(connection, oids).await
    }

    /// The schema that bare names are looked up in.
    ///
    /// # Errors
    ///
    /// The database's own.
    pub(crate) async fn default_schema(
        connection: &mut Connection<'_>,
    ) -> Result<String, sqlx::Error> {
        match connection {
            Connection::Sqlite(_) => Ok("main".to_owned()),
            Connection::Postgres(connection) => postgres::default_schema(connection).await,
        }
    }

    /// Forgets a description that turned out to be wrong.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn remembered(&self, name: &str) -> Option<Arc<Table>> {
        self.lock()
            .get(name)
            .filter(|(since, _)| since.elapsed() < BELIEVED_FOR)
            .map(|(_, table)| Arc::clone(table))
    }

    fn remember(&self, name: &str, table: Arc<Table>) {
        let mut tables = self.lock();
        if tables.len() >= KEPT {
            tables.clear();
        }
        tables.insert(name.to_owned(), (Instant::now(), table));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Arc<Table>)>> {
        // Every change is one call on the map, so a panic elsewhere leaves it whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
