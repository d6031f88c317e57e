//! Refusals that say what to do: layer, rule, and the exact line that would allow it.
//!
//! The line is proposed by the same rules that refused. Where a contract can mend itself (a rule is
//! only about bare capabilities), the contract's line comes first, because the author can write it
//! alone; otherwise it is the policy's. One line lifts one refusal: if another rule stands behind the
//! first, the next refusal prints the next line.

use serde_json::json;

use super::limits::Excess;
use super::{Allowance, Target};
use crate::capability::{Capability, CapabilityKind, HttpMethod};
use crate::error_code::ErrorCode;
use crate::failure::Failure;
use crate::line::{LONGEST_LINE, word};
use crate::policy::{
    Form, Policy, PolicyLimits, Question, Rule, RuleReference, Ruling, Subject, TextPattern,
};
use crate::violation::shorten;

/// The longest name of a rule.
const LONGEST_RULE_NAME: usize = 64;
/// How many of the listed targets a refusal repeats.
const SHOWN_TARGETS: usize = 64;

/// The line that would allow something, where it belongs, and what it takes the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remedy {
    line: String,
    document: &'static str,
    replaces: Option<String>,
}

impl Remedy {
    fn contract(line: String, replaces: Option<String>) -> Self {
        Self {
            line,
            document: "contract",
            replaces,
        }
    }

    fn policy(line: String, replaces: Option<String>) -> Self {
        Self {
            line,
            document: "policy",
            replaces,
        }
    }

    fn attach(self, failure: Failure) -> Failure {
        if self.line.len() > LONGEST_LINE {
            return failure;
        }
        let failure = failure
            .with_detail("line", self.line)
            .with_detail("line_in", self.document);
        match self.replaces {
            Some(replaced) => failure.with_detail("line_replaces", replaced),
            None => failure,
        }
    }
}

/// E2001: the contract does not declare the capability.
pub(super) fn undeclared(kind: CapabilityKind, controller: &str) -> Failure {
    let line = kind.example_line();
    let message = format!(
        "{controller} does not declare `{kind}`; add under `capabilities:` of its contract: {line}"
    );
    let failure = Failure::new(ErrorCode::CapabilityUndeclared, message)
        .with_detail("capability", kind.as_str())
        .with_detail("layer", "contract");
    Remedy::contract(line.to_owned(), None).attach(failure)
}

/// E2003: the contract lists other targets only.
pub(super) fn not_listed(capability: &Capability, target: &Target<'_>) -> Failure {
    let kind = capability.kind();
    let text = target.to_string();
    let shown = shorten(&text);
    let (noun, key) = (target.kind().noun(), target.kind().list_key());
    // A star in a target would become a pattern in the list, and allow more than was asked for.
    let extended = Some(capability)
        .filter(|_| kind.resource_kind() == Some(target.kind()) && !text.contains('*'))
        .and_then(|capability| capability.with_target(&text));
    let advice = match &extended {
        Some(_) => format!("add it to `{key}`"),
        None => format!("no contract can list that {noun}"),
    };
    let message = format!("the contract's `{kind}` does not list the {noun} `{shown}`; {advice}");
    let failure = outside_list(capability, message)
        .with_detail("target", shown)
        .with_detail("listed", json!(listed(capability)));
    match extended {
        Some(extended) => in_place_of(capability, &extended).attach(failure),
        None => failure,
    }
}

/// E2003: the contract lists other HTTP methods only.
pub(super) fn method_not_listed(capability: &Capability, method: HttpMethod) -> Failure {
    let message = format!(
        "the contract's `{}` does not list the method {}; add it to `methods`",
        capability.kind(),
        method.as_str()
    );
    let failure = outside_list(capability, message).with_detail("method", method.as_str());
    match capability.with_method(method) {
        Some(extended) => in_place_of(capability, &extended).attach(failure),
        None => failure,
    }
}

fn outside_list(capability: &Capability, message: String) -> Failure {
    Failure::new(ErrorCode::TargetNotAllowed, message)
        .with_detail("capability", capability.kind().as_str())
        .with_detail("layer", "contract")
}

fn listed(capability: &Capability) -> Vec<String> {
    let mut listed = capability.targets().unwrap_or_default();
    listed.truncate(SHOWN_TARGETS);
    listed
}

