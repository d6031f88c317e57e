//! What is looked for in the audit log.

use serde_json::Value;

/// The records of capability calls of one request, in their order.
pub(crate) fn calls_of(records: &[Value], request: &str) -> Vec<Value> {
    records
        .iter()
        .filter(|record| record["kind"] == "call" && record["request_id"] == request)
        .cloned()
        .collect()
}
