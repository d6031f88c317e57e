//! The capability as a whole, on both databases.

mod conditions;
mod denials;
mod failures;
mod limits;
mod raw;
mod values;
mod writes;

use super::testing::Bench;
use serde_json::Value;

/// The rows of a query, without the columns.
async fn rows(bench: &mut Bench, params: Value) -> Value {
    let name = bench.name();
    match bench.call("db.query", &params).await {
        Ok(mut answer) => answer["rows"].take(),
        Err(failure) => panic!("{name}: {params}: {failure:?}"),
    }
}

/// The values of one column of a query.
async fn column(bench: &mut Bench, name: &str, params: Value) -> Vec<Value> {
    match rows(bench, params).await {
        Value::Array(rows) => rows.into_iter().map(|mut row| row[name].take()).collect(),
        other => panic!("no rows: {other}"),
    }
}