fn in_place_of(capability: &Capability, extended: &Capability) -> Remedy {
    let replaced = format!("the entry `{}` under `capabilities:`", capability.kind());
    Remedy::contract(extended.to_line(), Some(replaced))
}

/// E2002: the policy denies it, by a rule or because none allows it.
pub(super) fn denied(
    policy: &Policy,
    subject: &Subject<'_>,
    capability: &Capability,
    target: Option<&str>,
    ruling: &Ruling<'_>,
) -> Failure {
    let kind = subject.kind;
    // What comes from a call is one target. A star in it would become a pattern in the line, and
    // allow more than was asked for; in an entry of a contract it is meant.
    let nameable = target.is_none_or(|target| {
        let entries = capability.targets().unwrap_or_default();
        !target.contains('*') || entries.iter().any(|entry| entry == target)
    });
    let what = match target {
        Some(target) => format!("`{kind}` on `{}`", shorten(target)),
        None => format!("`{kind}`"),
    };
    let built_in = Rule::no_raw_sql();
    let rule = match ruling {
        Ruling::Denied(rule) => Some(*rule),
        Ruling::RawSql => Some(&built_in),
        Ruling::Allowed(_) | Ruling::Unmentioned => None,
    };
    let remedy = match ruling {
        Ruling::Denied(rule) => Some(
            listing(policy, subject, capability, target, rule)
                .filter(|_| nameable)
                .unwrap_or_else(|| excepting(policy, rule, subject.controller)),
        ),
        _ => allowing(policy, subject, target).filter(|_| nameable),
    };
    let message = match rule {
        Some(rule) => {
            let reference = shown(policy, rule);
            let advice = match (&rule.advice, &remedy) {
                (Some(text), _) => format!("; {text}"),
                (None, Some(remedy)) if remedy.document == "contract" => {
                    format!("; write in the contract: {}", shortened(&remedy.line))
                }
                _ => String::new(),
            };
            format!(
                "rule `{}` of policy `{}` ({}) denies {what}{advice}",
                reference.name,
                policy.name,
                reference.place()
            )
        }
        None => {
            let advice = match &remedy {
                Some(remedy) => format!(
                    "; add under `rules:` of {}: {}",
                    shown_file(policy),
                    shortened(&remedy.line)
                ),
                None => ", and none can name it".to_owned(),
            };
            format!(
                "no rule of policy `{}` allows {what} to {}{advice}",
                policy.name, subject.controller
            )
        }
    };
    let mut failure = by_policy(policy, message).with_detail("capability", kind.as_str());
    if let Some(rule) = rule {
        let reference = shown(policy, rule);
        failure = failure
            .with_detail("rule", reference.name.clone())
            .with_detail("rule_at", reference.place());
    }
    if let Some(target) = target {
        failure = failure.with_detail("target", shorten(target));
    }
    match remedy {
        Some(remedy) => remedy.attach(failure),
        None => failure,
    }
}

/// E2002: the contract asks for more than the policy's limits.
pub(super) fn too_much(policy: &Policy, excess: &Excess, raised: &PolicyLimits) -> Failure {
    let message = format!(
        "the contract asks for `{}: {}`, and policy `{}` ({}) allows at most {}",
        excess.place,
        excess.asked,
        policy.name,
        shown_file(policy),
        excess.most
    );
    let mut failure = by_policy(policy, message).with_detail("limit", excess.place);
    if let Some(kind) = excess.capability {
        failure = failure.with_detail("capability", kind.as_str());
    }
    Remedy::policy(raised.to_line(), Some("limits".to_owned())).attach(failure)
}

/// E2002: the contract asks for less isolation than the policy demands.
pub(super) fn too_shared(policy: &Policy) -> Failure {
    let line = format!("isolation: {}", policy.isolation.as_str());
    let message = format!(
        "policy `{}` ({}) demands more isolation; write in the contract: {line}",
        policy.name,
        shown_file(policy)
    );
    let failure = by_policy(policy, message).with_detail("limit", "isolation");
    Remedy::contract(line, Some("isolation".to_owned())).attach(failure)
}

fn by_policy(policy: &Policy, message: String) -> Failure {
    Failure::new(ErrorCode::CapabilityDenied, message)
        .with_detail("layer", "policy")
        .with_detail("policy", policy.name.clone())
}

