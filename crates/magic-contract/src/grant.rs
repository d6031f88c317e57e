//! Contract times policy: what one controller version may really do.
//!
//! A [`Grant`] is derived once, when a version is deployed or the policy changes, and is a pure
//! value. Asking it for a capability gives an [`Allowance`] or a [`Failure`] that names the layer
//! (contract or policy) and the line that would allow it. An allowance in turn judges each target.

use std::fmt;

use serde_json::json;

use crate::capability::{Capability, CapabilityKind, ResourceKind};
use crate::contract::Contract;
use crate::error_code::ErrorCode;
use crate::failure::Failure;
use crate::host::Host;
use crate::policy::{Effect, Environment, Form, Policy, Rule};
use crate::quantity::{format_bytes, format_cores, format_duration};
use crate::violation::shorten;

/// One thing that a capability call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A table.
    Table(&'a str),
    /// A host in canonical form, and a port.
    Host(&'a Host, u16),
    /// The name of a secret.
    Secret(&'a str),
    /// A queue.
    Queue(&'a str),
    /// A key of the shared cache.
    CacheKey(&'a str),
}

impl Target<'_> {
    fn kind(&self) -> ResourceKind {
        match self {
            Self::Table(_) => ResourceKind::Table,
            Self::Host(..) => ResourceKind::Host,
            Self::Secret(_) => ResourceKind::Secret,
            Self::Queue(_) => ResourceKind::Queue,
            Self::CacheKey(_) => ResourceKind::CacheKey,
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) | Self::Secret(name) | Self::Queue(name) | Self::CacheKey(name) => {
                formatter.write_str(name)
            }
            Self::Host(host, 443) => host.fmt(formatter),
            Self::Host(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

/// The right to use one capability: what the contract declares, and the rules that bear on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    capability: Capability,
    controller: String,
    policy_name: String,
    policy_file: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
enum Decision {
    Allowed(Box<Allowance>),
    Denied(Failure),
}

/// What one controller version may do under one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    controller: String,
    decisions: Vec<(CapabilityKind, Decision)>,
    refusals: Vec<Failure>,
    policy_hash: String,
}

impl Grant {
    /// Judges a contract under a policy. What the policy refuses becomes part of the grant: see
    /// [`Grant::refusals`].
    #[must_use]
    pub fn derive(contract: &Contract, policy: &Policy) -> Self {
        let mut refusals = refused_limits(contract, policy);
        let mut decisions = Vec::new();
        for capability in &contract.capabilities {
            let decision = decide(contract, capability, policy);
            if let Decision::Denied(failure) = &decision {
                refusals.push(failure.clone());
            }
            decisions.push((capability.kind(), decision));
        }
        Self {
            controller: contract.name.to_string(),
            decisions,
            refusals,
            policy_hash: policy.hash().to_owned(),
        }
    }

    /// Everything in the contract that the policy does not allow. A deploy is refused unless this
    /// is empty.
    #[must_use]
    pub fn refusals(&self) -> &[Failure] {
        &self.refusals
    }

    /// The hash of the policy that judged, for the audit record.
    #[must_use]
    pub fn policy_hash(&self) -> &str {
        &self.policy_hash
    }

    /// Asks for a capability.
    ///
    /// # Errors
    /// E2001 if the contract does not declare it, E2002 if the policy denies it.
    pub fn check(&self, kind: CapabilityKind) -> Result<&Allowance, Failure> {
        match self.decisions.iter().find(|(one, _)| *one == kind) {
            Some((_, Decision::Allowed(allowance))) => Ok(allowance),
            Some((_, Decision::Denied(failure))) => Err(failure.clone()),
            None => {
                let line = kind.example_line();
                let message = format!(
                    "{} does not declare `{kind}`; add under `capabilities:` of its contract: {line}",
                    self.controller
                );
                Err(Failure::new(ErrorCode::CapabilityUndeclared, message)
                    .with_detail("capability", kind.as_str())
                    .with_detail("layer", "contract")
                    .with_detail("line", line))
            }
        }
    }
}

impl Allowance {
    /// The capability as the contract declares it.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// Judges one target of a call.
    ///
    /// # Errors
    /// E2003 if the contract lists other targets only, E2002 if the policy denies this one.
    pub fn check(&self, target: &Target<'_>) -> Result<(), Failure> {
        if !self.is_declared(target) {
            return Err(self.not_listed(target));
        }
        let text = match target {
            Target::Host(host, port) => format!("{host}:{port}"),
            other => other.to_string(),
        };
        let matching = |rule: &&Rule| rule.covers_target(&text);
        let denies = self
            .rules
            .iter()
            .filter(matching)
            .find(|rule| rule.effect == Effect::Deny);
        let allows = self
            .rules
            .iter()
            .filter(matching)
            .find(|rule| rule.effect == Effect::Allow);
        match (denies, allows) {
            (None, Some(_)) => Ok(()),
            (deny, _) => Err(refused_by_policy(
                &self.policy_file,
                &self.policy_name,
                self.capability.kind(),
                &self.controller,
                Some(&target.to_string()),
                deny,
            )),
        }
    }

    fn is_declared(&self, target: &Target<'_>) -> bool {
        if self.capability.kind().resource_kind() != Some(target.kind()) {
            return false;
        }
        match (&self.capability, target) {
            (
                Capability::HttpEgress {
                    allow: Some(hosts), ..
                },
                Target::Host(host, port),
            ) => hosts.iter().any(|pattern| pattern.covers(host, *port)),
            (
                Capability::CacheRead { keys: Some(keys) }
                | Capability::CacheWrite { keys: Some(keys) },
                Target::CacheKey(key),
            ) => keys.iter().any(|pattern| pattern.covers(key)),
            (capability, target) => match capability.targets() {
                Some(listed) => listed.contains(&target.to_string()),
                None => true,
            },
        }
    }

    fn not_listed(&self, target: &Target<'_>) -> Failure {
        let kind = self.capability.kind();
        let shown = shorten(&target.to_string());
        let key = target.kind().list_key();
        let message = format!(
            "the contract's `{kind}` does not list the {} `{shown}`; add it to `{key}`",
            target.kind().noun()
        );
        Failure::new(ErrorCode::TargetNotAllowed, message)
            .with_detail("capability", kind.as_str())
            .with_detail("layer", "contract")
            .with_detail("target", shown)
            .with_detail(
                "listed",
                json!(self.capability.targets().unwrap_or_default()),
            )
    }
}

fn decide(contract: &Contract, capability: &Capability, policy: &Policy) -> Decision {
    let kind = capability.kind();
    let form = if capability.is_bare() {
        Form::Bare
    } else {
        Form::Listed
    };
    let controller = contract.name.as_str();
    let rules: Vec<&Rule> = policy
        .rules
        .iter()
        .filter(|rule| {
            rule.applies(
                kind,
                form,
                controller,
                &contract.version,
                policy.environment,
            )
        })
        .collect();
    let refuse = |target: Option<&str>, rule: Option<&Rule>| {
        Decision::Denied(refused_by_policy(
            &policy.file,
            &policy.name,
            kind,
            controller,
            target,
            rule,
        ))
    };
    // Rules without targets hold for the capability as a whole.
    if let Some(deny) = rules
        .iter()
        .find(|rule| rule.effect == Effect::Deny && rule.resources.is_empty())
    {
        return refuse(None, Some(deny));
    }
    let allows: Vec<&&Rule> = rules
        .iter()
        .filter(|rule| rule.effect == Effect::Allow)
        .collect();
    if allows.is_empty() {
        return refuse(None, None);
    }
    // Each listed target must have a chance: a rule that allows at least part of what it stands
    // for, and none that denies all of it. Calls are judged again, target by target.
    for entry in capability.targets().unwrap_or_default() {
        let deny = rules.iter().find(|rule| {
            rule.effect == Effect::Deny && rule.resources.iter().any(|one| one.contains(&entry))
        });
        if let Some(deny) = deny {
            return refuse(Some(&entry), Some(deny));
        }
        let allowed = allows.iter().any(|rule| {
            rule.resources.is_empty() || rule.resources.iter().any(|one| one.overlaps(&entry))
        });
        if !allowed {
            return refuse(Some(&entry), None);
        }
    }
    Decision::Allowed(Box::new(Allowance {
        capability: capability.clone(),
        controller: controller.to_owned(),
        policy_name: policy.name.clone(),
        policy_file: policy.file.clone(),
        rules: rules.into_iter().cloned().collect(),
    }))
}

fn refused_by_policy(
    file: &str,
    policy: &str,
    kind: CapabilityKind,
    controller: &str,
    target: Option<&str>,
    rule: Option<&Rule>,
) -> Failure {
    let what = match target {
        Some(target) => format!("`{kind}` on `{}`", shorten(target)),
        None => format!("`{kind}`"),
    };
    let (message, line) = match rule {
        Some(rule) => {
            let advice = rule
                .advice
                .as_deref()
                .map(|text| format!("; {text}"))
                .unwrap_or_default();
            let place = format!("{file}:{}", rule.line);
            (
                format!(
                    "rule `{}` of policy `{policy}` ({place}) denies {what}{advice}",
                    rule.name
                ),
                place,
            )
        }
        None => {
            let resources = target
                .map(|target| format!(", resources: [\"{}\"]", shorten(target)))
                .unwrap_or_default();
            let line = format!(
                "- {{ name: allow-{}, effect: allow, capabilities: [\"{kind}\"], controllers: [{controller}]{resources} }}",
                controller.to_ascii_lowercase()
            );
            (
                format!(
                    "no rule of policy `{policy}` allows {what} to {controller}; add under `rules:` of {file}: {line}"
                ),
                line,
            )
        }
    };
    let mut failure = Failure::new(ErrorCode::CapabilityDenied, message)
        .with_detail("capability", kind.as_str())
        .with_detail("layer", "policy")
        .with_detail("policy", policy)
        .with_detail("line", line);
    if let Some(rule) = rule {
        failure = failure.with_detail("rule", rule.name.clone());
    }
    if let Some(target) = target {
        failure = failure.with_detail("target", shorten(target));
    }
    failure
}

fn refused_limits(contract: &Contract, policy: &Policy) -> Vec<Failure> {
    let asked = &contract.resources;
    let most = &policy.limits;
    let mut refusals = Vec::new();
    let mut compare = |exceeds: bool, place: &str, asked: String, most: String| {
        if exceeds {
            let message = format!(
                "the contract asks for `{place}: {asked}`, and policy `{}` ({}) allows at most {most}",
                policy.name, policy.file
            );
            refusals.push(
                Failure::new(ErrorCode::CapabilityDenied, message)
                    .with_detail("layer", "policy")
                    .with_detail("policy", policy.name.clone())
                    .with_detail("limit", place)
                    .with_detail(
                        "line",
                        format!(
                            "limits.{}: {asked}",
                            place.rsplit('.').next().unwrap_or(place)
                        ),
                    ),
            );
        }
    };
    compare(
        asked.cpu_millicores > most.cpu_millicores,
        "resources.cpu",
        format_cores(asked.cpu_millicores),
        format_cores(most.cpu_millicores),
    );
    compare(
        asked.memory_bytes > most.memory_bytes,
        "resources.memory",
        format_bytes(asked.memory_bytes),
        format_bytes(most.memory_bytes),
    );
    compare(
        asked.timeout > most.timeout,
        "resources.timeout",
        format_duration(asked.timeout),
        format_duration(most.timeout),
    );
    compare(
        asked.pids > most.pids,
        "resources.pids",
        asked.pids.to_string(),
        most.pids.to_string(),
    );
    if let Some(concurrency) = contract.concurrency {
        compare(
            concurrency.get() > most.concurrency,
            "concurrency",
            concurrency.to_string(),
            most.concurrency.to_string(),
        );
    }
    for capability in &contract.capabilities {
        match capability {
            Capability::DbWrite {
                max_rows: Some(rows),
                ..
            } => {
                compare(
                    rows.get() > most.rows,
                    "db:write.rows",
                    rows.to_string(),
                    most.rows.to_string(),
                );
            }
            Capability::FsTemp { size: Some(bytes) } => {
                compare(
                    *bytes > most.temp_bytes,
                    "fs:temp.temp",
                    format_bytes(*bytes),
                    format_bytes(most.temp_bytes),
                );
            }
            _ => {}
        }
    }
    if contract.isolation < policy.isolation {
        let line = format!("isolation: {}", policy.isolation.as_str());
        let message = format!(
            "policy `{}` ({}) demands more isolation; write in the contract: {line}",
            policy.name, policy.file
        );
        refusals.push(
            Failure::new(ErrorCode::CapabilityDenied, message)
                .with_detail("layer", "policy")
                .with_detail("policy", policy.name.clone())
                .with_detail("limit", "isolation")
                .with_detail("line", line),
        );
    }
    refusals
}

impl Rule {
    fn applies(
        &self,
        kind: CapabilityKind,
        form: Form,
        controller: &str,
        version: &semver::Version,
        environment: Environment,
    ) -> bool {
        self.capabilities.contains(&kind)
            && (self.form == Form::Any || self.form == form)
            && (self.environments.is_empty() || self.environments.contains(&environment))
            && (self.controllers.is_empty()
                || self.controllers.iter().any(|one| one.covers(controller)))
            && self
                .versions
                .as_ref()
                .is_none_or(|versions| versions.matches(version))
    }

    fn covers_target(&self, target: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|one| one.contains(target))
    }
}

#[cfg(test)]
mod tests;
