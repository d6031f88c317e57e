//! Contract times policy: what one controller version may really do.
//!
//! A [`Grant`] is derived when a version is deployed or the policy changes, and is a pure value.
//! Asking it for a capability gives an [`Allowance`] or a [`Failure`] that names the layer (contract
//! or policy) and the line that would allow it. An allowance in turn judges each target. Both judge
//! by [`Verdict`], which also says which rule decided and which rules only report, so that the audit
//! record never has to guess.

use std::sync::Arc;

use crate::capability::{Capability, CapabilityKind};
use crate::contract::Contract;
use crate::failure::Failure;
use crate::policy::{Form, Policy, Question, RuleReference, Ruling, Subject};

mod limits;
mod refusal;
mod target;

pub use target::{NamedTarget, Target, TargetProblem};

/// A judgement, and what stands behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The rule that allowed, or the refusal.
    pub decision: Result<RuleReference, Failure>,
    /// The rules in report mode that would have denied what was allowed. Empty for a refusal.
    pub reported: Vec<RuleReference>,
}

/// The right to use one capability: what the contract declares, and the rules that bear on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance {
    capability: Capability,
    controller: String,
    version: semver::Version,
    policy: Arc<Policy>,
    /// The positions of the rules that are about this capability of this contract.
    rules: Vec<usize>,
    rule: RuleReference,
    reported: Vec<RuleReference>,
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
    policy: Arc<Policy>,
}

impl Grant {
    /// Judges a contract under a policy. What the policy refuses becomes part of the grant: see
    /// [`Grant::refusals`].
    #[must_use]
    pub fn derive(contract: &Contract, policy: &Policy) -> Self {
        Self::derive_under(contract, &Arc::new(policy.clone()))
    }

    /// The same under a policy that many grants share.
    #[must_use]
    pub fn derive_under(contract: &Contract, policy: &Arc<Policy>) -> Self {
        let (excesses, raised) = limits::excesses(contract, policy);
        let too_much: Vec<(Option<CapabilityKind>, Failure)> = excesses
            .iter()
            .map(|one| (one.capability, refusal::too_much(policy, one, &raised)))
            .collect();
        let mut refusals: Vec<Failure> = too_much.iter().map(|(_, one)| one.clone()).collect();
        if contract.isolation < policy.isolation {
            refusals.push(refusal::too_shared(policy));
        }
        let mut decisions = Vec::new();
        for capability in &contract.capabilities {
            let kind = capability.kind();
            let decision = match decide(contract, capability, policy) {
                Decision::Allowed(allowance) => {
                    // Already among the refusals. Denied here as well, for versions that were
                    // deployed under another policy.
                    let excess = too_much.iter().find(|(asking, _)| *asking == Some(kind));
                    excess.map_or(Decision::Allowed(allowance), |(_, failure)| {
                        Decision::Denied(failure.clone())
                    })
                }
                Decision::Denied(failure) => {
                    refusals.push(failure.clone());
                    Decision::Denied(failure)
                }
            };
            decisions.push((kind, decision));
        }
        Self {
            controller: contract.name.to_string(),
            decisions,
            refusals,
            policy: Arc::clone(policy),
        }
    }

    /// Everything in the contract that the policy does not allow. A deploy is refused unless this
    /// is empty.
    #[must_use]
    pub fn refusals(&self) -> &[Failure] {
        &self.refusals
    }

    /// The policy that judged: its limits, and the addresses that egress may reach.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The name of the controller that it is about.
    #[must_use]
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// The hash of the policy that judged, for the audit record.
    #[must_use]
    pub fn policy_hash(&self) -> &str {
        self.policy.hash()
    }

    /// Asks for a capability.
    ///
    /// # Errors
    /// E2001 if the contract does not declare it, E2002 if the policy denies it.
    pub fn check(&self, kind: CapabilityKind) -> Result<&Allowance, Failure> {
        match self.decisions.iter().find(|(one, _)| *one == kind) {
            Some((_, Decision::Allowed(allowance))) => Ok(allowance),
            Some((_, Decision::Denied(failure))) => Err(failure.clone()),
            None => Err(refusal::undeclared(kind, &self.controller)),
        }
    }

