//! The catalogue of SQLite: its schema table, and what a table declares of its columns.
//!
//! SQLite compares names without regard to case. The catalogue does not, so that a table has one
//! name only: the one that its maker wrote.

use super::{Column, Found, Table};
use crate::db::kind::Kind;
use crate::db::sql::TypeName;
use crate::db::target;
use sqlx::SqliteConnection;
use std::sync::Arc;

pub(super) async fn table(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Found, sqlx::Error> {
    let (schema, relation) = target::split(name);
    if schema.is_some() {
        return Ok(Found::OnlyBare);
    }
    let kind: Option<String> = sqlx::query_scalar(
        "SELECT type FROM main.sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')",
    )
    .bind(relation)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(kind) = kind else {
        return Ok(Found::Nothing);
    };
    // Hidden columns of kind 1 belong to virtual tables and are arguments, not data.
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, type FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 ORDER BY cid",
    )
    .bind(relation)
    .fetch_all(&mut *connection)
    .await?;
    let columns = columns
        .into_iter()
        .map(|(name, declared)| Column {
            name,
            kind: Kind::plain(Kind::of_declared_type(&declared)),
            // Never written into a statement: SQLite needs no casts.
            type_name: TypeName::printed_by_the_server(String::new()),
            declared: if declared.is_empty() {
                "of no declared type".to_owned()
            } else {
                declared
            },
        })
        .collect();
    Ok(Found::Table(Arc::new(Table::new(
        name,
        "main",
        relation,
        columns,
        kind == "view",
    ))))
}

pub(super) async fn names(
    connection: &mut SqliteConnection,
    most: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view') \
         AND lower(substr(name, 1, 7)) <> 'sqlite_' AND lower(substr(name, 1, 6)) <> 'magic_' \
         ORDER BY name LIMIT ?1",
    )
    .bind(most)
    .fetch_all(connection)
    .await
}
