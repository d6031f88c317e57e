//! Reads raw SQL and says what it is, or refuses it.
//!
//! What runs is not what was written. The text is parsed, printed from what was understood, parsed
//! and judged again, and the print is what the database is sent. So a comment, a quote or an escape
//! that our parser and the database's read differently is gone before the judgement, and what the
//! parser cannot read at all is refused.
//!
//! The parser's tree can be as deep as the text is long (`1+1+1+..`), and dropping it recurses, so
//! tokens are counted before it is built, and it lives and dies on a stack that is large enough.

use super::functions;
use crate::db::kind::Dialect;
use crate::db::sql::{CheckedSql, TypeName};
use crate::db::target;
use crate::problem;
use magic_contract::Failure;
use sqlparser::ast::{
    CastKind, DataType, Delete, Expr, FromTable, Function, Ident, ObjectName, Query, Select,
    SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Value, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::{PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Bytes of a statement.
const LENGTH: usize = 64 * 1024;

/// Tokens of a statement; the depth of its tree is less.
const TOKENS: usize = 4_000;

/// Brackets within brackets. The parser tries several readings of an opening one, which takes
/// twice as long with each.
const BRACKETS: usize = 12;

/// The stack for the tree, in bytes. It is reserved, and used only as far as it is needed.
const STACK: usize = 64 << 20;

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It reads rows, and may lock them.
    Read {
        /// Whether it locks what it reads.
        locks: bool,
    },
    /// It changes rows.
    Change {
        /// `insert`, `update`, `delete` or `merge`.
        operation: &'static str,
        /// The table that it changes: the parts of its name, as the database understands them.
        target: Vec<String>,
        /// Whether it gives rows back.
        returning: bool,
    },
}

/// A statement that may run.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// Its text.
    pub(crate) text: CheckedSql,
    /// Its text with `?` for every literal.
    pub(crate) masked: String,
    /// What it does.
    pub(crate) action: Action,
}

/// A statement in the two parts between which another can be put.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// `WITH ..`, if there is one.
    pub(crate) with: Option<CheckedSql>,
    /// The rest.
    pub(crate) body: CheckedSql,
}

/// Reads and judges a statement that is called with so many parameters.
///
/// # Errors
///
/// E2003 for what no controller may do; misuse for what cannot be read.
pub(crate) fn read(dialect: Dialect, sql: &str, parameters: usize) -> Result<Checked, Failure> {
    stacker::grow(STACK, || {
        let printed = parse(dialect, sql)?.to_string();
        let statement = parse(dialect, &printed)?;
        if statement.to_string() != printed {
            return Err(unreadable());
        }
        let action = judge(dialect, &statement, parameters)?;
        let mut statement = statement;
        // A visitor that never breaks has nothing to say.
        let _ = VisitMut::visit(&mut statement, &mut Mask);
        Ok(Checked {
            text: CheckedSql::vouched_for(printed),
            masked: statement.to_string(),
            action,
        })
    })
}

/// The parts of a checked statement, with every placeholder cast to its type.
///
/// # Errors
///
/// Never for what [`read`] made.
pub(crate) fn typed(text: &CheckedSql, types: &[TypeName]) -> Result<Parts, Failure> {
    stacker::grow(STACK, || {
        let mut statement = parse(Dialect::Postgres, text.as_str())?;
        let _ = VisitMut::visit(&mut statement, &mut Cast { types });
        let with = match &mut statement {
            Statement::Query(query) => query.with.take(),
            _ => None,
        };
        Ok(Parts {
            with: with.map(|with| CheckedSql::vouched_for(with.to_string())),
            body: CheckedSql::vouched_for(statement.to_string()),
        })
    })
}

fn parse(dialect: Dialect, sql: &str) -> Result<Statement, Failure> {
    let parser_dialect: &dyn sqlparser::dialect::Dialect = match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Sqlite => &SQLiteDialect {},
    };
    if sql.len() > LENGTH || sql.contains('\0') {
        return Err(too_large());
    }
    let tokens = Tokenizer::new(parser_dialect, sql)
        .tokenize_with_location()
        .map_err(|error| unreadable().with_internal(error.to_string()))?;
    let mut depth = 0_usize;
    let mut count = 0_usize;
    for token in &tokens {
        match token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        count += 1;
        if count > TOKENS || depth > BRACKETS {
            return Err(too_large());
        }
    }
    let statements = Parser::new(parser_dialect)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| unreadable().with_internal(error.to_string()))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(refused("statements", "it must be one statement")),
    }
}

