//! Raw SQL: the author's own statement, checked, bounded and run in the request's transaction.
//!
//! What it may not do is decided three times over: by the checker here, which lets through a closed
//! list of statements and functions; by the transaction, which is read-only unless the contract
//! grants `db:write`; and by the rights of the role that the runtime connects with. SQLite has no
//! roles, and the driver does not offer its authorizer, so there the checker and `query_only` stand
//! alone.
//!
//! In PostgreSQL the statement is prepared first. The server then tells the types of parameters and
//! columns, and the statement runs inside another one that binds and gives back values in the forms
//! of all the other calls. In SQLite a column that comes straight from a table has that column's
//! kind, and an expression has the kind of its value.

mod check;
mod functions;

use super::catalog::{Catalog, Found};
use super::connection::{Connection, Limits};
use super::database_error::{self, About};
use super::kind::{Dialect, Kind, Scalar};
use super::perform::too_many_writes;
use super::rows::{self, Rows, RunError, Shown};
use super::sql::{Bound, CheckedSql, Statement, TypeName, Writer, query_hash};
use super::statement::{bounded_json, json_value};
use super::target;
use super::value;
use crate::call::Call;
use crate::problem;
use check::{Action, Checked};
use magic_contract::{
    Allowance, Capability, CapabilityKind, ErrorCode, Failure, TableName, Target,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::{Column as _, Either, Executor as _, Statement as _};

/// Characters of the statement that the record keeps.
const RECORDED: usize = 2_000;

/// Parameters of one statement.
const PARAMETERS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParameters<'a> {
    sql: String,
    #[serde(borrow)]
    params: Option<Vec<&'a RawValue>>,
}

/// Performs one raw statement. `writes` is the contract's `db:write`, if it is granted: without it
/// nothing may be changed or locked, and with it only the tables that it lists.
///
/// # Errors
///
/// What the controller is told. The transaction may be left with half of the call done: the caller
/// rolls back to its savepoint.
pub(crate) async fn perform_raw(
    mut connection: Connection<'_>,
    catalog: &Catalog,
    call: &mut Call<'_>,
    params: &str,
    limits: &mut Limits,
    writes: Option<&Allowance>,
) -> Result<String, Failure> {
    let parameters: RawParameters<'_> = problem::parameters(call.method, params)?;
    let values = parameters.params.unwrap_or_default();
    if values.len() > PARAMETERS {
        return Err(problem::misuse(format!(
            "a statement takes at most {PARAMETERS} parameters"
        )));
    }
    let checked = check::read(connection.dialect(), &parameters.sql, values.len())?;
    call.fact(
        "query_text",
        checked.masked.chars().take(RECORDED).collect::<String>(),
    );
    call.fact("query_hash", query_hash([checked.masked.as_str()]));
    let changed = judge_writes(&mut connection, catalog, call, &checked, writes).await?;
    let result = match &mut connection {
        Connection::Postgres(connection) => postgres(connection, &checked, &values, limits).await,
        Connection::Sqlite(connection) => {
            sqlite(connection, catalog, &checked, &values, limits).await
        }
    };
    let answer = result.map_err(|error| database_error::failure(error, About { table: None }))?;
    if let Some(changed) = changed {
        call.fact("row_count", answer.count);
        let declared = writes.and_then(|allowance| match allowance.capability() {
            Capability::DbWrite {
                max_rows: Some(most),
                ..
            } => Some(u64::from(most.get())),
            _ => None,
        });
        if answer.count > declared.unwrap_or(u64::MAX).min(limits.writes_left) {
            return Err(too_many_writes(&changed, answer.count, declared, limits));
        }
        limits.writes_left = limits.writes_left.saturating_sub(answer.count);
    }
    Ok(format!(
        "{{\"columns\":{},\"rows\":[{}],\"count\":{}}}",
        answer.columns, answer.rows, answer.count
    ))
}

struct Answer {
    columns: String,
    rows: String,
    count: u64,
}

impl Answer {
    fn of(rows: &Rows) -> Result<Self, Failure> {
        Ok(Self {
            columns: rows.columns()?,
            rows: rows.text().to_owned(),
            count: rows.count(),
        })
    }

    fn changed(count: u64) -> Self {
        Self {
            columns: "{}".to_owned(),
            rows: String::new(),
            count,
        }
    }
}

/// Whether the statement may change what it changes; the table's name, if it changes one.
async fn judge_writes(
    connection: &mut Connection<'_>,
    catalog: &Catalog,
    call: &mut Call<'_>,
    checked: &Checked,
    writes: Option<&Allowance>,
) -> Result<Option<String>, Failure> {
    let parts = match &checked.action {
        Action::Read { locks: false } => return Ok(None),
        Action::Read { locks: true } => {
            return match writes {
                Some(_) => Ok(None),
                None => Err(not_granted("locks rows", "..")),
            };
        }
        Action::Change {
            operation, target, ..
        } => {
            call.fact("operation", *operation);
            target
        }
    };
    let name = canonical(connection, catalog, parts).await?;
    call.fact("table", name.as_str());
    match writes {
        None => Err(not_granted("changes rows", &name)),
        Some(allowance) => allowance.check(&Target::Table(&name)).map(|()| Some(name)),
    }
}

