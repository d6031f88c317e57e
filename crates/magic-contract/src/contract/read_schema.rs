//! Reads a schema section: compiles it and moves its problems to their places in the file.

use crate::diagnostic::Severity;
use crate::document::{Kind, Node};
use crate::error_code::ErrorCode;
use crate::reader::{Reader, Spot, problem};
use crate::schema::{Schema, SchemaProblem};

pub(super) fn read_schema(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    which: &str,
) -> Option<Schema> {
    if !matches!(node.kind, Kind::Object(_) | Kind::Bool(_)) {
        let spot = Spot {
            path: path.to_owned(),
            span: node.span.clone(),
        };
        let message = format!("`{which}` must be a JSON Schema, found {}", node.describe());
        let accepted =
            "an object such as { type: object, properties: { message: { type: string } } }";
        reader.note(problem(ErrorCode::InvalidContract, &spot, message).expecting(accepted));
        return None;
    }
    let mut pass_on = |found: &SchemaProblem, severity: Severity| {
        let spot = Spot {
            path: format!("{path}{}", found.path),
            span: node.locate(&found.path),
        };
        let mut noted = problem(found.code, &spot, found.message.clone());
        noted.severity = severity;
        noted.expected.clone_from(&found.expected);
        noted.hint.clone_from(&found.hint);
        reader.note(noted);
    };
    match Schema::check(&node.to_value()) {
        Ok(schema) => {
            schema
                .warnings()
                .iter()
                .for_each(|warning| pass_on(warning, Severity::Warning));
            Some(schema)
        }
        Err(problems) => {
            problems
                .iter()
                .for_each(|found| pass_on(found, Severity::Error));
            None
        }
    }
}
