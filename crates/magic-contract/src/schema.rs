//! JSON Schema at the boundary: a schema is compiled once, then admits or refuses values.
//!
//! Contracts are written by strangers, so compiling is where danger is refused, with the place in
//! the schema and the code E1005: references that leave the document, dialects and formats that are
//! not supported, patterns that need more than linear time, numbers that no validator computes
//! with. What remains costs work in proportion to the value. The engine is the `jsonschema` crate,
//! kept behind these types: its version can change without anybody noticing.
//!
//! Draft-07 is assumed unless `$schema` names 2020-12. Formats are asserted in both. Defaults are
//! filled in before validation, so an author may both default and require a property.

use std::fmt;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use crate::error_code::ErrorCode;
use crate::failure::Failure;
use crate::violation::Violation;

mod compile;
mod defaults;
mod effective;
mod embed;
mod explain;
mod graph;
mod keywords;
mod references;
mod survey;

pub(crate) use effective::{Effective, Moment};
pub use embed::embed;

/// The dialects of JSON Schema that contracts may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Draft-07, the default.
    #[default]
    Draft07,
    /// 2020-12.
    Draft202012,
}

impl Dialect {
    /// The name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft07 => "draft-07",
            Self::Draft202012 => "2020-12",
        }
    }
}

/// Why a schema was refused, or what its author should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaProblem {
    /// E1001 if it is not a schema, E1005 if it uses something unsupported or unsafe.
    pub code: ErrorCode,
    /// The place in the schema, as a JSON Pointer.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is accepted.
    pub expected: Option<String>,
    /// What to type instead.
    pub hint: Option<String>,
}

impl fmt::Display for SchemaProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() {
            "/"
        } else {
            self.path.as_str()
        };
        write!(formatter, "{} (at {place})", self.message)
    }
}

impl std::error::Error for SchemaProblem {}

impl SchemaProblem {
    /// The problem as a failure.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        Failure::new(self.code, self.to_string()).with_detail("path", self.path.clone())
    }
}

/// A compiled schema. Cloning is cheap.
#[derive(Clone)]
pub struct Schema {
    compiled: Arc<Compiled>,
}

struct Compiled {
    value: Value,
    dialect: Dialect,
    validator: Validator,
    graph: graph::Graph,
    warnings: Vec<SchemaProblem>,
}

/// A value that a schema admitted, defaults filled in. Only [`Schema::admit`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidValue(Value);

impl ValidValue {
    /// The value.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Gives the value away.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The first [`SchemaProblem`] found; [`Schema::check`] gives all of them.
    pub fn compile(value: &Value) -> Result<Self, SchemaProblem> {
        Self::check(value).map_err(|mut problems| problems.swap_remove(0))
    }

    /// Compiles a schema and collects everything that is wrong with it.
    ///
    /// # Errors
    /// All problems, at least one, ordered by where the survey meets them.
    pub fn check(value: &Value) -> Result<Self, Vec<SchemaProblem>> {
        let compiled = Arc::new(compile::compile(value)?);
        Ok(Self { compiled })
    }

    /// The schema as it was written.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.compiled.value
    }

    /// The dialect it is read in.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.compiled.dialect
    }

    /// What the author should look at although the schema is valid.
    #[must_use]
    pub fn warnings(&self) -> &[SchemaProblem] {
        &self.compiled.warnings
    }

    /// Fills in defaults and judges the value.
    ///
    /// # Errors
    /// What is wrong with the value, at least one violation and at most twenty.
    pub fn admit(&self, value: Value) -> Result<ValidValue, Vec<Violation>> {
        let depth = depth_of(&value);
        // Validation recurses with the value and with the chain of subschemas at every level.
        if depth.saturating_mul(self.compiled.graph.chain.max(1)) > SHALLOW {
            on_deep_stack(|| self.judge(value, depth))
                .unwrap_or_else(|| Err(vec![explain::unjudged()]))
        } else {
            self.judge(value, depth)
        }
    }

    fn judge(&self, value: Value, depth: usize) -> Result<ValidValue, Vec<Violation>> {
        let compiled = &self.compiled;
        let mut value = value;
        defaults::apply(&compiled.graph, &mut value).map_err(|violation| vec![violation])?;
        if compiled.validator.is_valid(&value) {
            Ok(ValidValue(value))
        } else {
            Err(explain::explain(
                &compiled.validator,
                &compiled.graph,
                &value,
                depth,
            ))
        }
    }
}

/// Up to so many nested subschema evaluations fit into an ordinary thread's stack with room to
/// spare, in an unoptimized build too.
const SHALLOW: usize = 200;

/// The stack for everything deeper.
const DEEP_STACK: usize = 64 << 20;

/// Runs something that recurses deeply on a thread with a large stack. Memory is used only as far as
/// the recursion really goes. Nothing comes back if no thread could be had or the work panicked; the
/// callers refuse then.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(DEEP_STACK);
        builder.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// How deep a value is nested.
fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Schema")
            .field("dialect", &self.compiled.dialect)
            .field("value", &self.compiled.value)
            .finish_non_exhaustive()
    }
}