/// The one name of a table that raw SQL may have written in several ways.
async fn canonical(
    connection: &mut Connection<'_>,
    catalog: &Catalog,
    parts: &[String],
) -> Result<String, Failure> {
    let about = About { table: None };
    let default = Catalog::default_schema(connection)
        .await
        .map_err(|error| database_error::failure(error.into(), about))?;
    let name = match parts {
        [relation] => relation.clone(),
        [schema, relation] if connection.dialect() == Dialect::Postgres => {
            if *schema == default {
                relation.clone()
            } else {
                format!("{schema}.{relation}")
            }
        }
        [_, relation] => relation.clone(),
        _ => String::new(),
    };
    if name.parse::<TableName>().is_err() {
        return Err(problem::outside(
            "raw SQL is refused: the table that it changes has a name that no contract can list",
        )
        .with_detail("layer", "runtime")
        .with_detail("rule", "table-name"));
    }
    if connection.dialect() == Dialect::Postgres {
        return Ok(name);
    }
    // SQLite does not tell upper from lower case, and contracts do.
    let names = catalog
        .names(connection)
        .await
        .map_err(|error| database_error::failure(error.into(), about))?;
    Ok(names
        .into_iter()
        .find(|one| one.eq_ignore_ascii_case(&name))
        .unwrap_or(name))
}

fn not_granted(does: &str, table: &str) -> Failure {
    let line = format!("- db:write: {{ tables: [{table}] }}");
    Failure::new(
        ErrorCode::CapabilityUndeclared,
        format!(
            "the statement {does}, and the contract does not grant `db:write`; add under \
             `capabilities:` of the contract: {line}"
        ),
    )
    .with_detail("capability", CapabilityKind::DbWrite.as_str())
    .with_detail("layer", "contract")
    .with_detail("line", line)
}

async fn postgres(
    connection: &mut sqlx::PgConnection,
    checked: &Checked,
    values: &[&RawValue],
    limits: &Limits,
) -> Result<Answer, RunError> {
    let prepared = (&mut *connection)
        .prepare(rows::checked_text(&checked.text))
        .await?;
    let parameters: Vec<u32> = match prepared.parameters() {
        Some(Either::Left(types)) => types.iter().map(oid).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    let names: Vec<String> = prepared
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let mut oids = parameters.clone();
    for column in prepared.columns() {
        oids.push(oid(column.type_info())?);
    }
    let mut types = Catalog::types(connection, &oids).await?;
    let column_types = types.split_off(parameters.len());
    let mut bound = Vec::with_capacity(values.len());
    for (index, (raw, (kind, type_name))) in values.iter().zip(&types).enumerate() {
        let value = value::bind(Dialect::Postgres, *kind, raw).map_err(|mismatch| {
            problem::misuse(format!(
                "parameter `${}` is {} and takes {}; it was given {}",
                index + 1,
                type_name.as_str(),
                kind.takes(),
                mismatch.as_str()
            ))
        })?;
        bound.push(value);
    }
    let type_names: Vec<TypeName> = types.into_iter().map(|(_, name)| name).collect();
    let parts = check::typed(&checked.text, &type_names)?;
    let shown = shown(names, &column_types)?;
    let statement = wrapped(&checked.action, &parts, &shown, bound, limits);
    let mut connection = Connection::Postgres(connection);
    if shown.is_empty() {
        let count = rows::execute(&mut connection, &statement).await?;
        return Ok(Answer::changed(count));
    }
    let mut collected = Rows::new(shown, limits.rows_per_call, limits.bytes_per_call);
    rows::collect(&mut connection, &statement, &mut collected).await?;
    Ok(Answer::of(&collected)?)
}

fn oid(info: &sqlx::postgres::PgTypeInfo) -> Result<u32, sqlx::Error> {
    info.oid()
        .map(|oid| oid.0)
        .ok_or_else(|| sqlx::Error::Protocol("a type without an identifier".to_owned()))
}

/// Puts the statement where its rows can be bounded and converted.
fn wrapped(
    action: &Action,
    parts: &check::Parts,
    shown: &[Shown],
    values: Vec<Bound>,
    limits: &Limits,
) -> Statement {
    let mut writer = Writer::new(Dialect::Postgres);
    writer.values_before(values);
    if shown.is_empty() {
        if let Some(with) = &parts.with {
            writer.checked(with).words(" ");
        }
        writer.checked(&parts.body);
        return writer.finish();
    }
    let aliases: Vec<usize> = (1..=shown.len()).collect();
    let columns = |writer: &mut Writer| {
        writer.list(&aliases, ", ", |writer, number| {
            writer.numbered('c', *number);
        });
    };
    let changes = matches!(action, Action::Change { .. });
    match (&parts.with, changes) {
        (Some(with), true) => {
            writer.checked(with).words(", magic_changed(");
        }
        (None, true) => {
            writer.words("WITH magic_changed(");
        }
        (Some(with), false) => {
            writer.checked(with).words(" ");
        }
        (None, false) => {}
    }
    if changes {
        columns(&mut writer);
        writer.words(") AS (").checked(&parts.body).words(") ");
    }
    bounded_json(&mut writer, limits.bytes_per_call, |writer| {
        writer.words("SELECT ");
        let numbered: Vec<(usize, &Shown)> = aliases.iter().copied().zip(shown).collect();
        writer.list(&numbered, ", ", |writer, (number, column)| {
            json_value(writer, column.kind.scalar, column.kind.array, |writer| {
                writer.words("t.").numbered('c', *number);
            });
            writer.words(" AS ").name(&column.name);
        });
        if changes {
            writer.words(" FROM magic_changed AS t");
        } else {
            writer
                .words(" FROM (")
                .checked(&parts.body)
                .words(") AS t(");
            columns(writer);
            writer.words(")");
        }
        writer
            .words(" LIMIT ")
            .bind_count(limits.rows_per_call.saturating_add(1));
    });
    writer.finish()
}

fn shown(names: Vec<String>, types: &[(Kind, TypeName)]) -> Result<Vec<Shown>, Failure> {
    let shown: Vec<Shown> = names
        .into_iter()
        .zip(types)
        .map(|(name, (kind, type_name))| Shown {
            name,
            kind: *kind,
            declared: type_name.as_str().to_owned(),
        })
        .collect();
    unique(&shown)?;
    Ok(shown)
}

/// A row is an object, and an object has each name once.
fn unique(shown: &[Shown]) -> Result<(), Failure> {
    let mut names: Vec<&str> = shown.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(problem::misuse(
            "two columns of the result have the same name; give each its own with AS",
        ));
    }
    Ok(())
}