fn too_large() -> Failure {
    problem::misuse(format!(
        "the statement has more than {LENGTH} bytes, {TOKENS} words or {BRACKETS} brackets within \
         each other, or the character NUL in it; pass values as parameters `$1`, `$2`"
    ))
}

fn unreadable() -> Failure {
    problem::misuse(
        "the statement is not accepted: it is no valid SQL, or uses a part of SQL that the runtime \
         does not know and therefore does not let through",
    )
}

fn refused(rule: &'static str, what: &str) -> Failure {
    problem::outside(format!("raw SQL is refused: {what}"))
        .with_detail("layer", "runtime")
        .with_detail("rule", rule)
        .with_detail("capability", "db:rawsql")
}

fn judge(dialect: Dialect, statement: &Statement, parameters: usize) -> Result<Action, Failure> {
    let action = action(statement)?;
    let mut judge = Judge {
        dialect,
        parameters,
        used: BTreeSet::new(),
        locks: false,
        changes: 0,
    };
    if let ControlFlow::Break(failure) = statement.visit(&mut judge) {
        return Err(*failure);
    }
    if judge.used.len() != parameters {
        return Err(problem::misuse(format!(
            "the statement has {} different placeholders and the call {parameters} parameters; \
             number them `$1`, `$2` and so on",
            judge.used.len()
        )));
    }
    match action {
        Action::Read { .. } if judge.changes > 0 => Err(refused(
            "change-in-with",
            "a statement that changes rows stands alone, not inside another",
        )),
        Action::Read { .. } => Ok(Action::Read { locks: judge.locks }),
        Action::Change { .. } if judge.changes > 1 => Err(refused(
            "change-in-with",
            "a statement that changes rows stands alone, not inside another",
        )),
        change => Ok(change),
    }
}

/// What the statement as a whole does.
fn action(statement: &Statement) -> Result<Action, Failure> {
    let change = |operation, target: Option<&ObjectName>, returning| {
        let target = target
            .and_then(parts)
            .ok_or_else(|| refused("target", "it is not clear which table it changes"))?;
        Ok(Action::Change {
            operation,
            target,
            returning,
        })
    };
    match statement {
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(inner)
            | SetExpr::Update(inner)
            | SetExpr::Delete(inner)
            | SetExpr::Merge(inner) => action(inner),
            _ => Ok(Action::Read { locks: false }),
        },
        Statement::Insert(insert) => {
            let target = match &insert.table {
                TableObject::TableName(name) => Some(name),
                _ => None,
            };
            change("insert", target, insert.returning.is_some())
        }
        Statement::Update(update) => change(
            "update",
            relation(&update.table),
            update.returning.is_some(),
        ),
        Statement::Delete(delete) => change("delete", deleted(delete), delete.returning.is_some()),
        Statement::Merge(merge) => {
            let target = match &merge.table {
                TableFactor::Table { name, .. } => Some(name),
                _ => None,
            };
            // PostgreSQL 17 gives rows back; what the parser reads of that is another dialect's.
            change("merge", target, false)
        }
        _ => Err(refused(
            "statement-kind",
            "only SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE are let through, with or \
             without WITH",
        )),
    }
}

fn relation(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn deleted(delete: &Delete) -> Option<&ObjectName> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    match (delete.tables.is_empty(), tables.as_slice()) {
        (true, [one]) => relation(one),
        _ => None,
    }
}

/// The parts of a name as the database understands them: what is not quoted is lower case.
fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0
        .iter()
        .map(|part| part.as_ident().map(understood))
        .collect()
}

fn understood(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}

/// Looks at every part of the statement.
struct Judge {
    dialect: Dialect,
    parameters: usize,
    used: BTreeSet<usize>,
    locks: bool,
    changes: usize,
}

type Verdict = ControlFlow<Box<Failure>>;

fn stop(failure: Failure) -> Verdict {
    ControlFlow::Break(Box::new(failure))
}

impl Judge {
    fn function(&self, name: &ObjectName) -> Verdict {
        let parts = parts(name).unwrap_or_default();
        let name = match parts.as_slice() {
            [name] => name,
            [schema, name] if self.dialect == Dialect::Postgres && schema == "pg_catalog" => name,
            _ => {
                return stop(refused(
                    "function",
                    "a function of a schema is called; only the database's own are let through",
                ));
            }
        };
        if functions::is_allowed(self.dialect, name) {
            return ControlFlow::Continue(());
        }
        let shown: String = name.chars().take(63).collect();
        stop(
            refused(
                "function",
                &format!(
                    "the function `{}` is not let through",
                    shown.escape_default()
                ),
            )
            .with_detail("target", shown),
        )
    }

