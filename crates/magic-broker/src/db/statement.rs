//! From checked parameters to statements. Pure: nothing here asks a database.
//!
//! What a statement gives back is bounded by the database itself. A window adds up the size of the
//! rows as they come, and from the row on with which the sum exceeds the budget only NULL is sent:
//! a table with a few huge values costs the supervisor no memory, and one more row than allowed
//! tells it that there were more.

use super::catalog::{Column, Table};
use super::condition::{Condition, column_of_t};
use super::kind::{Dialect, Scalar};
use super::sql::{Bound, Statement, Writer};

/// Placeholders of one statement: 16 bits in PostgreSQL's protocol, and SQLite's default
/// (<https://www.sqlite.org/limits.html>, 9).
fn most_placeholders(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Postgres => 65_535,
        Dialect::Sqlite => 32_766,
    }
}

/// What a statement may give back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most rows; one more is asked for.
    pub(crate) rows: u64,
    /// The most bytes of all rows.
    pub(crate) bytes: u64,
}

/// One column to order by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'t> {
    /// The column.
    pub(crate) column: &'t Column,
    /// Whether the greatest come first.
    pub(crate) descending: bool,
}

/// Which rows of a table to read.
#[derive(Debug)]
pub(crate) struct Selection<'t> {
    /// The columns to give back.
    pub(crate) columns: Vec<&'t Column>,
    /// The rows.
    pub(crate) condition: Condition<'t>,
    /// Their order.
    pub(crate) order: Vec<Order<'t>>,
    /// How many at most.
    pub(crate) limit: Option<u64>,
    /// How many to leave out before the first.
    pub(crate) offset: Option<u64>,
}

/// One row to insert: the places of its columns in the table, ascending, and their values.
pub(crate) type NewRow = Vec<(usize, Bound)>;

/// Reads rows.
pub(crate) fn select(
    dialect: Dialect,
    table: &Table,
    selection: &Selection<'_>,
    bounds: Bounds,
) -> Statement {
    let mut writer = Writer::new(dialect);
    let limit = selection
        .limit
        .unwrap_or(u64::MAX)
        .min(bounds.rows.saturating_add(1));
    let tail = |writer: &mut Writer| {
        from(writer, table);
        writer.words(" WHERE ");
        selection.condition.write(writer);
        order(writer, &selection.order);
        writer.words(" LIMIT ").bind_count(limit);
        if let Some(offset) = selection.offset {
            writer.words(" OFFSET ").bind_count(offset);
        }
    };
    match dialect {
        Dialect::Postgres => bounded_json(&mut writer, bounds.bytes, |writer| {
            writer.words("SELECT ");
            json_columns(writer, &selection.columns);
            tail(writer);
        }),
        Dialect::Sqlite => {
            let numbers: Vec<usize> = (1..=selection.columns.len()).collect();
            writer.words("SELECT ");
            writer.list(&numbers, ", ", |writer, number| {
                writer
                    .words("iif(s.fits, s.")
                    .numbered('c', *number)
                    .words(", NULL)");
            });
            writer.words(
                ", s.fits FROM (SELECT r.*, sum(r.size) OVER (ROWS UNBOUNDED PRECEDING) <= ",
            );
            writer.bind_count(bounds.bytes);
            writer.words(" AS fits FROM (SELECT ");
            for (column, number) in selection.columns.iter().zip(&numbers) {
                column_of_t(&mut writer, column);
                writer.words(" AS ").numbered('c', *number).words(", ");
            }
            size(&mut writer, &selection.columns, column_of_t);
            writer.words(" AS size");
            tail(&mut writer);
            writer.words(") AS r) AS s");
        }
    }
    writer.finish()
}

/// Counts rows.
pub(crate) fn count(dialect: Dialect, table: &Table, condition: &Condition<'_>) -> Statement {
    let mut writer = Writer::new(dialect);
    writer.words("SELECT count(*)");
    from(&mut writer, table);
    writer.words(" WHERE ");
    condition.write(&mut writer);
    writer.finish()
}

