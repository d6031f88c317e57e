//! The structured calls: read the parameters, judge, write the statement, run it, answer.

use super::catalog::{Catalog, Column, Found, Table};
use super::condition::Condition;
use super::connection::{Connection, Limits};
use super::database_error::{self, About};
use super::kind::{Dialect, Scalar};
use super::literal::{MEMBERS, Members};
use super::names;
use super::rows::{self, Rows, RunError, Shown};
use super::sql::{Bound, Statement, query_hash};
use super::statement::{self, Bounds, NewRow, Order, Selection};
use super::target::{self, AllowedTable};
use super::value;
use crate::call::Call;
use crate::capability::Method;
use crate::problem;
use magic_contract::{Capability, Failure, Target};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Rows of one insert.
const ROWS: usize = 10_000;

/// Columns to order by.
const ORDERS: usize = 32;

/// Tables that are listed in a message.
const SHOWN: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryParameters<'a> {
    table: String,
    columns: Option<Vec<String>>,
    #[serde(borrow, rename = "where")]
    condition: Option<&'a RawValue>,
    order_by: Option<OrderBy>,
    limit: Option<u64>,
    offset: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryOneParameters<'a> {
    table: String,
    columns: Option<Vec<String>>,
    #[serde(borrow, rename = "where")]
    condition: Option<&'a RawValue>,
    order_by: Option<OrderBy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountParameters<'a> {
    table: String,
    #[serde(borrow, rename = "where")]
    condition: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InsertParameters<'a> {
    table: String,
    #[serde(borrow)]
    rows: Vec<Members<'a>>,
    returning: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateParameters<'a> {
    table: String,
    #[serde(borrow)]
    set: Members<'a>,
    #[serde(borrow, rename = "where")]
    condition: Option<&'a RawValue>,
    returning: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteParameters<'a> {
    table: String,
    #[serde(borrow, rename = "where")]
    condition: Option<&'a RawValue>,
    returning: Option<Vec<String>>,
}

/// One name, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OrderBy {
    One(String),
    Several(Vec<String>),
}

/// Performs one structured call.
///
/// # Errors
///
/// What the controller is told. The transaction may be left with half of the call done: the caller
/// rolls back to its savepoint.
pub(crate) async fn perform(
    mut connection: Connection<'_>,
    catalog: &Catalog,
    call: &mut Call<'_>,
    params: &str,
    limits: &mut Limits,
) -> Result<String, Failure> {
    let method = call.method;
    let mut performer = Performer {
        connection: &mut connection,
        catalog,
        call,
        limits,
    };
    match method {
        Method::DbQuery => performer.query(problem::parameters(method, params)?).await,
        Method::DbQueryOne => {
            performer
                .query_one(problem::parameters(method, params)?)
                .await
        }
        Method::DbCount => performer.count(problem::parameters(method, params)?).await,
        Method::DbInsert => performer.insert(problem::parameters(method, params)?).await,
        Method::DbUpdate => performer.update(problem::parameters(method, params)?).await,
        Method::DbDelete => performer.delete(problem::parameters(method, params)?).await,
        other => Err(problem::backend(
            "the runtime took a wrong turn",
            false,
            format!("{} is no structured database call", other.as_str()),
        )),
    }
}

struct Performer<'p, 'c, 'a> {
    connection: &'p mut Connection<'c>,
    catalog: &'p Catalog,
    call: &'p mut Call<'a>,
    limits: &'p mut Limits,
}

