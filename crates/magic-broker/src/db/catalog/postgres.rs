//! The catalogue of PostgreSQL.
//!
//! A domain is what it is made of, and an array is a list of its elements, however often they are
//! wrapped: the recursive query walks from a column's type down to one that is neither.

use super::{Column, Found, Table};
use crate::db::kind::{Kind, Scalar};
use crate::db::sql::TypeName;
use crate::db::target;
use sqlx::PgConnection;
use std::sync::Arc;

pub(super) async fn table(connection: &mut PgConnection, name: &str) -> Result<Found, sqlx::Error> {
    let (schema, relation) = target::split(name);
    // Ordinary, partitioned and foreign tables, views and materialized views.
    let found: Option<(i64, String, String, bool)> = sqlx::query_as(
        "SELECT c.oid::pg_catalog.int8, c.relkind::pg_catalog.text, n.nspname::pg_catalog.text, \
         coalesce(n.nspname = pg_catalog.current_schema(), false) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname = $2 AND n.nspname = coalesce($1, pg_catalog.current_schema()::text) \
         AND c.relkind IN ('r', 'p', 'f', 'v', 'm')",
    )
    .bind(schema)
    .bind(relation)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((oid, relkind, found_schema, is_default)) = found else {
        return Ok(Found::Nothing);
    };
    // Also when a search path that nobody expected leads there.
    if target::OWN_SCHEMAS.contains(&found_schema.as_str()) {
        return Ok(Found::Nothing);
    }
    if is_default && schema.is_some() {
        return Ok(Found::OnlyBare);
    }
    let rows: Vec<(String, String, String, bool, String, bool)> = sqlx::query_as(
        "WITH RECURSIVE walk(attnum, oid, listed) AS ( \
           SELECT a.attnum, a.atttypid, false FROM pg_catalog.pg_attribute a \
           WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped \
           UNION ALL \
           SELECT w.attnum, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, \
             w.listed OR t.typtype <> 'd' \
           FROM walk w JOIN pg_catalog.pg_type t ON t.oid = w.oid \
           WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)) \
         SELECT a.attname::text, pg_catalog.format_type(a.atttypid, -1), \
           pg_catalog.format_type(a.atttypid, a.atttypmod), w.listed, t.typname::text, \
           t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace \
         FROM pg_catalog.pg_attribute a JOIN walk w ON w.attnum = a.attnum \
         JOIN pg_catalog.pg_type t ON t.oid = w.oid \
         WHERE a.attrelid = $1::pg_catalog.oid \
         AND NOT (t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)) \
         ORDER BY a.attnum",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await?;
    let columns = rows
        .into_iter()
        .map(|(name, cast, declared, array, element, built_in)| Column {
            name,
            kind: kind(&element, built_in, array),
            type_name: TypeName::printed_by_the_server(cast),
            declared,
        })
        .collect();
    Ok(Found::Table(Arc::new(Table::new(
        name,
        &found_schema,
        relation,
        columns,
        matches!(relkind.as_str(), "v" | "m"),
    ))))
}

pub(super) async fn types(
    connection: &mut PgConnection,
    oids: &[u32],
) -> Result<Vec<(Kind, TypeName)>, sqlx::Error> {
    let oids: Vec<i64> = oids.iter().map(|oid| i64::from(*oid)).collect();
    let rows: Vec<(String, bool, String, bool)> = sqlx::query_as(
        "WITH RECURSIVE walk(place, start, oid, listed) AS ( \
           SELECT place, o::pg_catalog.oid, o::pg_catalog.oid, false \
           FROM unnest($1::int8[]) WITH ORDINALITY AS u(o, place) \
           UNION ALL \
           SELECT w.place, w.start, \
             CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, \
             w.listed OR t.typtype <> 'd' \
           FROM walk w JOIN pg_catalog.pg_type t ON t.oid = w.oid \
           WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)) \
         SELECT pg_catalog.format_type(w.start, -1), w.listed, t.typname::text, \
           t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace \
         FROM walk w JOIN pg_catalog.pg_type t ON t.oid = w.oid \
         WHERE NOT (t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)) \
         ORDER BY w.place",
    )
    .bind(&oids)
    .fetch_all(connection)
    .await?;
    if rows.len() != oids.len() {
        return Err(sqlx::Error::Protocol(
            "a type of the statement is not in the catalogue".to_owned(),
        ));
    }
    Ok(rows
        .into_iter()
        .map(|(cast, array, element, built_in)| {
            (
                kind(&element, built_in, array),
                TypeName::printed_by_the_server(cast),
            )
        })
        .collect())
}

pub(super) async fn default_schema(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(pg_catalog.current_schema()::text, '')")
        .fetch_one(connection)
        .await
}

pub(super) async fn names(
    connection: &mut PgConnection,
    most: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CASE WHEN n.nspname = pg_catalog.current_schema() THEN c.relname::text \
           ELSE n.nspname::text || '.' || c.relname::text END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND n.nspname !~ '^pg_' \
         AND n.nspname NOT IN ('information_schema', 'magic', 'magic_state') \
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
         ORDER BY 1 LIMIT $1",
    )
    .bind(most)
    .fetch_all(connection)
    .await
}

/// A type that somebody else named `numeric` is not the database's.
fn kind(element: &str, built_in: bool, array: bool) -> Kind {
    Kind {
        scalar: if built_in {
            Kind::of_postgres_type(element)
        } else {
            Scalar::Other
        },
        array,
    }
}
