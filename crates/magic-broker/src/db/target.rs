//! Which table a call is about, decided before the database is asked.
//!
//! A table has exactly one name here: bare in the default schema, `schema.table` elsewhere. If one
//! table could be written in two ways, a rule that forbids one of them would forbid nothing.

use super::kind::Dialect;
use crate::call::Call;
use crate::problem;
use magic_contract::{Failure, TableName, Target};

/// The schemas of PostgreSQL that hold the runtime's own tables: the broker's, and those of the
/// runtime's state, which an operator may have put into the same database.
pub(super) const OWN_SCHEMAS: [&str; 2] = ["magic", "magic_state"];

/// How the runtime's own tables begin in SQLite, which has no schemas.
pub(super) const OWN_PREFIX: &str = "magic_";

/// A table that contract and policy allow, by its one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedTable {
    name: String,
}

impl AllowedTable {
    /// Judges a name that a controller wrote.
    ///
    /// # Errors
    ///
    /// E2003 when it is no table's name, or one of the database's or the runtime's own tables, or
    /// not listed by the contract; E2002 when the policy denies it.
    pub(crate) fn judge(
        call: &mut Call<'_>,
        dialect: Dialect,
        written: &str,
    ) -> Result<Self, Failure> {
        let shown: String = written.chars().take(127).collect();
        call.fact("table", shown);
        if written.parse::<TableName>().is_err() {
            return Err(problem::outside(format!(
                "that is no name of a table; write it as the contract does: {}",
                TableName::RULE
            ))
            .with_detail("layer", "runtime")
            .with_detail("rule", "table-name"));
        }
        let (schema, relation) = split(written);
        if let Some(whose) = reserved(dialect, schema, relation) {
            return Err(problem::outside(format!(
                "`{written}` is one of {whose}, which no controller may use"
            ))
            .with_detail("layer", "runtime")
            .with_detail("rule", "reserved-table")
            .with_detail("target", written));
        }
        call.check(&Target::Table(written))?;
        if dialect == Dialect::Sqlite && schema.is_some() {
            return Err(only_bare(written, relation));
        }
        Ok(Self {
            name: written.to_owned(),
        })
    }

    /// The name as the contract writes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

/// The schema, if one is written, and the relation.
pub(super) fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('.') {
        Some((schema, relation)) => (Some(schema), relation),
        None => (None, name),
    }
}

/// Whose a name is when it is neither the author's nor the operator's. Case does not matter, since
/// a database may fold it.
pub(super) fn reserved(
    dialect: Dialect,
    schema: Option<&str>,
    relation: &str,
) -> Option<&'static str> {
    let begins = |text: &str, with: &str| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    match dialect {
        Dialect::Sqlite => {
            if begins(relation, "sqlite_") || begins(relation, "pragma_") {
                Some("the database's own tables")
            } else if begins(relation, OWN_PREFIX) {
                Some("the runtime's own tables")
            } else {
                None
            }
        }
        Dialect::Postgres => {
            let schema = schema.unwrap_or_default();
            if begins(relation, "pg_")
                || begins(schema, "pg_")
                || schema.eq_ignore_ascii_case("information_schema")
            {
                Some("the database's own tables")
            } else if OWN_SCHEMAS
                .iter()
                .any(|own| schema.eq_ignore_ascii_case(own))
            {
                Some("the runtime's own tables")
            } else {
                None
            }
        }
    }
}

/// The refusal of a name that has a second, shorter form.
pub(super) fn only_bare(written: &str, relation: &str) -> Failure {
    problem::outside(format!(
        "a table of the default schema has its bare name only: write `{relation}` instead of \
         `{written}`, here and in the contract"
    ))
    .with_detail("layer", "runtime")
    .with_detail("rule", "one-name")
    .with_detail("target", written)
}