impl Performer<'_, '_, '_> {
    fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            rows: self.limits.rows_per_call,
            bytes: self.limits.bytes_per_call,
        }
    }

    async fn query(&mut self, parameters: QueryParameters<'_>) -> Result<String, Failure> {
        let table = self.table(&parameters.table).await?;
        let rows = self
            .select(
                &table,
                parameters.columns,
                parameters.condition,
                parameters.order_by,
                parameters.limit,
                parameters.offset,
            )
            .await?;
        Ok(format!(
            "{{\"columns\":{},\"rows\":[{}]}}",
            rows.columns()?,
            rows.text()
        ))
    }

    async fn query_one(&mut self, parameters: QueryOneParameters<'_>) -> Result<String, Failure> {
        let table = self.table(&parameters.table).await?;
        let rows = self
            .select(
                &table,
                parameters.columns,
                parameters.condition,
                parameters.order_by,
                Some(1),
                None,
            )
            .await?;
        let row = if rows.count() == 0 {
            "null"
        } else {
            rows.text()
        };
        Ok(format!("{{\"columns\":{},\"row\":{row}}}", rows.columns()?))
    }

    async fn select(
        &mut self,
        table: &Table,
        columns: Option<Vec<String>>,
        condition: Option<&RawValue>,
        order: Option<OrderBy>,
        limit: Option<u64>,
        offset: Option<u64>,
    ) -> Result<Rows, Failure> {
        let selection = Selection {
            columns: chosen(table, columns.as_deref(), "columns")?,
            condition: Condition::read(self.dialect(), table, condition)?,
            order: ordering(table, order)?,
            limit,
            offset,
        };
        let bounds = self.bounds();
        let statement = statement::select(self.dialect(), table, &selection, bounds);
        self.note_hash([&statement]);
        let shown = selection.columns.iter().copied().map(Shown::from).collect();
        let mut rows = Rows::new(shown, bounds.rows, bounds.bytes);
        let result = rows::collect(self.connection, &statement, &mut rows).await;
        self.settle(table, result)?;
        Ok(rows)
    }

    async fn count(&mut self, parameters: CountParameters<'_>) -> Result<String, Failure> {
        let table = self.table(&parameters.table).await?;
        let condition = Condition::read(self.dialect(), &table, parameters.condition)?;
        let statement = statement::count(self.dialect(), &table, &condition);
        self.note_hash([&statement]);
        let result = rows::number(self.connection, &statement).await;
        let count = self.settle(&table, result)?;
        Ok(count.to_string())
    }

    async fn insert(&mut self, parameters: InsertParameters<'_>) -> Result<String, Failure> {
        self.call.fact("operation", "insert");
        let table = self.writable(&parameters.table).await?;
        if parameters.rows.len() > ROWS {
            return Err(problem::misuse(format!(
                "one insert takes at most {ROWS} rows; insert them in parts"
            )));
        }
        let count = parameters.rows.len() as u64;
        self.check_writes(&table, count)?;
        let mut new = Vec::with_capacity(parameters.rows.len());
        for Members(members) in &parameters.rows {
            new.push(new_row(self.dialect(), &table, members)?);
        }
        let returning = returning(&table, parameters.returning.as_deref())?;
        let bounds = self.bounds();
        let statements =
            statement::insert(self.dialect(), &table, new, returning.as_deref(), bounds);
        self.note_hash(&statements);
        self.change(&table, &statements, returning.as_deref()).await
    }

    async fn update(&mut self, parameters: UpdateParameters<'_>) -> Result<String, Failure> {
        self.call.fact("operation", "update");
        let table = self.writable(&parameters.table).await?;
        let Members(members) = &parameters.set;
        if members.is_empty() {
            return Err(problem::misuse(
                "`set` is empty; write the columns to change, such as {\"state\": \"paid\"}",
            ));
        }
        let mut set = Vec::with_capacity(members.len());
        for (name, raw) in members {
            let column = names::column(&table, name)?;
            set.push((
                column,
                value::for_column(self.dialect(), &table, column, raw)?,
            ));
        }
        let condition = self.narrowing(&table, parameters.condition)?;
        let returning = returning(&table, parameters.returning.as_deref())?;
        let statement = statement::update(
            self.dialect(),
            &table,
            &set,
            &condition,
            returning.as_deref(),
            self.bounds(),
        );
        self.note_hash([&statement]);
        self.change(&table, &[statement], returning.as_deref())
            .await
    }

    async fn delete(&mut self, parameters: DeleteParameters<'_>) -> Result<String, Failure> {
        self.call.fact("operation", "delete");
        let table = self.writable(&parameters.table).await?;
        let condition = self.narrowing(&table, parameters.condition)?;
        let returning = returning(&table, parameters.returning.as_deref())?;
        let statement = statement::delete(
            self.dialect(),
            &table,
            &condition,
            returning.as_deref(),
            self.bounds(),
        );
        self.note_hash([&statement]);
        self.change(&table, &[statement], returning.as_deref())
            .await
    }

    /// Runs statements that change rows, counts them against what is left, and answers.
    async fn change(
        &mut self,
        table: &Table,
        statements: &[Statement],
        returning: Option<&[&Column]>,
    ) -> Result<String, Failure> {
        let bounds = self.bounds();
        let shown = returning
            .unwrap_or_default()
            .iter()
            .copied()
            .map(Shown::from)
            .collect();
        let mut rows = Rows::new(shown, bounds.rows, bounds.bytes);
        let mut count = 0_u64;
        for statement in statements {
            let result = match returning {
                Some(_) => rows::collect(self.connection, statement, &mut rows).await,
                None => rows::execute(self.connection, statement)
                    .await
                    .map(|changed| count = count.saturating_add(changed)),
            };
            self.settle(table, result)?;
        }
        if returning.is_some() {
            count = rows.count();
        }
        self.call.fact("row_count", count);
        self.check_writes(table, count)?;
        self.limits.writes_left = self.limits.writes_left.saturating_sub(count);
        Ok(match returning {
            None => format!("{{\"count\":{count}}}"),
            Some(_) => format!(
                "{{\"count\":{count},\"columns\":{},\"rows\":[{}]}}",
                rows.columns()?,
                rows.text()
            ),
        })
    }

    /// The table of that name, if contract, policy and catalogue know it.
    async fn table(&mut self, written: &str) -> Result<Arc<Table>, Failure> {
        let allowed = AllowedTable::judge(self.call, self.dialect(), written)?;
        let about = About {
            table: Some(allowed.as_str()),
        };
        let found = self
            .catalog
            .table(self.connection, allowed.as_str())
            .await
            .map_err(|error| database_error::failure(error.into(), about))?;
        match found {
            Found::Table(table) => Ok(table),
            Found::OnlyBare => {
                let (_, relation) = target::split(allowed.as_str());
                Err(target::only_bare(allowed.as_str(), relation))
            }
            Found::Nothing => {
                let names = self
                    .catalog
                    .names(self.connection)
                    .await
                    .map_err(|error| database_error::failure(error.into(), about))?;
                Err(self.unknown_table(allowed.as_str(), &names))
            }
        }
    }

    async fn writable(&mut self, written: &str) -> Result<Arc<Table>, Failure> {
        let table = self.table(written).await?;
        if table.is_view {
            return Err(problem::misuse(format!(
                "`{}` is a view, which can only be read; write to the tables behind it",
                table.name
            )));
        }
        Ok(table)
    }

    /// Lists only what the contract and the policy let it see.
    fn unknown_table(&mut self, name: &str, names: &[String]) -> Failure {
        let visible: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| self.call.check(&Target::Table(name)).is_ok())
            .collect();
        let suggestion = names::similar(name, &visible)
            .map(|similar| format!("; did you mean `{similar}`?"))
            .unwrap_or_default();
        problem::misuse(format!("the database has no table `{name}`{suggestion}")).with_detail(
            "tables",
            json!(visible.iter().take(SHOWN).collect::<Vec<_>>()),
        )
    }

    /// A condition that leaves at least some rows alone, by its shape.
    fn narrowing<'t>(
        &self,
        table: &'t Table,
        raw: Option<&RawValue>,
    ) -> Result<Condition<'t>, Failure> {
        let condition = Condition::read(self.dialect(), table, raw)?;
        if condition.constant() == Some(true) {
            return Err(problem::misuse(
                "`where` must say which rows to change; for all of them write a condition that \
                 every row meets, such as {\"id\": {\"is_null\": false}}",
            ));
        }
        Ok(condition)
    }

    /// Whether so many rows may still be changed.
    fn check_writes(&self, table: &Table, count: u64) -> Result<(), Failure> {
        let declared = match self.call.capability() {
            Capability::DbWrite {
                max_rows: Some(most),
                ..
            } => Some(u64::from(most.get())),
            _ => None,
        };
        let most = declared.unwrap_or(u64::MAX).min(self.limits.writes_left);
        if count <= most {
            return Ok(());
        }
        Err(too_many_writes(&table.name, count, declared, &*self.limits))
    }

    fn note_hash<'s>(&mut self, statements: impl IntoIterator<Item = &'s Statement>) {
        let hash = query_hash(statements.into_iter().map(Statement::text));
        self.call.fact("query_hash", hash);
    }

    /// Turns what running a statement gave into the call's own result.
    fn settle<T>(&self, table: &Table, result: Result<T, RunError>) -> Result<T, Failure> {
        result.map_err(|error| {
            if database_error::means_outdated(&error) {
                self.catalog.forget(&table.name);
            }
            database_error::failure(
                error,
                About {
                    table: Some(&table.name),
                },
            )
        })
    }
}

