//! Rules that do not do what somebody believes they do.
//!
//! The language is closed, so a policy can be searched completely: for every rule and every
//! capability it is decidable whether another rule covers all of it. What is reported here is certain;
//! where patterns overlap only in part, nothing is said.

use serde::Serialize;

use super::pattern::TextPattern;
use super::rule::{Effect, Form, Rule, RuleReference};
use super::{Environment, Policy};
use crate::capability::CapabilityKind;
use crate::contract::Contract;
use crate::grant::{Grant, subject};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LintKind {
    /// The rule can match nothing under this policy.
    NeverMatches,
    /// The rule allows only what other rules deny.
    Shadowed,
    /// Another rule does all that this one does.
    Redundant,
    /// The rule in report mode has nothing to report.
    NeverReports,
    /// No environment permits the controller.
    Unpermitted,
    /// No controller that was looked at is touched by the rule.
    Unused,
}

impl LintKind {
    /// Whether it is a mistake, and not merely worth knowing.
    #[must_use]
    pub const fn is_mistake(self) -> bool {
        !matches!(self, Self::Unused)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LintFinding {
    /// What it is.
    pub kind: LintKind,
    /// The rule, if it is about one.
    pub rule: Option<RuleReference>,
    /// The controller, if it is about one.
    pub controller: Option<String>,
    /// The sentence for people.
    pub message: String,
}

impl Policy {
    /// Searches this policy, and what it makes of these contracts. Names that are given twice need
    /// not be searched for: such a policy cannot be read.
    #[must_use]
    pub fn lint(&self, contracts: &[Contract]) -> Vec<LintFinding> {
        let mut findings = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let found = self
                .never_matches(rule)
                .or_else(|| self.shadowed(rule))
                .or_else(|| self.never_reports(rule))
                .or_else(|| self.redundant(index, rule))
                .or_else(|| self.unused(rule, contracts));
            findings.extend(found.map(|(kind, message)| LintFinding {
                kind,
                rule: Some(self.reference(rule)),
                controller: None,
                message,
            }));
        }
        findings.extend(
            contracts
                .iter()
                .filter_map(|contract| self.unpermitted(contract)),
        );
        findings
    }

    fn never_matches(&self, rule: &Rule) -> Option<(LintKind, String)> {
        let reason = if !rule.environments.is_empty()
            && !rule.environments.contains(&self.environment)
        {
            format!(
                "this policy is for {}, and the rule is not",
                self.environment
            )
        } else if kinds_of(rule).is_empty() {
            "what it names cannot have a list of targets".to_owned()
        } else if rule.versions.as_ref().is_some_and(is_unsatisfiable) {
            "no version fulfils its `versions`".to_owned()
        } else if !rule.controllers.is_empty() && all_included(&rule.controllers, &rule.except) {
            "`except` takes back all of `controllers`".to_owned()
        } else if rule.except.contains(&TextPattern::Everything) {
            "`except` takes back everything".to_owned()
        } else {
            return None;
        };
        Some((
            LintKind::NeverMatches,
            format!("the rule never matches: {reason}"),
        ))
    }

    fn shadowed(&self, rule: &Rule) -> Option<(LintKind, String)> {
        if rule.effect != Effect::Allow {
            return None;
        }
        let mut by = Vec::new();
        for kind in kinds_of(rule) {
            by.push(
                if self.denies_by_itself(kind) && !rule.is_exception_for(kind) {
                    Rule::no_raw_sql().name
                } else {
                    self.covering_deny(rule, kind)?.name.clone()
                },
            );
        }
        by.dedup();
        let message = format!("all that the rule allows is denied by {}", by.join(", "));
        Some((LintKind::Shadowed, message))
    }

    fn covering_deny(&self, rule: &Rule, kind: CapabilityKind) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|deny| deny.denies() && self.covers(deny, rule, kind))
    }

    fn never_reports(&self, rule: &Rule) -> Option<(LintKind, String)> {
        if !rule.reports() {
            return None;
        }
        let nothing_to_report = |kind: &CapabilityKind| {
            let allowed = self.rules.iter().any(|allow| {
                allow.effect == Effect::Allow
                    && allow.capabilities.contains(kind)
                    && (!self.denies_by_itself(*kind) || allow.is_exception_for(*kind))
            });
            !allowed || self.covering_deny(rule, *kind).is_some()
        };
        kinds_of(rule).iter().all(nothing_to_report).then(|| {
            let message = "the rule never reports: what it would deny is denied already";
            (LintKind::NeverReports, message.to_owned())
        })
    }

    fn redundant(&self, index: usize, rule: &Rule) -> Option<(LintKind, String)> {
        let mut by: Vec<&str> = Vec::new();
        for kind in kinds_of(rule) {
            let exceptions_only = rule.effect == Effect::Allow && self.denies_by_itself(kind);
            if exceptions_only && !rule.is_exception_for(kind) {
                // It allows none of this anyway.
                continue;
            }
            let other = self.rules.iter().enumerate().find(|(other_index, other)| {
                *other_index != index
                    && other.effect == rule.effect
                    && other.mode == rule.mode
                    && (!exceptions_only || other.is_exception_for(kind))
                    && self.covers(other, rule, kind)
                    // Of two that say the same, the later one is the redundant one.
                    && (*other_index < index || !self.covers(rule, other, kind))
            });
            by.push(&other?.1.name);
        }
        by.dedup();
        (!by.is_empty()).then(|| {
            let message = format!("all that the rule does is done by {}", by.join(", "));
            (LintKind::Redundant, message)
        })
    }

    fn unused(&self, rule: &Rule, contracts: &[Contract]) -> Option<(LintKind, String)> {
        let touched = contracts.iter().any(|contract| {
            contract.capabilities.iter().any(|capability| {
                let subject = subject(contract.name.as_str(), &contract.version, capability, self);
                let touches = match capability.targets() {
                    None => true,
                    Some(entries) => entries.iter().any(|entry| rule.touches_entry(entry)),
                };
                rule.mismatch(&subject).is_none() && touches
            })
        });
        (!contracts.is_empty() && !touched).then(|| {
            let message = "no controller of the folder is touched by the rule";
            (LintKind::Unused, message.to_owned())
        })
    }

    fn unpermitted(&self, contract: &Contract) -> Option<LintFinding> {
        let mut first = None;
        for environment in [
            self.environment,
            Environment::Development,
            Environment::Production,
        ] {
            let mut policy = self.clone();
            policy.environment = environment;
            let grant = Grant::derive(contract, &policy);
            first.get_or_insert(grant.refusals().first()?.message.clone());
        }
        Some(LintFinding {
            kind: LintKind::Unpermitted,
            rule: None,
            controller: Some(contract.name.to_string()),
            message: format!(
                "no environment permits the controller: {}",
                first.unwrap_or_default()
            ),
        })
    }

    /// Whether everything of this kind that `small` matches is matched by `large`.
    fn covers(&self, large: &Rule, small: &Rule, kind: CapabilityKind) -> bool {
        let form = large.form == Form::Any
            || large.form == small.form
            || (large.form == Form::Bare && kind.resource_kind().is_none());
        let environment =
            large.environments.is_empty() || large.environments.contains(&self.environment);
        let controllers = large.controllers.is_empty()
            || (!small.controllers.is_empty()
                && all_included(&small.controllers, &large.controllers));
        let excepted = |pattern: &TextPattern| {
            let spared = small.controllers.iter().all(|one| match one {
                TextPattern::Exact(name) => !pattern.covers(name),
                _ => false,
            });
            all_included(std::slice::from_ref(pattern), &small.except)
                || (!small.controllers.is_empty() && spared)
        };
        let resources = large.resources.is_empty()
            || (!small.resources.is_empty()
                && small
                    .resources
                    .iter()
                    .all(|one| large.resources.iter().any(|other| other.includes(one))));
        large.capabilities.contains(&kind)
            && form
            && environment
            && controllers
            && large.except.iter().all(excepted)
            && (large.versions.is_none() || large.versions == small.versions)
            && resources
    }
}

