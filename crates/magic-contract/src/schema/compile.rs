//! Compile.
use super::{Compiled, Dialect, SchemaProblem};
use crate::error_code::ErrorCode;
use serde_json::Value;
pub(super) fn compile(value: &Value) -> Result<Compiled, Vec<SchemaProblem>> {
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(1 << 20))
        .build(value)
        .map_err(|e| {
            vec![SchemaProblem {
                code: ErrorCode::UnsupportedSchema,
                path: e.instance_path().to_string(),
                message: e.to_string(),
                expected: None,
                hint: None,
            }]
        })?;
    Ok(Compiled {
        value: value.clone(),
        dialect: Dialect::Draft07,
        validator,
        graph: super::graph::Graph::default(),
        warnings: Vec::new(),
    })
}
