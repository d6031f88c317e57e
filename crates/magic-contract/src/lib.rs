//! The values that everything else agrees on: contract, schema, policy, grant and error catalogue.
//!
//! This crate does no input or output, knows no clock and speaks no protocol: it turns text into
//! checked values and values into judgements. What it refuses, it refuses with the place, the rule
//! and what is accepted. All text that it reads is taken to be hostile: every reader is bounded in
//! input size, depth and work, and answers with an error, never with a panic or an endless loop.
//!
//! The types form a chain. Bytes become a [`Contract`] only through [`Contract::parse`]; a JSON
//! value becomes a [`ValidValue`] only through [`Schema::admit`]; a contract and a [`Policy`] become
//! a [`Grant`] only through [`Grant::derive`], and only a grant hands out an [`Allowance`].

mod capability;
mod compatibility;
mod contract;
mod database_url;
mod diagnostic;
mod document;
mod error_code;
mod failure;
mod grant;
mod host;
mod json;
mod line;
mod name;
mod policy;
mod quantity;
mod reader;
mod schema;
mod violation;
mod yaml;

pub use capability::{Capability, CapabilityKind, HttpMethod, ResourceKind, UnknownCapability};
pub use compatibility::{Breakage, Side, Whom, announces_break, breakages, unannounced_break};
pub use contract::{Contract, Effects, Example, Isolation, Observability, Resources, Trigger};
pub use database_url::{DatabasePlace, DatabaseUrl, DatabaseUrlProblem};
pub use diagnostic::{Color, Diagnostic, Diagnostics, Severity};
pub use error_code::{Category, ErrorCode, UnknownErrorCode};
pub use failure::{Failure, Reason};
pub use grant::{Allowance, Grant, NamedTarget, Target, TargetProblem, Verdict};
pub use host::{Host, HostName, HostPattern, HostProblem};
pub use json::{JsonLimits, read_json};
pub use name::{
    CacheKeyPattern, ControllerName, FieldName, MetricName, NameProblem, QueueName, SecretName,
    TableName,
};
pub use policy::{
    AddressClass, AddressRange, CaseOutcome, CaseSubject, Consideration, Effect, Environment,
    Explanation, Form, Layers, LintFinding, LintKind, Mode, Policy, PolicyCase, PolicyCases,
    PolicyLimits, Requirement, Rule, RuleReference, SandboxLayer,
};
pub use quantity::{format_bytes, format_cores, format_duration};
pub use schema::{Dialect, Schema, SchemaProblem, ValidValue, embed as embed_schema};
pub use violation::Violation;
