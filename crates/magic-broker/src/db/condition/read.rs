//! From JSON to the tree.

use super::{Comparison, Condition};
use crate::db::catalog::{Column, Table};
use crate::db::kind::{Dialect, Scalar};
use crate::db::literal::{Literal, Members};
use crate::db::names::column;
use crate::db::sql::Bound;
use crate::db::value;
use crate::problem;
use magic_contract::Failure;
use serde_json::value::RawValue;

/// How deep `and`, `or` and `not` may be nested.
pub(super) const DEPTH: usize = 16;

/// How many comparisons one `where` may have.
const TERMS: usize = 1_000;

/// How many values all lists of one `where` may have together.
const LISTED: usize = 10_000;

/// The longest pattern in bytes. SQLite's limit is 50,000, for its own form of the pattern, in
/// which a character can take three.
const PATTERN: usize = 10_000;

/// Reads one `where`.
pub(super) struct Reader<'t> {
    dialect: Dialect,
    table: &'t Table,
    terms_left: usize,
    listed_left: usize,
}

impl<'t> Reader<'t> {
    /// A reader of a condition on the rows of `table`.
    pub(super) fn new(dialect: Dialect, table: &'t Table) -> Self {
        Self {
            dialect,
            table,
            terms_left: TERMS,
            listed_left: LISTED,
        }
    }

    /// Reads from the outside in.
    ///
    /// # Errors
    ///
    /// Misuse that says what to write.
    pub(super) fn condition(
        &mut self,
        raw: &RawValue,
        depth: usize,
    ) -> Result<Condition<'t>, Failure> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(problem::misuse(format!(
                "`where` nests `and`, `or` and `not` deeper than {DEPTH} levels"
            )));
        };
        let Members(members) = serde_json::from_str(raw.get()).map_err(|error| {
            problem::misuse(
                "`where` is an object such as {\"id\": 1} or {\"total\": {\"gte\": 5}}, whose names \
                 are given once and are at most 1,000",
            )
            .with_internal(error.to_string())
        })?;
        let mut parts = Vec::new();
        for (name, value) in members {
            parts.push(match name.as_str() {
                "and" => Condition::All(self.conditions("and", value, depth)?),
                "or" => Condition::Any(self.conditions("or", value, depth)?),
                "not" => Condition::Not(Box::new(self.condition(value, depth)?)),
                _ => {
                    let column = column(self.table, &name)?;
                    self.term(column, value)?
                }
            });
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Condition::All(parts),
        })
    }

    fn conditions(
        &mut self,
        name: &'static str,
        raw: &RawValue,
        depth: usize,
    ) -> Result<Vec<Condition<'t>>, Failure> {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| {
            problem::misuse(format!("`{name}` in `where` takes a list of conditions"))
        })?;
        items
            .into_iter()
            .map(|item| {
                self.charge(1)?;
                self.condition(item, depth)
            })
            .collect()
    }

    /// Counts comparisons and parts alike, so that no list of empty parts grows without bound.
    fn charge(&mut self, terms: usize) -> Result<(), Failure> {
        self.terms_left = self
            .terms_left
            .checked_sub(terms)
            .ok_or_else(|| problem::misuse(format!("`where` has more than {TERMS} comparisons")))?;
        Ok(())
    }

    /// What is written beside a column's name: a value, or an object of operators.
    fn term(&mut self, column: &'t Column, raw: &RawValue) -> Result<Condition<'t>, Failure> {
        match Literal::read(raw) {
            Ok(Literal::Object(_)) => {
                let Members(members) = serde_json::from_str(raw.get()).map_err(|error| {
                    problem::misuse(format!(
                        "what `where` says about column `{}` gives an operator twice",
                        column.name
                    ))
                    .with_internal(error.to_string())
                })?;
                if members.is_empty() {
                    return Err(operators(column, "is an empty object"));
                }
                let mut parts = Vec::new();
                for (operator, value) in members {
                    parts.push(self.operator(column, &operator, value)?);
                }
                Ok(match parts.len() {
                    1 => parts.remove(0),
                    _ => Condition::All(parts),
                })
            }
            Ok(Literal::List(_)) if !column.kind.array => {
                Err(operators(column, "is a list; write {\"in\": [..]}"))
            }
            _ => self.operator(column, "eq", raw),
        }
    }

    fn operator(
        &mut self,
        column: &'t Column,
        operator: &str,
        raw: &RawValue,
    ) -> Result<Condition<'t>, Failure> {
        self.charge(1)?;
        let comparison = match operator {
            "eq" => Comparison::Equal,
            "ne" => Comparison::NotEqual,
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            "like" => Comparison::Like,
            "ilike" => Comparison::LikeInAnyCase,
            "in" => return self.one_of(column, raw, false),
            "not_in" => return self.one_of(column, raw, true),
            "is_null" => {
                let is = serde_json::from_str(raw.get()).map_err(|_| {
                    operators(column, "gives `is_null` something else than true or false")
                })?;
                return Ok(Condition::Null { column, is });
            }
            _ => return Err(operators(column, "has an operator that there is not")),
        };
        let null = raw.get() == "null";
        match (comparison, null) {
            (Comparison::Equal, true) => return Ok(Condition::Null { column, is: true }),
            (Comparison::NotEqual, true) => return Ok(Condition::Null { column, is: false }),
            (_, true) => {
                return Err(operators(column, "compares with None, which has no order"));
            }
            (_, false) => {}
        }
        comparable(column)?;
        let value = match comparison {
            Comparison::Like | Comparison::LikeInAnyCase => Bound::Text(self.pattern(column, raw)?),
            _ => value::for_column(self.dialect, self.table, column, raw)?,
        };
        Ok(Condition::Compare {
            column,
            comparison,
            value,
        })
    }

    fn one_of(
        &mut self,
        column: &'t Column,
        raw: &RawValue,
        negated: bool,
    ) -> Result<Condition<'t>, Failure> {
        comparable(column)?;
        if column.kind.array {
            return Err(operators(
                column,
                "uses a list of values on an array column",
            ));
        }
        let items: Vec<&RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| operators(column, "gives `in` something else than a list"))?;
        self.listed_left = self.listed_left.checked_sub(items.len()).ok_or_else(|| {
            problem::misuse(format!(
                "the lists of `where` have more than {LISTED} values"
            ))
        })?;
        let mut values = Vec::with_capacity(items.len());
        let mut null = false;
        for item in items {
            match value::for_column(self.dialect, self.table, column, item)? {
                Bound::Null => null = true,
                value => values.push(value),
            }
        }
        Ok(Condition::OneOf {
            column,
            values,
            null,
            negated,
        })
    }

    fn pattern(&self, column: &Column, raw: &RawValue) -> Result<String, Failure> {
        let (Scalar::Text | Scalar::Dynamic { .. }, false) =
            (column.kind.scalar, column.kind.array)
        else {
            return Err(operators(column, "uses `like`, which is for text columns"));
        };
        let Ok(Literal::Text(pattern)) = Literal::read(raw) else {
            return Err(operators(column, "gives `like` something else than text"));
        };
        if pattern.len() > PATTERN || pattern.contains('\0') {
            return Err(operators(
                column,
                "has a pattern of more than 10,000 bytes or with the character NUL in it",
            ));
        }
        let Some(glob) = glob(&pattern) else {
            return Err(operators(
                column,
                "has a pattern that ends with a lone `\\`; write `\\\\` for a backslash",
            ));
        };
        Ok(match self.dialect {
            Dialect::Postgres => pattern,
            Dialect::Sqlite => glob,
        })
    }
}

