//! SQL text that is not a constant: the one place of the transaction code where
//! it is declared safe.
//!
//! What comes through here is made of constants, numbers and quoted names of
//! the operator's settings, or is a migration that the operator wrote. Nothing a
//! controller sends is ever part of it.

use sqlx::{AssertSqlSafe, RawSql};

/// A script for the simple protocol, which takes several statements at once.
pub(super) fn script(sql: String) -> RawSql {
    sqlx::raw_sql(AssertSqlSafe(sql))
}

/// A name, quoted so that it can only ever be a name.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name cannot end its quotes.
    #[test]
    fn names_stay_names() {
        assert_eq!(quoted("raw"), "\"raw\"");
        assert_eq!(quoted("a\"; DROP TABLE b"), "\"a\"\"; DROP TABLE b\"");
    }
}
