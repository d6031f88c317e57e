//! One rule: what it says, and whether it is about a given question.
//!
//! Everything that a rule can ask is asked in [`Rule::mismatch`], which names the first condition
//! that does not hold. Judging and explaining both use it, so that an explanation cannot tell
//! another story than the judgement.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Environment, ResourcePattern, TextPattern};
use crate::capability::CapabilityKind;

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Allows, unless another rule denies.
    Allow,
    /// Denies.
    Deny,
}

impl Effect {
    /// The spelling used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Whether a rule that denies really does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It denies.
    #[default]
    Enforce,
    /// It says what it would have denied, and denies nothing. A way to try a rule in service.
    Report,
}

impl Mode {
    /// The spelling used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// Which way of declaring a capability a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Both ways.
    #[default]
    Any,
    /// Without a list of targets.
    Bare,
    /// With a list of targets.
    Listed,
}

impl Form {
    /// The spelling used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bare => "bare",
            Self::Listed => "listed",
        }
    }
}

/// One rule: when all that it names matches, its effect holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// The name that denials and audit records carry.
    pub name: String,
    /// The line of the policy file where the rule begins.
    pub line: usize,
    /// What it does.
    pub effect: Effect,
    /// Whether it does that or only reports. Rules that allow are always enforced.
    pub mode: Mode,
    /// The capabilities that it is about.
    pub capabilities: Vec<CapabilityKind>,
    /// Which way of declaring them.
    pub form: Form,
    /// The environments that it is about; all if empty.
    pub environments: Vec<Environment>,
    /// The versions that it is about.
    pub versions: Option<semver::VersionReq>,
    /// What the refused author should know.
    pub advice: Option<String>,
    /// The capabilities as they were written. `db:rawsql` written out means more than `*`.
    pub(crate) words: Vec<String>,
    pub(crate) controllers: Vec<TextPattern>,
    /// Controllers that the rule is not about, although `controllers` covers them.
    pub(crate) except: Vec<TextPattern>,
    pub(crate) resources: Vec<ResourcePattern>,
}

/// Which rule it was, for denials, explanations and audit records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RuleReference {
    /// The rule's name.
    pub name: String,
    /// The policy file, as it was named by whoever read it; `built in` for rules of the program.
    pub file: String,
    /// The line where the rule begins, counted from 1; 0 for rules of the program.
    pub line: usize,
}

impl RuleReference {
    /// `file:line`, or that the rule is built in.
    #[must_use]
    pub fn place(&self) -> String {
        if self.line == 0 {
            return self.file.clone();
        }
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Display for RuleReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name, self.place())
    }
}

/// What is asked about: one capability as one contract declares it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) kind: CapabilityKind,
    pub(crate) form: Form,
    pub(crate) controller: &'a str,
    pub(crate) version: &'a semver::Version,
    pub(crate) environment: Environment,
}

/// The first condition of a rule that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Capability,
    Form,
    Environment,
    Controller,
    Excepted,
    Version,
}

impl Rule {
    /// Why the rule is not about this, or nothing if it is.
    pub(crate) fn mismatch(&self, subject: &Subject<'_>) -> Option<Mismatch> {
        let covered = |patterns: &[TextPattern]| {
            patterns
                .iter()
                .any(|pattern| pattern.covers(subject.controller))
        };
        if !self.capabilities.contains(&subject.kind) {
            Some(Mismatch::Capability)
        } else if self.form != Form::Any && self.form != subject.form {
            Some(Mismatch::Form)
        } else if !self.environments.is_empty() && !self.environments.contains(&subject.environment)
        {
            Some(Mismatch::Environment)
        } else if !self.controllers.is_empty() && !covered(&self.controllers) {
            Some(Mismatch::Controller)
        } else if covered(&self.except) {
            Some(Mismatch::Excepted)
        } else if self
            .versions
            .as_ref()
            .is_some_and(|versions| !versions.matches(subject.version))
        {
            Some(Mismatch::Version)
        } else {
            None
        }
    }

    /// The mismatch in words, with what the rule says.
    pub(crate) fn describe(&self, mismatch: Mismatch) -> String {
        match mismatch {
            Mismatch::Capability => format!("it is about {}", self.words.join(", ")),
            Mismatch::Form => format!("it is about the {} form", self.form.as_str()),
            Mismatch::Environment => {
                format!("it is about the environment {}", listed(&self.environments))
            }
            Mismatch::Controller => format!("it is about {}", listed(&self.controllers)),
            Mismatch::Excepted => format!("it excepts {}", listed(&self.except)),
            Mismatch::Version => {
                let versions = self.versions.as_ref().map(ToString::to_string);
                format!("it is about versions {}", versions.unwrap_or_default())
            }
        }
    }

    /// Whether the rule holds for this target, as far as targets are concerned.
    pub(crate) fn covers_target(&self, target: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|one| one.contains(target))
    }

    /// Whether the rule holds for anything that this entry of a contract stands for.
    pub(crate) fn touches_entry(&self, entry: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|one| one.overlaps(entry))
    }

    /// Whether the rule denies when it matches.
    pub(crate) fn denies(&self) -> bool {
        self.effect == Effect::Deny && self.mode == Mode::Enforce
    }

    /// Whether the rule reports when it matches.
    pub(crate) fn reports(&self) -> bool {
        self.effect == Effect::Deny && self.mode == Mode::Report
    }

    /// Whether the rule allows this kind by name to controllers by name, and so lifts the built-in
    /// denial of raw SQL. Stars that cover everything are no names.
    pub(crate) fn is_exception_for(&self, kind: CapabilityKind) -> bool {
        self.words.iter().any(|word| word == kind.as_str())
            && !self.controllers.is_empty()
            && !self.controllers.contains(&TextPattern::Everything)
    }

    pub(super) fn to_json(&self) -> Value {
        let texts = |patterns: &[TextPattern]| -> Vec<String> {
            patterns.iter().map(ToString::to_string).collect()
        };
        json!({
            "name": self.name,
            "effect": self.effect.as_str(),
            "mode": self.mode.as_str(),
            "capabilities": self.words,
            "form": self.form.as_str(),
            "environments": self.environments.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
            "versions": self.versions.as_ref().map(ToString::to_string),
            "controllers": texts(&self.controllers),
            "except": texts(&self.except),
            "resources": self.resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "advice": self.advice,
        })
    }
}

fn listed<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
