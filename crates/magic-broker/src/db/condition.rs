//! `where`: from JSON to a checked tree, and from the tree to SQL.
//!
//! NULL means what it means in SQL: a comparison with it is neither true nor false, so `ne` does not
//! find rows whose column is NULL. Only where NULL is written does it match: `{"a": null}` and
//! `{"a": {"eq": null}}` are IS NULL, `ne` with it is IS NOT NULL, and in a list it stands for
//! itself. Both databases agree in all of this.

mod read;

use super::catalog::{Column, Table};
use super::kind::Dialect;
use super::sql::{Bound, Writer};
use super::value;
use magic_contract::Failure;
use serde_json::value::RawValue;

/// A comparison of a column with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `LIKE`, which tells upper from lower case.
    Like,
    /// `LIKE` in which upper and lower case are the same.
    LikeInAnyCase,
}

/// A checked condition on the rows of one table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition<'t> {
    /// All of them.
    All(Vec<Self>),
    /// At least one of them.
    Any(Vec<Self>),
    /// Not that.
    Not(Box<Self>),
    /// The column is NULL, or is not.
    Null {
        /// The column.
        column: &'t Column,
        /// Whether it shall be NULL.
        is: bool,
    },
    /// The column compared with one value.
    Compare {
        /// The column.
        column: &'t Column,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Bound,
    },
    /// The column is one of some values, or is none of them.
    OneOf {
        /// The column.
        column: &'t Column,
        /// The values that are not NULL.
        values: Vec<Bound>,
        /// Whether NULL was among them.
        null: bool,
        /// Whether it shall be none of them.
        negated: bool,
    },
}

impl<'t> Condition<'t> {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// Misuse that says what to write.
    pub(crate) fn read(
        dialect: Dialect,
        table: &'t Table,
        raw: Option<&RawValue>,
    ) -> Result<Self, Failure> {
        match raw {
            None => Ok(Self::All(Vec::new())),
            Some(raw) => read::Reader::new(dialect, table).condition(raw, read::DEPTH),
        }
    }

    /// Whether it holds for every row whatever is in it, or for none, by its shape alone.
    pub(crate) fn constant(&self) -> Option<bool> {
        match self {
            Self::All(parts) => {
                let parts: Vec<_> = parts.iter().map(Self::constant).collect();
                if parts.contains(&Some(false)) {
                    Some(false)
                } else {
                    parts.iter().all(|part| *part == Some(true)).then_some(true)
                }
            }
            Self::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(Self::constant).collect();
                if parts.contains(&Some(true)) {
                    Some(true)
                } else {
                    parts
                        .iter()
                        .all(|part| *part == Some(false))
                        .then_some(false)
                }
            }
            Self::Not(part) => part.constant().map(|constant| !constant),
            Self::OneOf {
                values,
                null: false,
                negated,
                ..
            } if values.is_empty() => Some(*negated),
            Self::Null { .. } | Self::Compare { .. } | Self::OneOf { .. } => None,
        }
    }

    /// Writes it; columns are those of the alias `t`.
    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Self::All(parts) if parts.is_empty() => {
                writer.words("TRUE");
            }
            Self::Any(parts) if parts.is_empty() => {
                writer.words("FALSE");
            }
            Self::All(parts) => writer.tree(parts, " AND ", &mut |writer, part| part.write(writer)),
            Self::Any(parts) => writer.tree(parts, " OR ", &mut |writer, part| part.write(writer)),
            Self::Not(part) => {
                writer.words("(NOT ");
                part.write(writer);
                writer.words(")");
            }
            Self::Null { column, is } => {
                column_of_t(writer, column);
                writer.words(if *is { " IS NULL" } else { " IS NOT NULL" });
            }
            Self::Compare {
                column,
                comparison,
                value,
            } => compare(writer, column, *comparison, value),
            Self::OneOf {
                column,
                values,
                null,
                negated,
            } => one_of(writer, column, values, *null, *negated),
        }
    }
}

/// Writes a column of the alias `t`. SQLite reads a quoted name that no column has as text, unless
/// it is qualified.
pub(crate) fn column_of_t(writer: &mut Writer, column: &Column) {
    writer.words("t.").name(&column.name);
}

fn compare(writer: &mut Writer, column: &Column, comparison: Comparison, value: &Bound) {
    let operator = match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Like | Comparison::LikeInAnyCase => {
            return like(writer, column, comparison, value);
        }
    };
    column_of_t(writer, column);
    writer.words(operator);
    writer.bind(value.clone(), Some(&column.type_name));
}

/// In SQLite the case of LIKE is a matter of a setting of the connection. GLOB always tells upper
/// from lower case, and the pattern was rewritten for it. Without regard to case, SQLite knows only
/// the letters of ASCII.
fn like(writer: &mut Writer, column: &Column, comparison: Comparison, value: &Bound) {
    match (writer.dialect(), comparison) {
        (Dialect::Postgres, Comparison::Like) => {
            column_of_t(writer, column);
            writer.words(" LIKE ").bind(value.clone(), None);
        }
        (Dialect::Postgres, _) => {
            column_of_t(writer, column);
            writer.words(" ILIKE ").bind(value.clone(), None);
        }
        (Dialect::Sqlite, Comparison::Like) => {
            column_of_t(writer, column);
            writer.words(" GLOB ").bind(value.clone(), None);
        }
        (Dialect::Sqlite, _) => {
            writer.words("lower(");
            column_of_t(writer, column);
            writer.words(") GLOB lower(").bind(value.clone(), None);
            writer.words(")");
        }
    }
}

fn one_of(writer: &mut Writer, column: &Column, values: &[Bound], null: bool, negated: bool) {
    if values.is_empty() && !null {
        writer.words(if negated { "TRUE" } else { "FALSE" });
        return;
    }
    writer.words("(");
    if !values.is_empty() {
        column_of_t(writer, column);
        match writer.dialect() {
            Dialect::Postgres => {
                writer.words(if negated { " <> ALL(" } else { " = ANY(" });
                writer.bind_list(value::array_text(values), &column.type_name);
            }
            Dialect::Sqlite => {
                writer.words(if negated { " NOT IN (" } else { " IN (" });
                writer.list(values, ", ", |writer, value| {
                    writer.bind(value.clone(), None);
                });
            }
        }
        writer.words(")");
    }
    if null {
        if !values.is_empty() {
            writer.words(if negated { " AND " } else { " OR " });
        }
        column_of_t(writer, column);
        writer.words(if negated { " IS NOT NULL" } else { " IS NULL" });
    }
    writer.words(")");
}