/// The capabilities of a rule of which its form can occur.
fn kinds_of(rule: &Rule) -> Vec<CapabilityKind> {
    let occurs =
        |kind: &CapabilityKind| rule.form != Form::Listed || kind.resource_kind().is_some();
    rule.capabilities.iter().copied().filter(occurs).collect()
}

fn all_included(small: &[TextPattern], large: &[TextPattern]) -> bool {
    small
        .iter()
        .all(|one| large.iter().any(|other| other.includes(one)))
}

/// Whether no version can fulfil this. Bounds of ranges are made of the numbers in the comparators, so
/// one of their neighbours lies in every range that is not empty. Pre-releases follow other rules, and
/// are given the benefit of the doubt.
fn is_unsatisfiable(versions: &semver::VersionReq) -> bool {
    let mut candidates = vec![semver::Version::new(0, 0, 0)];
    for comparator in &versions.comparators {
        if !comparator.pre.is_empty() {
            return false;
        }
        let (major, minor, patch) = (
            comparator.major,
            comparator.minor.unwrap_or(0),
            comparator.patch.unwrap_or(0),
        );
        candidates.extend([
            semver::Version::new(major, minor, patch),
            semver::Version::new(major, minor, patch.saturating_add(1)),
            semver::Version::new(major, minor, patch.saturating_sub(1)),
            semver::Version::new(major, minor.saturating_add(1), 0),
            semver::Version::new(major.saturating_add(1), 0, 0),
        ]);
    }
    !candidates
        .iter()
        .any(|candidate| versions.matches(candidate))
}