async fn sqlite(
    connection: &mut sqlx::SqliteConnection,
    catalog: &Catalog,
    checked: &Checked,
    values: &[&RawValue],
    limits: &Limits,
) -> Result<Answer, RunError> {
    let mut bound = Vec::with_capacity(values.len());
    for (index, raw) in values.iter().enumerate() {
        bound.push(value::bind_untyped(raw).map_err(|mismatch| {
            problem::misuse(format!(
                "parameter `${}` was given {}",
                index + 1,
                mismatch.as_str()
            ))
        })?);
    }
    let statement = plain(&checked.text, bound);
    let origins: Vec<(String, Option<(String, String)>)> = {
        let prepared = (&mut *connection)
            .prepare(rows::checked_text(&checked.text))
            .await?;
        prepared
            .columns()
            .iter()
            .map(|column| {
                let origin = column.origin();
                let origin = origin
                    .table_column()
                    .map(|origin| (origin.table.to_string(), origin.name.to_string()));
                (column.name().to_owned(), origin)
            })
            .collect()
    };
    if origins.is_empty() {
        let count = rows::execute(&mut Connection::Sqlite(connection), &statement).await?;
        return Ok(Answer::changed(count));
    }
    let mut shown = Vec::with_capacity(origins.len());
    for (name, origin) in origins {
        shown.push(described(connection, catalog, name, origin).await?);
    }
    unique(&shown)?;
    let mut collected = Rows::new(shown, limits.rows_per_call, limits.bytes_per_call);
    rows::collect_raw(connection, &statement, &mut collected).await?;
    Ok(Answer::of(&collected)?)
}

fn plain(text: &CheckedSql, values: Vec<Bound>) -> Statement {
    let mut writer = Writer::new(Dialect::Sqlite);
    writer.values_before(values).checked(text);
    writer.finish()
}

/// A column of the result, by the column of the table that it comes from.
async fn described(
    connection: &mut sqlx::SqliteConnection,
    catalog: &Catalog,
    name: String,
    origin: Option<(String, String)>,
) -> Result<Shown, RunError> {
    let mut shown = Shown {
        name,
        kind: Kind::plain(Scalar::Dynamic { numeric: false }),
        declared: "an expression".to_owned(),
    };
    let Some((table, column)) = origin else {
        return Ok(shown);
    };
    if target::reserved(Dialect::Sqlite, None, &table).is_some() {
        return Ok(shown);
    }
    let mut connection = Connection::Sqlite(connection);
    if let Found::Table(table) = catalog.table(&mut connection, &table).await?
        && let Some(column) = table.column(&column)
    {
        shown.kind = column.kind;
        shown.declared.clone_from(&column.declared);
    }
    Ok(shown)
}
