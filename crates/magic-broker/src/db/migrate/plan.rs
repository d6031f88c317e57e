//! What is to be done: files compared with records, and nothing else.

use super::{MigrateError, Migration};

/// What a database has, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many files have been applied.
    pub applied: usize,
    /// The names of those that have not, in their order.
    pub pending: Vec<String>,
}

/// What is recorded of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) sha256: String,
}

/// Compares the files with the records. Records of files with higher numbers
/// than any here are no fault: a later program has migrated this database, and
/// this one is not the worse for it.
pub(super) fn plan<'m>(
    migrations: &'m [Migration],
    records: &[Record],
) -> Result<Vec<&'m Migration>, MigrateError> {
    let last_file = migrations.last().map_or(0, |migration| migration.number);
    let mut last_record: Option<(u64, &str)> = None;
    for record in records {
        let number = record
            .name
            .split('_')
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        if last_record.is_none_or(|(last, _)| number > last) {
            last_record = Some((number, &record.name));
        }
        match migrations.iter().find(|one| one.name == record.name) {
            Some(migration) if migration.sha256 != record.sha256 => {
                return Err(MigrateError::Changed {
                    name: record.name.clone(),
                });
            }
            None if number <= last_file => {
                return Err(MigrateError::Missing {
                    name: record.name.clone(),
                });
            }
            _ => {}
        }
    }
    let pending: Vec<&Migration> = migrations
        .iter()
        .filter(|migration| !records.iter().any(|record| record.name == migration.name))
        .collect();
    if let (Some(first), Some((last, after))) = (pending.first(), last_record)
        && first.number <= last
    {
        let words = first.name.split_once('_').map_or("", |(_, words)| words);
        let next = last.max(last_file).saturating_add(1);
        return Err(MigrateError::OutOfOrder {
            name: first.name.clone(),
            after: after.to_owned(),
            suggestion: format!("{next:04}_{words}"),
        });
    }
    Ok(pending)
}