/// The refusal of a change of more rows than contract or request allow.
pub(super) fn too_many_writes(
    table: &str,
    count: u64,
    declared: Option<u64>,
    limits: &Limits,
) -> Failure {
    // A request begins with what its contract declares, so what is missing of it was used by earlier calls.
    let used = declared.map_or(0, |most| most.saturating_sub(limits.writes_left));
    let needed = used.saturating_add(count);
    let line = format!("- db:write: {{ tables: [{table}], max_rows: {needed} }}");
    let message = match declared {
        Some(most) => format!(
            "the call would bring the rows that this request changes to {needed}, and the contract's \
             `db:write` lets one request change {most} in all; raise it in the contract: {line}"
        ),
        None => format!(
            "the call would change {count} rows, which is more than this request may still change; \
             say in the contract how many it needs: {line}"
        ),
    };
    problem::exhausted("rows", message)
        .with_detail("layer", "contract")
        .with_detail("line", line)
}

fn chosen<'t>(
    table: &'t Table,
    names: Option<&[String]>,
    what: &'static str,
) -> Result<Vec<&'t Column>, Failure> {
    let Some(names) = names else {
        if table.columns.len() > MEMBERS {
            return Err(problem::misuse(format!(
                "`{}` has more than {MEMBERS} columns; name those that are needed in `{what}`",
                table.name
            )));
        }
        return Ok(table.columns.iter().collect());
    };
    if names.is_empty() || names.len() > MEMBERS {
        return Err(problem::misuse(format!(
            "`{what}` takes 1 to {MEMBERS} names of columns"
        )));
    }
    let mut columns: Vec<&Column> = Vec::with_capacity(names.len());
    for name in names {
        let column = names::column(table, name)?;
        if columns.iter().any(|one| one.name == column.name) {
            return Err(problem::misuse(format!(
                "`{what}` names column `{}` twice",
                column.name
            )));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn returning<'t>(
    table: &'t Table,
    names: Option<&[String]>,
) -> Result<Option<Vec<&'t Column>>, Failure> {
    match names {
        None => Ok(None),
        Some(names) => chosen(table, Some(names), "returning").map(Some),
    }
}