    /// Judges a capability as a whole.
    #[must_use]
    pub fn judge(&self, kind: CapabilityKind) -> Verdict {
        match self.check(kind) {
            Ok(allowance) => Verdict {
                decision: Ok(allowance.rule.clone()),
                reported: allowance.reported.clone(),
            },
            Err(failure) => Verdict {
                decision: Err(failure),
                reported: Vec::new(),
            },
        }
    }
}

impl Allowance {
    /// The capability as the contract declares it.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// The rule that allows the capability as a whole. For a target, ask [`Allowance::judge`].
    #[must_use]
    pub fn rule(&self) -> &RuleReference {
        &self.rule
    }

    /// The rules in report mode that would have denied the capability as a whole.
    #[must_use]
    pub fn reported(&self) -> &[RuleReference] {
        &self.reported
    }

    /// Judges one target of a call.
    ///
    /// # Errors
    /// E2003 if the contract lists other targets only, E2002 if the policy denies this one.
    pub fn check(&self, target: &Target<'_>) -> Result<(), Failure> {
        self.judge(target).decision.map(drop)
    }

    /// Judges one target of a call, and says which rule did.
    #[must_use]
    pub fn judge(&self, target: &Target<'_>) -> Verdict {
        let refused = |failure| Verdict {
            decision: Err(failure),
            reported: Vec::new(),
        };
        if !is_declared(&self.capability, target) {
            return refused(refusal::not_listed(&self.capability, target));
        }
        let text = target.to_question();
        let question = Question::Target(&text);
        match self
            .policy
            .weigh(&self.rules, self.capability.kind(), question)
        {
            Ruling::Allowed(rule) => Verdict {
                decision: Ok(self.policy.reference(rule)),
                reported: self.policy.would_deny(&self.rules, question),
            },
            ruling => refused(refusal::denied(
                &self.policy,
                &self.subject(),
                &self.capability,
                Some(&target.to_string()),
                &ruling,
            )),
        }
    }

    fn subject(&self) -> Subject<'_> {
        subject(
            &self.controller,
            &self.version,
            &self.capability,
            &self.policy,
        )
    }
}

/// What the contract alone refuses of one target.
pub(crate) fn refusal_by_contract(
    capability: &Capability,
    target: &NamedTarget,
) -> Option<Failure> {
    let target = target.as_target();
    (!is_declared(capability, &target)).then(|| refusal::not_listed(capability, &target))
}

fn is_declared(capability: &Capability, target: &Target<'_>) -> bool {
    if capability.kind().resource_kind() != Some(target.kind()) {
        return false;
    }
    match (capability, target) {
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

/// A capability as one contract declares it, for the rules of a policy.
pub(crate) fn subject<'a>(
    controller: &'a str,
    version: &'a semver::Version,
    capability: &Capability,
    policy: &Policy,
) -> Subject<'a> {
    Subject {
        kind: capability.kind(),
        form: if capability.is_bare() {
            Form::Bare
        } else {
            Form::Listed
        },
        controller,
        version,
        environment: policy.environment,
    }
}

fn decide(contract: &Contract, capability: &Capability, policy: &Arc<Policy>) -> Decision {
    let kind = capability.kind();
    let subject = subject(
        contract.name.as_str(),
        &contract.version,
        capability,
        policy,
    );
    let rules = policy.rules_about(&subject);
    let denied = |target: Option<&str>, ruling: &Ruling<'_>| {
        Decision::Denied(refusal::denied(
            policy, &subject, capability, target, ruling,
        ))
    };
    let rule = match policy.weigh(&rules, kind, Question::Whole) {
        Ruling::Allowed(rule) => policy.reference(rule),
        ruling => return denied(None, &ruling),
    };
    // Each listed target must have a chance: a rule that allows at least part of what it stands
    // for, and none that denies all of it. Calls are judged again, target by target.
    for entry in capability.targets().unwrap_or_default() {
        match policy.weigh(&rules, kind, Question::Entry(&entry)) {
            Ruling::Allowed(_) => {}
            ruling => return denied(Some(&entry), &ruling),
        }
    }
    Decision::Allowed(Box::new(Allowance {
        capability: capability.clone(),
        controller: contract.name.to_string(),
        version: contract.version.clone(),
        reported: policy.would_deny(&rules, Question::Whole),
        policy: Arc::clone(policy),
        rules,
        rule,
    }))
}

#[cfg(test)]
mod tests;
