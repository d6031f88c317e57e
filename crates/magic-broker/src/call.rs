//! One capability call on its way: what it may do, and what its record will say.
//!
//! A capability is handed a [`Call`] and nothing else that decides. It asks the
//! call about every target before it touches it, and notes the facts that the
//! audit record must carry as soon as it knows them, so that a call that is
//! refused or fails half-way is recorded with what was known by then.
//!
//! A call is recorded when it ends or when it is dropped: the future that
//! performs it may be cancelled at any point, and what was begun must not
//! vanish from the record for that.

use crate::capability::Method;
use crate::http::AddressRules;
use crate::record::{AuditSink, CallRecord, Ending, Intent};
use crate::trace::SpanId;
use magic_contract::{
    Allowance, Capability, CapabilityKind, Failure, Grant, RuleReference, Target,
};
use serde_json::{Map, Value};
use tokio::time::Instant;

/// How many rules in report mode one record names. A call can touch many
/// targets, and its record is kept for years.
const MOST_REPORTED: usize = 16;

/// One allowed call, being performed.
pub(crate) struct Call<'a> {
    /// Its number within the session.
    pub(crate) id: u64,
    /// What was called.
    pub(crate) method: Method,
    /// When the request's time is up.
    pub(crate) deadline: Instant,
    /// The number of its span, where spans are recorded.
    pub(crate) span: Option<SpanId>,
    grant: &'a Grant,
    allowance: &'a Allowance,
    audit: &'a dyn AuditSink,
    facts: Map<String, Value>,
    /// The rule that allowed: for the last target that was judged, or for the
    /// capability as a whole. A denial names its rule in its own details.
    rule: RuleReference,
    /// The rules in report mode that would have denied.
    would_deny: Vec<RuleReference>,
    begun: Instant,
    recorded: bool,
}

impl<'a> Call<'a> {
    /// Begins a call that the grant allows as such; its targets are yet to be
    /// judged.
    ///
    /// # Errors
    ///
    /// E2001 or E2002, and nothing is recorded: there is no call.
    pub(crate) fn begin(
        id: u64,
        method: Method,
        deadline: Instant,
        grant: &'a Grant,
        audit: &'a dyn AuditSink,
    ) -> Result<Self, Failure> {
        let allowance = grant.check(method.capability())?;
        Ok(Self {
            id,
            method,
            deadline,
            span: None,
            grant,
            allowance,
            audit,
            facts: Map::new(),
            rule: allowance.rule().clone(),
            would_deny: allowance.reported().to_vec(),
            begun: Instant::now(),
            recorded: false,
        })
    }

    /// The capability as the contract declares it, with its lists and limits.
    pub(crate) fn capability(&self) -> &'a Capability {
        self.allowance.capability()
    }

    /// The right to use another capability, for a call that may touch it too.
    pub(crate) fn granted(&self, kind: CapabilityKind) -> Option<&'a Allowance> {
        self.grant.check(kind).ok()
    }

    /// What the policy of this call opens beyond the public addresses.
    pub(crate) fn address_rules(&self) -> AddressRules {
        let policy = self.grant.policy();
        AddressRules {
            classes: policy.address_classes.clone(),
            ranges: policy.address_ranges.clone(),
        }
    }

    /// Judges one target; every capability asks before it acts.
    ///
    /// # Errors
    ///
    /// E2003 or E2002, for the controller.
    pub(crate) fn check(&mut self, target: &Target<'_>) -> Result<(), Failure> {
        let verdict = self.allowance.judge(target);
        for rule in verdict.reported {
            if self.would_deny.len() < MOST_REPORTED && !self.would_deny.contains(&rule) {
                self.would_deny.push(rule);
            }
        }
        self.rule = verdict.decision?;
        Ok(())
    }

    /// Notes one fact for the record; a later one of the same name replaces it.
    pub(crate) fn fact(&mut self, name: &'static str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Makes durable that this call is about to do something that cannot be
    /// taken back. The call must not act before this has returned.
    ///
    /// # Errors
    ///
    /// A failure for the controller when the audit log cannot take it.
    pub(crate) async fn announce(&self) -> Result<(), Failure> {
        self.audit
            .intend(Intent {
                call: self.id,
                method: self.method,
                facts: &self.facts,
                policy_hash: self.grant.policy_hash(),
            })
            .await
    }

    /// Writes the record of how it ended.
    pub(crate) fn end<T>(mut self, outcome: &Result<T, Failure>) {
        self.record(match outcome {
            Ok(_) => Ending::Performed,
            Err(failure) => Ending::Failed(failure),
        });
    }

    /// The facts that were noted, for tests of single capabilities.
    #[cfg(test)]
    pub(crate) fn into_facts(mut self) -> Map<String, Value> {
        std::mem::take(&mut self.facts)
    }

    fn record(&mut self, ending: Ending<'_>) {
        self.recorded = true;
        self.audit.record(CallRecord {
            call: self.id,
            method: self.method.as_str(),
            capability: Some(self.method.capability()),
            ending,
            facts: &self.facts,
            policy_hash: self.grant.policy_hash(),
            rule: Some(&self.rule),
            would_deny: &self.would_deny,
            duration: self.begun.elapsed(),
            span: self.span,
        });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.recorded {
            self.record(Ending::Unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Durable;
    use magic_contract::{Contract, Policy};
    use std::sync::Mutex;

    /// Keeps what the last record says of rules.
    #[derive(Default)]
    struct Noted(Mutex<Option<(String, Vec<String>)>>);

    impl AuditSink for Noted {
        fn record(&self, record: CallRecord<'_>) {
            let rule = record.rule.expect("an allowed call has a rule");
            let reported = record.would_deny.iter().map(|one| one.name.clone());
            *self.0.lock().unwrap() = Some((rule.name.clone(), reported.collect()));
        }

        fn intend<'a>(&'a self, _: Intent<'a>) -> Durable<'a> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// A record names the rule that allowed the last target, and every rule that
    /// would have denied any of them, once; also when the call is dropped.
    #[tokio::test]
    async fn the_rules_of_every_target_are_recorded() {
        let contract = Contract::parse(
            b"name: A\nversion: 1.0.0\ninput: {}\noutput: {}\ncapabilities: [db:read]",
            "contract.yaml",
        )
        .unwrap();
        let policy = Policy::parse(
            b"name: a\nenvironment: development\nrules:\n\
              - { name: pay, effect: allow, capabilities: [\"db:read\"], resources: [pay] }\n\
              - { name: some, effect: allow, capabilities: [\"db:read\"], resources: [\"c*\"] }\n\
              - { name: trial, effect: deny, mode: report, capabilities: [\"db:read\"], resources: [pay] }\n",
            "policy.yaml",
        )
        .unwrap();
        let grant = Grant::derive(&contract, &policy);
        let noted = Noted::default();
        let mut call = Call::begin(1, Method::DbQuery, Instant::now(), &grant, &noted).unwrap();
        for (table, allowed) in [
            ("pay", true),
            ("pay", true),
            ("customers", true),
            ("x", false),
        ] {
            let answer = call.check(&Target::Table(table));
            assert_eq!(answer.is_ok(), allowed, "{table}");
        }
        drop(call);
        let noted = noted.0.lock().unwrap().clone();
        assert_eq!(noted, Some(("some".to_owned(), vec!["trial".to_owned()])));
    }
}