fn ordering<'t>(table: &'t Table, order: Option<OrderBy>) -> Result<Vec<Order<'t>>, Failure> {
    let names = match order {
        None => Vec::new(),
        Some(OrderBy::One(name)) => vec![name],
        Some(OrderBy::Several(names)) => names,
    };
    if names.len() > ORDERS {
        return Err(problem::misuse(format!(
            "`order_by` takes at most {ORDERS} columns"
        )));
    }
    names
        .iter()
        .map(|name| {
            // A column whose own name begins with a hyphen is found by that name first.
            let (name, descending) = match name.strip_prefix('-') {
                Some(rest) if table.column(name).is_none() => (rest, true),
                _ => (name.as_str(), false),
            };
            let column = names::column(table, name)?;
            if column.kind.scalar == Scalar::Json {
                return Err(problem::misuse(format!(
                    "column `{}` holds JSON documents, which have no order",
                    column.name
                )));
            }
            Ok(Order { column, descending })
        })
        .collect()
}

fn new_row(
    dialect: Dialect,
    table: &Table,
    members: &[(String, &RawValue)],
) -> Result<NewRow, Failure> {
    let mut row: Vec<(usize, Bound)> = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let (place, column) = names::placed_column(table, name)?;
        row.push((place, value::for_column(dialect, table, column, raw)?));
    }
    row.sort_by_key(|(place, _)| *place);
    Ok(row)
}
