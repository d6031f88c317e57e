//! Names of columns and tables that a controller wrote, and what it may have meant.

use super::catalog::{Column, Table};
use crate::problem;
use magic_contract::Failure;
use serde_json::json;

/// The column of that name.
///
/// # Errors
///
/// Misuse that lists the columns that there are.
pub(crate) fn column<'t>(table: &'t Table, name: &str) -> Result<&'t Column, Failure> {
    placed_column(table, name).map(|(_, column)| column)
}

/// The column of that name, and its place in the table.
///
/// # Errors
///
/// Misuse that lists the columns that there are.
pub(crate) fn placed_column<'t>(
    table: &'t Table,
    name: &str,
) -> Result<(usize, &'t Column), Failure> {
    table
        .place(name)
        .and_then(|place| Some((place, table.columns.get(place)?)))
        .ok_or_else(|| unknown_column(table, name))
}

/// Columns that are listed in a message.
const SHOWN: usize = 50;

fn unknown_column(table: &Table, name: &str) -> Failure {
    let names: Vec<&str> = table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let suggestion = similar(name, &names)
        .map(|similar| format!("; did you mean `{similar}`?"))
        .unwrap_or_default();
    let shown: String = name.chars().take(63).collect();
    problem::misuse(format!(
        "`{}` has no column `{}`{suggestion}",
        table.name,
        shown.escape_default()
    ))
    .with_detail("table", table.name.clone())
    .with_detail(
        "columns",
        json!(names.iter().take(SHOWN).collect::<Vec<_>>()),
    )
}

/// The one of `names` that `name` was probably meant to be.
pub(crate) fn similar<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    if name.len() > 127 {
        return None;
    }
    names
        .iter()
        .map(|one| (strsim::damerau_levenshtein(name, one), *one))
        .filter(|(distance, one)| *distance <= 2 && *distance < one.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}