/// The pattern of GLOB that matches what the pattern of LIKE matches, with `\` to escape; nothing
/// if it ends with an escape.
fn glob(like: &str) -> Option<String> {
    let mut glob = String::with_capacity(like.len() + 8);
    let mut characters = like.chars();
    while let Some(character) = characters.next() {
        let literal = match character {
            '%' => {
                glob.push('*');
                continue;
            }
            '_' => {
                glob.push('?');
                continue;
            }
            '\\' => characters.next()?,
            other => other,
        };
        if matches!(literal, '*' | '?' | '[') {
            glob.push('[');
            glob.push(literal);
            glob.push(']');
        } else {
            glob.push(literal);
        }
    }
    Some(glob)
}

/// Documents have no order and no equality that both databases share.
fn comparable(column: &Column) -> Result<(), Failure> {
    if column.kind.scalar == Scalar::Json {
        return Err(operators(
            column,
            "compares a JSON document; it can be asked for {\"is_null\": true} only",
        ));
    }
    Ok(())
}

fn operators(column: &Column, what: &str) -> Failure {
    problem::misuse(format!(
        "what `where` says about column `{}` {what}; the operators are eq, ne, lt, lte, gt, gte, \
         in, not_in, like, ilike and is_null",
        column.name
    ))
    .with_detail("column", column.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_same() {
        for (like, expected) in [
            ("a%b_c", Some("a*b?c")),
            (r"100\%", Some("100%")),
            (r"a\_b", Some("a_b")),
            ("[x]*?", Some("[[]x][*][?]")),
            (r"a\\", Some(r"a\")),
            (r"a\", None),
        ] {
            assert_eq!(glob(like).as_deref(), expected, "{like}");
        }
    }
}
