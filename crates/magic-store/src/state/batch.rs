//! Many rows in one statement: the rows travel as one JSON text, which each
//! database takes apart by itself, so a batch costs one round trip whatever its size.

use serde::Serialize;

use super::StateError;
use super::transaction::{Value, without_null};

/// How many rows one batch may have.
pub const BATCH_LIMIT: usize = 1_000;

/// How many bytes of JSON one batch may have.
pub const BATCH_BYTES: usize = 16 << 20;

/// The rows as one value.
pub(super) fn rows<T: Serialize>(
    what: &'static str,
    rows: impl ExactSizeIterator<Item = T>,
) -> Result<Value, StateError> {
    if rows.len() > BATCH_LIMIT {
        return Err(StateError::TooMany {
            what,
            found: rows.len(),
            limit: BATCH_LIMIT,
        });
    }
    let rows: Vec<T> = rows.collect();
    let text = serde_json::to_string(&rows).map_err(|_| StateError::unreadable(what))?;
    if text.len() > BATCH_BYTES {
        return Err(StateError::TooLarge {
            what,
            found: text.len(),
            limit: BATCH_BYTES,
        });
    }
    Ok(Value::from(text))
}

/// A text of a row. The escape of a null character would pass through JSON and be
/// refused behind it.
pub(super) fn text(text: &str) -> String {
    without_null(text)
}
