//! Weighing rules: deny outweighs allow, and what no rule allows is denied.
//!
//! The one rule that no file holds is here too. Raw SQL reaches every table of the database, so a
//! `*` that somebody wrote with other things in mind must not hand it out in service: there a rule
//! that allows it counts only if it names `db:rawsql` and names the controllers.

use super::rule::{Effect, Form, Mode, Rule, RuleReference, Subject};
use super::{Environment, Policy};
use crate::capability::CapabilityKind;

/// The name of the rule that no file holds. No rule of a file can be called so.
const NO_RAW_SQL: &str = "built-in:no-raw-sql";
/// What stands for the file of such a rule.
const BUILT_IN: &str = "built in";

/// What about a capability is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'a> {
    /// The capability as a whole, whatever its targets.
    Whole,
    /// An entry of the contract's list: is there anything of it that can be allowed?
    Entry(&'a str),
    /// One target of a call.
    Target(&'a str),
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ruling<'p> {
    /// Allowed by this rule, the first that does.
    Allowed(&'p Rule),
    /// Denied by this rule.
    Denied(&'p Rule),
    /// Denied because no rule allows it.
    Unmentioned,
    /// Denied by the built-in rule.
    RawSql,
}

impl Policy {
    /// The rules that are about this subject, by their position in the file.
    pub(crate) fn rules_about(&self, subject: &Subject<'_>) -> Vec<usize> {
        let about =
            |(index, rule): (usize, &Rule)| rule.mismatch(subject).is_none().then_some(index);
        self.rules.iter().enumerate().filter_map(about).collect()
    }

    /// Weighs the rules at these positions, which are about `kind`.
    pub(crate) fn weigh(
        &self,
        rules: &[usize],
        kind: CapabilityKind,
        question: Question<'_>,
    ) -> Ruling<'_> {
        let rules = || rules.iter().filter_map(|index| self.rules.get(*index));
        if let Some(rule) = rules().find(|rule| rule.denies() && rule.restricts(question)) {
            return Ruling::Denied(rule);
        }
        let exceptions_only = self.denies_by_itself(kind);
        let allow = rules().find(|rule| {
            rule.effect == Effect::Allow
                && rule.permits(question)
                && (!exceptions_only || rule.is_exception_for(kind))
        });
        match allow {
            Some(rule) => Ruling::Allowed(rule),
            None if exceptions_only => Ruling::RawSql,
            None => Ruling::Unmentioned,
        }
    }

    /// The rules in report mode at these positions that would have denied.
    pub(crate) fn would_deny(&self, rules: &[usize], question: Question<'_>) -> Vec<RuleReference> {
        rules
            .iter()
            .filter_map(|index| self.rules.get(*index))
            .filter(|rule| rule.reports() && rule.restricts(question))
            .map(|rule| self.reference(rule))
            .collect()
    }

    /// Whether the built-in rule denies this kind here.
    pub(crate) fn denies_by_itself(&self, kind: CapabilityKind) -> bool {
        kind == CapabilityKind::DbRawsql && self.environment == Environment::Production
    }

    /// Which rule this is.
    #[must_use]
    pub fn reference(&self, rule: &Rule) -> RuleReference {
        RuleReference {
            name: rule.name.clone(),
            file: if rule.line == 0 {
                BUILT_IN.to_owned()
            } else {
                self.file.clone()
            },
            line: rule.line,
        }
    }
}

impl Rule {
    /// The built-in rule, as a rule.
    pub(crate) fn no_raw_sql() -> Self {
        Self {
            name: NO_RAW_SQL.to_owned(),
            line: 0,
            effect: Effect::Deny,
            mode: Mode::Enforce,
            capabilities: vec![CapabilityKind::DbRawsql],
            form: Form::Any,
            environments: vec![Environment::Production],
            versions: None,
            advice: Some("use db:read and db:write, which name their tables".to_owned()),
            words: vec![CapabilityKind::DbRawsql.as_str().to_owned()],
            controllers: Vec::new(),
            except: Vec::new(),
            resources: Vec::new(),
        }
    }

    /// Whether a rule that denies takes away all that is asked about.
    pub(crate) fn restricts(&self, question: Question<'_>) -> bool {
        match question {
            Question::Whole => self.resources.is_empty(),
            Question::Entry(entry) => self.covers_target(entry),
            Question::Target(target) => self.covers_target(target),
        }
    }

    /// Whether a rule that allows gives any of what is asked about.
    pub(crate) fn permits(&self, question: Question<'_>) -> bool {
        match question {
            Question::Whole => true,
            Question::Entry(entry) => self.touches_entry(entry),
            Question::Target(target) => self.covers_target(target),
        }
    }
}