/// The contract's line that lists the target, if that is all the rule asks for.
fn listing(
    policy: &Policy,
    subject: &Subject<'_>,
    capability: &Capability,
    target: Option<&str>,
    rule: &Rule,
) -> Option<Remedy> {
    if rule.form != Form::Bare || subject.form != Form::Bare {
        return None;
    }
    let target = match target {
        Some(target) => target,
        None => example_target(subject.kind)?,
    };
    let listed = capability.with_target(target)?;
    let subject = Subject {
        form: Form::Listed,
        ..*subject
    };
    let rules = policy.rules_about(&subject);
    let allowed = |question| {
        matches!(
            policy.weigh(&rules, subject.kind, question),
            Ruling::Allowed(_)
        )
    };
    // Without a target of its own it is an example, which the author replaces.
    (allowed(Question::Whole) && allowed(Question::Entry(target)))
        .then(|| in_place_of(capability, &listed))
}

/// The targets that the example lines of contracts name.
fn example_target(kind: CapabilityKind) -> Option<&'static str> {
    match kind {
        CapabilityKind::DbRead | CapabilityKind::DbWrite => Some("customers"),
        CapabilityKind::HttpEgress => Some("api.example.org"),
        CapabilityKind::SecretsRead => Some("API_KEY"),
        CapabilityKind::QueuePublish | CapabilityKind::QueueSubscribe => Some("invoices"),
        CapabilityKind::CacheRead | CapabilityKind::CacheWrite => Some("rates:*"),
        CapabilityKind::DbRawsql | CapabilityKind::FsTemp => None,
    }
}

/// The rule that denies, with this controller excepted.
fn excepting(policy: &Policy, rule: &Rule, controller: &str) -> Remedy {
    let mut excepting = rule.clone();
    excepting
        .except
        .push(TextPattern::Exact(controller.to_owned()));
    let reference = shown(policy, rule);
    Remedy::policy(
        excepting.to_line(),
        Some(format!("rule {} at {}", reference.name, reference.place())),
    )
}

/// A rule that allows just this to just this controller. Nothing if no rule could name the target.
fn allowing(policy: &Policy, subject: &Subject<'_>, target: Option<&str>) -> Option<Remedy> {
    let kind = subject.kind;
    let resources = match target {
        Some(target) => {
            TextPattern::parse(target)?;
            format!(", resources: [{}]", word(target))
        }
        None => String::new(),
    };
    let controller = subject.controller;
    let line = format!(
        "- {{ name: {}, effect: allow, capabilities: [\"{kind}\"], controllers: [{}]{resources} }}",
        free_name(policy, controller, kind),
        word(controller)
    );
    Some(Remedy::policy(line, None))
}

/// A name that no rule of the policy has.
fn free_name(policy: &Policy, controller: &str, kind: CapabilityKind) -> String {
    let kind = kind.as_str().replace(':', "-");
    let room = LONGEST_RULE_NAME - "allow--".len() - kind.len() - "-9999999999".len();
    let controller: String = controller.to_ascii_lowercase().chars().take(room).collect();
    let base = format!("allow-{controller}-{kind}");
    let free = |name: &String| policy.rules.iter().all(|rule| rule.name != *name);
    if free(&base) {
        return base;
    }
    (2..)
        .map(|number: u32| format!("{base}-{number}"))
        .find(free)
        .unwrap_or(base)
}

/// The policy's file for callers: they have no business with the folders of the host.
fn shown_file(policy: &Policy) -> String {
    match policy.file.rsplit_once('/') {
        Some((_, name)) if policy.file.starts_with('/') => name.to_owned(),
        _ => policy.file.clone(),
    }
}

fn shown(policy: &Policy, rule: &Rule) -> RuleReference {
    let mut reference = policy.reference(rule);
    if reference.line > 0 {
        reference.file = shown_file(policy);
    }
    reference
}

/// A line in a sentence.
fn shortened(line: &str) -> &str {
    if line.len() <= 512 {
        line
    } else {
        "(see details.line)"
    }
}

impl Allowance {
    /// Judges an HTTP method of a call.
    ///
    /// # Errors
    /// E2003 if the contract lists other methods only.
    pub fn check_method(&self, method: HttpMethod) -> Result<(), Failure> {
        match &self.capability {
            Capability::HttpEgress {
                methods: Some(methods),
                ..
            } if !methods.contains(&method) => Err(method_not_listed(&self.capability, method)),
            _ => Ok(()),
        }
    }
}
