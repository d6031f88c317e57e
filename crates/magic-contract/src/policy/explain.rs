//! Why a policy says what it says about one capability, rule by rule.
//!
//! The decision comes from the same [`Grant`] that serves requests; the list of rules beside it only
//! tells how it came about. Where the contract itself refuses, the question goes on as if it had been
//! declared, because "and would the policy allow it?" is what people ask next.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Effect, Mode, Policy, Question, Rule, RuleReference, Ruling, Subject};
use crate::capability::{Capability, CapabilityKind};
use crate::contract::{Contract, bare};
use crate::failure::Failure;
use crate::grant::{Grant, NamedTarget, subject};

/// One rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Consideration {
    /// The rule.
    pub rule: RuleReference,
    /// `allow` or `deny`.
    pub effect: &'static str,
    /// `enforce` or `report`.
    pub mode: &'static str,
    /// Whether everything that the rule names holds.
    pub matches: bool,
    /// What came of it, or the first condition that does not hold.
    pub note: String,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The controller.
    pub controller: String,
    /// Its version.
    pub version: String,
    /// The capability.
    pub capability: CapabilityKind,
    /// The target that was asked about.
    pub target: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// The policy's file.
    pub file: String,
    /// The environment that the rules were judged for.
    pub environment: &'static str,
    /// The policy's hash.
    pub policy_hash: String,
    /// What the contract refuses, whatever the policy says: E2001 or E2003.
    pub refused_by_contract: Option<Failure>,
    /// What the policy refuses; of a capability that the contract refuses, what it would.
    pub refused_by_policy: Option<Failure>,
    /// The rule of the policy that decided, if one did.
    pub rule: Option<RuleReference>,
    /// The rules in report mode that would have denied what was allowed.
    pub reported: Vec<RuleReference>,
    /// Every rule, in the order of the file; the built-in ones last.
    pub rules: Vec<Consideration>,
}

impl Policy {
    /// Explains what this policy and this contract say about a capability, or about one target of it.
    #[must_use]
    pub fn explain(
        &self,
        contract: &Contract,
        kind: CapabilityKind,
        target: Option<&NamedTarget>,
    ) -> Explanation {
        let refused_by_contract = refusal_of_contract(contract, self, kind, target);
        let asked = match &refused_by_contract {
            None => contract.clone(),
            Some(_) => declaring(contract, kind, target),
        };
        let grant = Grant::derive(&asked, self);
        let (refused_by_policy, reported) = match (grant.check(kind), target) {
            (Err(failure), _) => (Some(failure), Vec::new()),
            (Ok(allowance), None) => (None, allowance.reported().to_vec()),
            (Ok(allowance), Some(target)) => {
                let verdict = allowance.judge(&target.as_target());
                (verdict.decision.err(), verdict.reported)
            }
        };
        let declared = asked.capability(kind).cloned().unwrap_or(bare(kind));
        let subject = subject(asked.name.as_str(), &asked.version, &declared, self);
        let target_text = target.map(NamedTarget::to_question);
        let about = self.rules_about(&subject);
        let question = match &target_text {
            Some(text) => Question::Target(text),
            None => Question::Whole,
        };
        let entries = declared.targets().unwrap_or_default();
        // Without a target, an entry of the contract's list may be what is denied.
        let question = entries
            .iter()
            .map(|entry| Question::Entry(entry))
            .find(|entry| {
                let allowed = |one| matches!(self.weigh(&about, kind, one), Ruling::Allowed(_));
                target.is_none() && allowed(Question::Whole) && !allowed(*entry)
            })
            .unwrap_or(question);
        let ruling = self.weigh(&about, kind, question);
        Explanation {
            controller: contract.name.to_string(),
            version: contract.version.to_string(),
            capability: kind,
            target: target.map(ToString::to_string),
            policy: self.name.clone(),
            file: self.file.clone(),
            environment: self.environment.as_str(),
            policy_hash: self.hash().to_owned(),
            rule: decisive(self, &ruling),
            rules: self.consider(&subject, question, &ruling),
            refused_by_contract,
            refused_by_policy,
            reported,
        }
    }

    fn consider(
        &self,
        subject: &Subject<'_>,
        question: Question<'_>,
        ruling: &Ruling<'_>,
    ) -> Vec<Consideration> {
        let built_in = Rule::no_raw_sql();
        let built_in = self.denies_by_itself(subject.kind).then_some(&built_in);
        self.rules
            .iter()
            .chain(built_in)
            .map(|rule| {
                let (matches, note) = self.note_on(rule, subject, question, ruling);
                Consideration {
                    rule: self.reference(rule),
                    effect: rule.effect.as_str(),
                    mode: rule.mode.as_str(),
                    matches,
                    note,
                }
            })
            .collect()
    }

    fn note_on(
        &self,
        rule: &Rule,
        subject: &Subject<'_>,
        question: Question<'_>,
        ruling: &Ruling<'_>,
    ) -> (bool, String) {
        if let Some(mismatch) = rule.mismatch(subject) {
            return (
                false,
                format!("does not match: {}", rule.describe(mismatch)),
            );
        }
        let bears = match rule.effect {
            Effect::Allow => rule.permits(question),
            Effect::Deny => rule.restricts(question),
        };
        if !bears {
            let resources: Vec<String> = rule.resources.iter().map(ToString::to_string).collect();
            return (
                false,
                format!("does not match: its targets are {}", resources.join(", ")),
            );
        }
        let decides = decisive(self, ruling).is_some_and(|one| one == self.reference(rule));
        let note = match (rule.effect, rule.mode) {
            (_, _) if decides => format!("{}, and decides", verb(rule.effect)),
            (Effect::Deny, Mode::Report) => "would deny, but only reports".to_owned(),
            (Effect::Allow, _)
                if self.denies_by_itself(subject.kind) && !rule.is_exception_for(subject.kind) =>
            {
                format!(
                    "does not count: only a rule that names {} and the controllers lifts the built-in denial",
                    subject.kind
                )
            }
            (Effect::Deny, Mode::Enforce) if rule.line == 0 => {
                "lifted by a rule that names it".to_owned()
            }
            (effect, _) => match ruling {
                Ruling::Denied(deny) if effect == Effect::Allow => {
                    format!("allows, outweighed by {}", deny.name)
                }
                _ => format!("{}, as an earlier rule does", verb(effect)),
            },
        };
        (true, note)
    }
}