    fn body(&self, body: &SetExpr) -> Verdict {
        match body {
            SetExpr::Table(_) => stop(refused(
                "table-command",
                "write SELECT * FROM instead of TABLE",
            )),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Judge {
    type Break = Box<Failure>;

    fn pre_visit_statement(&mut self, statement: &Statement) -> Verdict {
        match statement {
            Statement::Query(_) => ControlFlow::Continue(()),
            Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_) => {
                self.changes += 1;
                ControlFlow::Continue(())
            }
            _ => stop(refused(
                "statement-kind",
                "it holds another statement that is not let through",
            )),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> Verdict {
        self.locks |= !query.locks.is_empty();
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return stop(unreadable());
        }
        self.body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Verdict {
        if select.into.is_some() {
            return stop(refused("select-into", "SELECT INTO makes a table"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> Verdict {
        let Some(parts) = parts(name) else {
            return stop(unreadable());
        };
        let (schema, relation) = match parts.as_slice() {
            [relation] => (None, relation),
            [schema, relation] => (Some(schema.as_str()), relation),
            _ => {
                return stop(refused(
                    "table-name",
                    "a table is named with more than its schema",
                ));
            }
        };
        let foreign = self.dialect == Dialect::Sqlite
            && (schema.is_some_and(|schema| !schema.eq_ignore_ascii_case("main"))
                || ["dbstat", "fts3tokenize"]
                    .iter()
                    .any(|one| relation.eq_ignore_ascii_case(one)));
        let whose = if foreign {
            Some("the database's own tables")
        } else {
            target::reserved(self.dialect, schema, relation)
        };
        match whose {
            None => ControlFlow::Continue(()),
            Some(whose) => stop(refused(
                "reserved-table",
                &format!("it names one of {whose}, which no controller may use"),
            )),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Verdict {
        match factor {
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            }
            | TableFactor::Function { name, .. } => self.function(name),
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => stop(refused(
                "table-source",
                "a source of rows in FROM is not let through",
            )),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Verdict {
        match expression {
            Expr::Function(Function {
                uses_odbc_syntax: true,
                ..
            }) => stop(unreadable()),
            Expr::Function(function) => self.function(&function.name),
            Expr::BinaryOp {
                op: sqlparser::ast::BinaryOperator::PGCustomBinaryOperator(_),
                ..
            } => stop(refused("operator", "an operator of a schema is used")),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Verdict {
        let Value::Placeholder(placeholder) = &value.value else {
            return ControlFlow::Continue(());
        };
        match number(placeholder) {
            Some(number) if number <= self.parameters => {
                self.used.insert(number);
                ControlFlow::Continue(())
            }
            _ => stop(problem::misuse(
                "a placeholder has no parameter; write `$1` for the first one, `$2` for the second \
                 and so on",
            )),
        }
    }
}

/// The number of a placeholder, from 1.
fn number(placeholder: &str) -> Option<usize> {
    let digits = placeholder.strip_prefix('$')?;
    let plain = (1..=5).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Puts `?` in the place of every literal.
struct Mask;

impl VisitorMut for Mask {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if !matches!(
            value.value,
            Value::Placeholder(_) | Value::Null | Value::Boolean(_)
        ) {
            value.value = Value::Placeholder("?".to_owned());
        }
        ControlFlow::Continue(())
    }
}

/// Casts every placeholder to its type, from the text that it is bound as.
struct Cast<'t> {
    types: &'t [TypeName],
}

impl VisitorMut for Cast<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(value) = &*expression else {
            return ControlFlow::Continue(());
        };
        let Value::Placeholder(placeholder) = &value.value else {
            return ControlFlow::Continue(());
        };
        let Some(name) = number(placeholder).and_then(|number| self.types.get(number - 1)) else {
            return ControlFlow::Continue(());
        };
        let placeholder = Expr::Value(value.clone());
        let cast = |inner, to: &str| Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(inner),
            data_type: DataType::Custom(ObjectName::from(Ident::new(to)), Vec::new()),
            format: None,
        };
        *expression = Expr::Nested(Box::new(cast(cast(placeholder, "text"), name.as_str())));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
