//! The operator's word: which contracts are acceptable, and how hard the sandbox must be.
//!
//! A policy is a closed, typed language, not a programming language, so that a whole policy can be
//! explained, tested and searched for rules that never match. Deny takes precedence over allow, and
//! what no rule allows is denied. Every judgement names the rule that made it, by name and line, so
//! that a refusal always tells which line to change.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::contract::Isolation;
use crate::diagnostic::Diagnostics;
use crate::quantity::{format_bytes, format_cores, format_duration};

mod cases;
mod explain;
mod judgement;
mod layers;
mod lint;
mod network;
mod pattern;
mod read;
mod read_rule;
mod rule;

pub use cases::{CaseOutcome, CaseSubject, PolicyCase, PolicyCases};
pub use explain::{Consideration, Explanation};
pub(crate) use judgement::{Question, Ruling};
pub use layers::{Layers, Requirement, SandboxLayer};
pub use lint::{LintFinding, LintKind};
pub use network::{AddressClass, AddressRange};
pub(crate) use pattern::{ResourcePattern, TextPattern};
pub(crate) use rule::Subject;
pub use rule::{Effect, Form, Mode, Rule, RuleReference};

/// The policy that holds when nothing else is configured, for work on one's own machine.
const DEVELOPMENT: &str = include_str!("../../../policies/development.yaml");
/// The policy for service.
const PRODUCTION: &str = include_str!("../../../policies/production.yaml");

/// Where a runtime runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Service.
    Production,
}

impl Environment {
    /// The spelling used in policies and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// The most that a contract may ask for under this policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyLimits {
    /// Thousandths of a core.
    pub cpu_millicores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The time from start to answer.
    pub timeout: Duration,
    /// Processes and threads.
    pub pids: u32,
    /// Requests of one controller at the same time.
    pub concurrency: u32,
    /// Bytes of a temporary directory.
    pub temp_bytes: u64,
    /// Rows that one request may change.
    pub rows: u32,
}

/// A policy that was checked in every point. Only [`Policy::parse`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// The file that it was read from, for messages.
    pub file: String,
    /// The environment that its rules are judged for.
    pub environment: Environment,
    /// The weakest isolation that a contract may have.
    pub isolation: Isolation,
    /// How hard each layer of the sandbox must be.
    pub layers: Layers,
    /// The most that a contract may ask for.
    pub limits: PolicyLimits,
    /// The address classes beside the public one that egress may reach.
    pub address_classes: Vec<AddressClass>,
    /// The address ranges beside those that egress may reach.
    pub address_ranges: Vec<AddressRange>,
    /// The rules.
    pub rules: Vec<Rule>,
    hash: String,
}

impl Policy {
    /// Reads a policy written in YAML or JSON.
    ///
    /// # Errors
    /// All problems of the file at once.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, Diagnostics> {
        let mut policy = read::read(text, file)?;
        policy.hash = policy.compute_hash();
        Ok(policy)
    }

    /// The policy for work on one's own machine.
    #[must_use]
    pub fn development() -> Self {
        Self::parse(DEVELOPMENT.as_bytes(), "policies/development.yaml")
            .expect("the built-in policy is read by a test of this crate")
    }

    /// The policy for service.
    #[must_use]
    pub fn production() -> Self {
        Self::parse(PRODUCTION.as_bytes(), "policies/production.yaml")
            .expect("the built-in policy is read by a test of this crate")
    }

    /// The SHA-256 of what the policy says (not of how its file is laid out), in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The policy in full, defaults included.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "environment": self.environment.as_str(),
            "isolation": self.isolation.as_str(),
            "layers": self.layers.to_json(),
            "limits": {
                "cpu": format_cores(self.limits.cpu_millicores),
                "memory": format_bytes(self.limits.memory_bytes),
                "timeout": format_duration(self.limits.timeout),
                "pids": self.limits.pids,
                "concurrency": self.limits.concurrency,
                "temp": format_bytes(self.limits.temp_bytes),
                "rows": self.limits.rows,
            },
            "network": {
                "classes": self.address_classes.iter().map(|class| class.as_str()).collect::<Vec<_>>(),
                "ranges": self.address_ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "rules": self.rules.iter().map(Rule::to_json).collect::<Vec<_>>(),
        })
    }

    /// Whether egress may reach this range beyond the public ones.
    #[must_use]
    pub fn names_address(&self, address: IpAddr) -> bool {
        self.address_ranges
            .iter()
            .any(|range| range.contains(address))
    }

    fn compute_hash(&self) -> String {
        let digest = Sha256::digest(self.to_json().to_string().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The text is not the name of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an environment")]
pub struct UnknownEnvironment;

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, UnknownEnvironment> {
        [Self::Development, Self::Production]
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or(UnknownEnvironment)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
