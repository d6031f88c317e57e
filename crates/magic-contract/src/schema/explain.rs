//! Violations.
use super::graph::Graph;
use crate::violation::{Violation, describe};
use serde_json::Value;
pub(super) fn explain(
    validator: &jsonschema::Validator,
    _graph: &Graph,
    value: &Value,
) -> Vec<Violation> {
    validator
        .iter_errors(value)
        .take(20)
        .map(|e| {
            Violation::new(
                e.instance_path().to_string(),
                e.kind().keyword(),
                e.masked().to_string(),
                describe(e.instance(), false),
            )
        })
        .collect()
}