fn verb(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allows",
        Effect::Deny => "denies",
    }
}

fn decisive(policy: &Policy, ruling: &Ruling<'_>) -> Option<RuleReference> {
    match ruling {
        Ruling::Allowed(rule) | Ruling::Denied(rule) => Some(policy.reference(rule)),
        Ruling::RawSql => Some(policy.reference(&Rule::no_raw_sql())),
        Ruling::Unmentioned => None,
    }
}

/// What the contract refuses. A policy that allows everything has no refusals of its own to mix in.
fn refusal_of_contract(
    contract: &Contract,
    policy: &Policy,
    kind: CapabilityKind,
    target: Option<&NamedTarget>,
) -> Option<Failure> {
    let Some(capability) = contract.capability(kind) else {
        return Grant::derive(contract, policy).check(kind).err();
    };
    crate::grant::refusal_by_contract(capability, target?)
}

/// The contract, with the capability or the target declared.
fn declaring(contract: &Contract, kind: CapabilityKind, target: Option<&NamedTarget>) -> Contract {
    let mut declaring = contract.clone();
    let present = contract.capability(kind).cloned().unwrap_or(bare(kind));
    let extended: Capability = target
        .and_then(|target| present.with_target(&target.to_string()))
        .unwrap_or(present);
    declaring.capabilities.retain(|one| one.kind() != kind);
    declaring.capabilities.push(extended);
    declaring
}

impl Explanation {
    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.refused_by_contract.is_none() && self.refused_by_policy.is_none()
    }

    /// The refusal that a call would get.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.refused_by_contract
            .as_ref()
            .or(self.refused_by_policy.as_ref())
    }

    /// The same for readers who have no business with the folders of the host.
    #[must_use]
    pub fn without_folders(mut self) -> Self {
        let name = |file: &mut String| {
            if let Some((_, name)) = file
                .strip_prefix('/')
                .map(|rest| rest.rsplit_once('/').unwrap_or(("", rest)))
            {
                *file = name.to_owned();
            }
        };
        name(&mut self.file);
        let references = self.rules.iter_mut().map(|one| &mut one.rule);
        for reference in references.chain(&mut self.rule).chain(&mut self.reported) {
            name(&mut reference.file);
        }
        self
    }

    /// The explanation as data.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "controller": self.controller,
            "version": self.version,
            "capability": self.capability,
            "target": self.target,
            "policy": { "name": self.policy, "file": self.file, "environment": self.environment, "hash": self.policy_hash },
            "decision": if self.is_allowed() { "allow" } else { "deny" },
            "rule": self.rule.as_ref().filter(|_| self.refused_by_contract.is_none()),
            "refusal": self.refusal(),
            "if_declared": self.refused_by_contract.as_ref().map(|_| json!({
                "decision": if self.refused_by_policy.is_none() { "allow" } else { "deny" },
                "rule": self.rule,
                "refusal": self.refused_by_policy,
            })),
            "would_deny": self.reported,
            "rules": self.rules,
        })
    }

    /// The explanation for people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let on = self
            .target
            .as_ref()
            .map(|target| format!(" on {target}"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {} {}, {}{on}",
            if self.is_allowed() {
                "allowed"
            } else {
                "denied"
            },
            self.controller,
            self.version,
            self.capability
        );
        let _ = writeln!(
            text,
            "  policy {} ({}), environment {}",
            self.policy, self.file, self.environment
        );
        if let Some(failure) = &self.refused_by_contract {
            tell(&mut text, "contract", failure);
        }
        let would = if self.refused_by_contract.is_some() {
            "if it were declared: "
        } else {
            ""
        };
        match (&self.refused_by_policy, &self.rule) {
            (Some(failure), _) => tell(&mut text, &format!("{would}policy"), failure),
            (None, Some(rule)) => {
                let _ = writeln!(text, "  {would}policy: allowed by rule {rule}");
            }
            (None, None) => {}
        }
        for rule in &self.reported {
            let _ = writeln!(text, "  would be denied by rule {rule} if it were enforced");
        }
        text.push_str("rules\n");
        let width = self
            .rules
            .iter()
            .map(|one| one.rule.name.len())
            .max()
            .unwrap_or(0);
        for one in &self.rules {
            let mark = if one.matches { "*" } else { " " };
            let place = match one.rule.line {
                0 => String::from("   -"),
                line => format!("{line:4}"),
            };
            let _ = writeln!(
                text,
                " {mark} line {place}  {:width$}  {:5}  {}",
                one.rule.name, one.effect, one.note
            );
        }
        text
    }
}

fn tell(text: &mut String, layer: &str, failure: &Failure) {
    let _ = writeln!(text, "  {layer}: {failure}");
    let detail = |key: &str| failure.details.get(key).and_then(Value::as_str);
    if let (Some(line), Some(document)) = (detail("line"), detail("line_in")) {
        let manner = match detail("line_replaces") {
            Some(replaced) => format!("in place of {replaced}"),
            None => "as a further line".to_owned(),
        };
        let _ = writeln!(
            text,
            "  to allow it, in the {document}, {manner}:\n    {line}"
        );
    }
}
