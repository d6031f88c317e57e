//! Defaults.
use super::graph::Graph;
use crate::violation::Violation;
use serde_json::Value;
pub(super) fn apply(_graph: &Graph, _value: &mut Value) -> Result<(), Violation> {
    Ok(())
}