/// Inserts rows, in as many statements as their shapes and number need, and in their order. A
/// column that a row does not give has its default.
pub(crate) fn insert(
    dialect: Dialect,
    table: &Table,
    rows: Vec<NewRow>,
    returning: Option<&[&Column]>,
    bounds: Bounds,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let places: Vec<usize> = first.iter().map(|(place, _)| *place).collect();
        let for_returning = returning.map_or(0, |columns| columns.len() + 2);
        let room = most_placeholders(dialect).saturating_sub(for_returning);
        let most = match places.len() {
            0 => 1,
            columns => (room / columns).max(1),
        };
        let mut chunk = vec![first];
        while chunk.len() < most {
            let same = rows.next_if(|row| {
                row.len() == places.len()
                    && row
                        .iter()
                        .zip(&places)
                        .all(|((place, _), one)| place == one)
            });
            match same {
                Some(row) => chunk.push(row),
                None => break,
            }
        }
        let columns: Vec<&Column> = places
            .iter()
            .filter_map(|place| table.columns.get(*place))
            .collect();
        statements.push(change(dialect, table, returning, bounds, |writer| {
            writer.words("INSERT INTO ");
            relation(writer, table);
            if columns.is_empty() {
                writer.words(" DEFAULT VALUES");
                return;
            }
            writer.words(" (");
            writer.list(&columns, ", ", |writer, column| {
                writer.name(&column.name);
            });
            writer.words(") VALUES ");
            writer.list(&chunk, ", ", |writer, row| {
                writer.words("(");
                let values: Vec<(&Bound, &Column)> = row
                    .iter()
                    .map(|(_, value)| value)
                    .zip(columns.iter().copied())
                    .collect();
                writer.list(&values, ", ", |writer, (value, column)| {
                    writer.bind((*value).clone(), Some(&column.type_name));
                });
                writer.words(")");
            });
        }));
    }
    statements
}

/// Updates rows.
pub(crate) fn update(
    dialect: Dialect,
    table: &Table,
    set: &[(&Column, Bound)],
    condition: &Condition<'_>,
    returning: Option<&[&Column]>,
    bounds: Bounds,
) -> Statement {
    change(dialect, table, returning, bounds, |writer| {
        writer.words("UPDATE ");
        relation(writer, table);
        writer.words(" SET ");
        writer.list(set, ", ", |writer, (column, value)| {
            writer.name(&column.name).words(" = ");
            writer.bind(value.clone(), Some(&column.type_name));
        });
        writer.words(" WHERE ");
        condition.write(writer);
    })
}

/// Deletes rows.
pub(crate) fn delete(
    dialect: Dialect,
    table: &Table,
    condition: &Condition<'_>,
    returning: Option<&[&Column]>,
    bounds: Bounds,
) -> Statement {
    change(dialect, table, returning, bounds, |writer| {
        writer.words("DELETE FROM ");
        relation(writer, table);
        writer.words(" WHERE ");
        condition.write(writer);
    })
}

fn change(
    dialect: Dialect,
    table: &Table,
    returning: Option<&[&Column]>,
    bounds: Bounds,
    write: impl FnOnce(&mut Writer),
) -> Statement {
    let mut writer = Writer::new(dialect);
    let Some(columns) = returning else {
        write(&mut writer);
        return writer.finish();
    };
    match dialect {
        // A statement that changes rows cannot stand in FROM, and can in WITH; it runs to its end
        // however many of its rows are read.
        Dialect::Postgres => {
            writer.words("WITH w AS (");
            write(&mut writer);
            writer.words(" RETURNING ");
            json_columns(&mut writer, columns);
            writer.words(") ");
            bounded_json(&mut writer, bounds.bytes, |writer| {
                writer.words("SELECT * FROM w LIMIT ");
                writer.bind_count(bounds.rows.saturating_add(1));
            });
        }
        // RETURNING of SQLite knows the table by its own name and not by its alias.
        Dialect::Sqlite => {
            write(&mut writer);
            let value = |writer: &mut Writer, column: &Column| {
                writer.name(&table.relation).words(".").name(&column.name);
            };
            writer.words(" RETURNING ");
            for column in columns {
                writer.words("iif(octet_length(");
                value(&mut writer, column);
                writer.words(") <= ").bind_count(bounds.bytes).words(", ");
                value(&mut writer, column);
                writer.words(", NULL), ");
            }
            size(&mut writer, columns, value);
            writer.words(" <= ").bind_count(bounds.bytes);
        }
    }
    writer.finish()
}

