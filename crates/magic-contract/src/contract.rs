//! The contract: what a controller takes, gives, may touch and may use up.
//!
//! A [`Contract`] exists only after every rule of the grammar was checked, so the rest of the
//! runtime reads it without asking again. Reading is in `contract/read.rs` and its neighbours; this
//! file is the value.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::capability::{Capability, CapabilityKind};
use crate::diagnostic::Diagnostics;
use crate::name::{ControllerName, FieldName, MetricName, QueueName};
use crate::quantity::{format_bytes, format_cores, format_duration};
use crate::schema::Schema;

mod json_schema;
mod read;
mod read_capability;
mod read_resources;
mod read_schema;

pub(crate) use read_capability::bare;

/// What one request of the controller may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millicores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The time from start to answer.
    pub timeout: Duration,
    /// Processes and threads at the same time.
    pub pids: u32,
}

impl Resources {
    /// The least and the most of `cpu`, in thousandths of a core.
    pub const CPU_RANGE: (u32, u32) = (100, 2000);
    /// The least and the most of `memory`, in bytes.
    pub const MEMORY_RANGE: (u64, u64) = (32 << 20, 2 << 30);
    /// The least and the most of `timeout`.
    pub const TIMEOUT_RANGE: (Duration, Duration) =
        (Duration::from_millis(10), Duration::from_secs(15 * 60));
    /// The least and the most of `pids`.
    pub const PIDS_RANGE: (u32, u32) = (1, 512);
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu_millicores: 500,
            memory_bytes: 256 << 20,
            timeout: Duration::from_secs(30),
            pids: 32,
        }
    }
}

/// How far requests of one controller version are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Isolation {
    /// A fork of one template per request.
    #[default]
    Request,
    /// An interpreter of its own per request.
    Pristine,
}

impl Isolation {
    /// The spelling used in contracts and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Pristine => "pristine",
        }
    }
}

/// When the effects of capability calls take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Effects {
    /// Together with a successful answer, or not at all.
    #[default]
    OnSuccess,
    /// At once.
    Immediate,
}

impl Effects {
    /// The spelling used in contracts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success",
            Self::Immediate => "immediate",
        }
    }
}

/// What the controller reports beside its answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Observability {
    /// Fields that its log lines may carry.
    pub log_fields: Vec<FieldName>,
    /// Metrics that it may report.
    pub metrics: Vec<MetricName>,
}

/// One call that must work before a version goes into service.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Example {
    /// What is sent, as written (defaults are applied when it is run).
    pub input: Value,
    /// What must come back; anything that the output schema accepts if not given.
    pub output: Option<Value>,
}

/// What else than HTTP starts the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// A message of this queue.
    Queue(QueueName),
}

/// A contract that was checked in every point. Only [`Contract::parse`] makes one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Contract {
    /// The controller's name.
    pub name: ControllerName,
    /// The controller's version.
    pub version: semver::Version,
    /// What the input must look like.
    pub input: Schema,
    /// What the output must look like.
    pub output: Schema,
    /// What the controller may ask for, at most one of each kind.
    pub capabilities: Vec<Capability>,
    /// What one request may use.
    pub resources: Resources,
    /// What the controller reports.
    pub observability: Observability,
    /// How far its requests are kept apart.
    pub isolation: Isolation,
    /// When its effects take place.
    pub effects: Effects,
    /// How many requests may run at the same time; the policy's limit when not given.
    pub concurrency: Option<NonZeroU32>,
    /// Calls that must work before a version goes into service.
    pub examples: Vec<Example>,
    /// What else than HTTP starts it.
    pub triggers: Vec<Trigger>,
    /// What the author should look at although the contract is valid.
    pub warnings: Diagnostics,
}

impl Contract {
    /// Reads a contract written in YAML or JSON.
    ///
    /// # Errors
    /// All problems of the file at once: E1002 for missing sections, E1005 for schemas that use
    /// something unsupported, E1001 for everything else. `file` is only used as a name in messages.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, Diagnostics> {
        read::read(text, file)
    }

    /// The declared capability of this kind.
    #[must_use]
    pub fn capability(&self, kind: CapabilityKind) -> Option<&Capability> {
        self.capabilities
            .iter()
            .find(|capability| capability.kind() == kind)
    }

    /// The contract in full, defaults included, as metadata for callers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| {
            object.insert(key.to_owned(), value);
        };
        put("name", json!(self.name));
        put("version", json!(self.version.to_string()));
        put("input", self.input.as_value().clone());
        put("output", self.output.as_value().clone());
        put(
            "capabilities",
            self.capabilities.iter().map(Capability::to_json).collect(),
        );
        put(
            "resources",
            json!({
                "cpu": format_cores(self.resources.cpu_millicores).parse::<f64>().unwrap_or_default(),
                "memory": format_bytes(self.resources.memory_bytes),
                "timeout": format_duration(self.resources.timeout),
                "pids": self.resources.pids,
            }),
        );
        put(
            "observability",
            json!({
                "log_fields": self.observability.log_fields,
                "metrics": self.observability.metrics,
            }),
        );
        put("isolation", json!(self.isolation.as_str()));
        put("effects", json!(self.effects.as_str()));
        if let Some(concurrency) = self.concurrency {
            put("concurrency", json!(concurrency));
        }
        if !self.examples.is_empty() {
            put(
                "examples",
                self.examples.iter().map(Example::to_json).collect(),
            );
        }
        if !self.triggers.is_empty() {
            put(
                "triggers",
                self.triggers.iter().map(Trigger::to_json).collect(),
            );
        }
        Value::Object(object)
    }
}

impl Example {
    fn to_json(&self) -> Value {
        match &self.output {
            Some(output) => json!({ "input": self.input, "output": output }),
            None => json!({ "input": self.input }),
        }
    }
}

impl Trigger {
    fn to_json(&self) -> Value {
        match self {
            Self::Queue(queue) => json!({ "queue": queue }),
        }
    }
}

#[cfg(test)]
mod tests;