/// One text column of PostgreSQL: each row of `source` as JSON, or NULL from where the sum of their
/// sizes is more than `bytes`. `OFFSET 0` keeps the planner from writing each document twice.
pub(crate) fn bounded_json(writer: &mut Writer, bytes: u64, source: impl FnOnce(&mut Writer)) {
    writer
        .words("SELECT CASE WHEN s.size <= ")
        .bind_count(bytes);
    writer.words(
        " THEN s.j END FROM (SELECT r.j, sum(octet_length(r.j)) OVER (ROWS UNBOUNDED PRECEDING) \
         AS size FROM (SELECT row_to_json(q)::text AS j FROM (",
    );
    source(writer);
    writer.words(") AS q OFFSET 0) AS r) AS s");
}

/// The columns of the alias `t` in the form from which `row_to_json` makes what the answer says:
/// decimal numbers as text with every digit, and bytes in base 64, which PostgreSQL breaks into
/// lines.
fn json_columns(writer: &mut Writer, columns: &[&Column]) {
    writer.list(columns, ", ", |writer, column| {
        json_value(writer, column.kind.scalar, column.kind.array, |writer| {
            column_of_t(writer, column);
        });
        writer.words(" AS ").name(&column.name);
    });
}

/// One value in that form; `value` writes it.
pub(crate) fn json_value(
    writer: &mut Writer,
    scalar: Scalar,
    array: bool,
    mut value: impl FnMut(&mut Writer),
) {
    match (scalar, array) {
        (Scalar::Decimal, false) => {
            value(writer);
            writer.words("::text");
        }
        (Scalar::Decimal, true) => {
            value(writer);
            writer.words("::text[]");
        }
        (Scalar::Bytes, false) => {
            writer.words("translate(encode(");
            value(writer);
            writer.words(", 'base64'), chr(10), '')");
        }
        // Of an array of bytes with several dimensions only the elements remain.
        (Scalar::Bytes, true) => {
            writer.words("CASE WHEN ");
            value(writer);
            writer.words(
                " IS NOT NULL THEN coalesce((SELECT \
                 json_agg(translate(encode(u.e, 'base64'), chr(10), '') ORDER BY u.n) FROM unnest(",
            );
            value(writer);
            writer.words(") WITH ORDINALITY AS u(e, n)), '[]'::json) END");
        }
        _ => value(writer),
    }
}

/// The size of a row in bytes, in SQLite; `value` writes a column.
fn size(writer: &mut Writer, columns: &[&Column], value: impl Fn(&mut Writer, &Column)) {
    if columns.is_empty() {
        writer.words("0");
    }
    writer.tree(columns, " + ", &mut |writer, column| {
        writer.words("coalesce(octet_length(");
        value(writer, column);
        writer.words("), 0)");
    });
}

fn from(writer: &mut Writer, table: &Table) {
    writer.words(" FROM ");
    relation(writer, table);
}

fn relation(writer: &mut Writer, table: &Table) {
    writer
        .name(&table.schema)
        .words(".")
        .name(&table.relation)
        .words(" AS t");
}

/// Where NULL stands is said, since the databases differ: it counts as the greatest value.
fn order(writer: &mut Writer, order: &[Order<'_>]) {
    if order.is_empty() {
        return;
    }
    writer.words(" ORDER BY ");
    writer.list(order, ", ", |writer, one| {
        column_of_t(writer, one.column);
        writer.words(if one.descending {
            " DESC NULLS FIRST"
        } else {
            " ASC NULLS LAST"
        });
    });
}
