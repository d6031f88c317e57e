//! The policy in force, and the rights that follow from it.
//!
//! There is one cell with the policy. A version keeps the grant that it derived last, and whoever
//! asks for it gets it only while it was derived under the policy in force; otherwise it is derived
//! anew, right then. So a new policy reaches every version there is, those that are only finishing
//! their last requests and those that are just being deployed included, and nobody keeps a list.

use crate::version::Version;
use magic_broker::GrantSource;
use magic_contract::{Contract, Failure, Grant, Policy};
use serde::Serialize;
use std::sync::{Arc, PoisonError, RwLock};

/// The policy in force.
#[derive(Debug)]
pub(crate) struct PolicyCell {
    current: RwLock<Arc<Policy>>,
}

impl PolicyCell {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            current: RwLock::new(Arc::new(policy)),
        }
    }

    /// The policy of this moment.
    pub(crate) fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force and returns the one before.
    pub(crate) fn replace(&self, policy: Arc<Policy>) -> Arc<Policy> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, policy)
    }
}

/// The rights of one version, as they are now.
#[derive(Debug)]
pub(crate) struct Rights {
    policies: Arc<PolicyCell>,
    derived: RwLock<Arc<Grant>>,
}

impl Rights {
    /// Rights that begin with a grant that was derived already.
    pub(crate) fn new(policies: Arc<PolicyCell>, grant: Grant) -> Self {
        Self {
            policies,
            derived: RwLock::new(Arc::new(grant)),
        }
    }

    fn current(&self, contract: &Contract) -> Arc<Grant> {
        let policy = self.policies.current();
        let derived = Arc::clone(&self.derived.read().unwrap_or_else(PoisonError::into_inner));
        if Arc::ptr_eq(derived.policy(), &policy) {
            return derived;
        }
        let grant = Arc::new(Grant::derive_under(contract, &policy));
        // Of two that derive at once, the later one may bring the older policy; then the next call
        // derives again. What this call gets is never older than its question.
        *self.derived.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&grant);
        grant
    }
}

impl GrantSource for Version {
    fn current(&self) -> Arc<Grant> {
        self.rights.current(&self.contract)
    }
}

/// What came of a new policy.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyChange {
    /// The name of the policy now in force.
    pub name: String,
    /// The hash of the policy before.
    pub old_hash: String,
    /// The hash of the policy now in force.
    pub new_hash: String,
    /// The versions in service that could not be deployed under this policy. They go on; what it
    /// refuses them is refused call by call.
    pub refused: Vec<RefusedVersion>,
    /// What the new policy says and what holds only later: `layers` after a restart, `isolation` for
    /// versions that are deployed from now on.
    pub deferred: Vec<&'static str>,
}

/// A version in service that a new policy would not let in.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedVersion {
    /// The controller.
    pub controller: String,
    /// Its version.
    pub version: String,
    /// Everything that is refused.
    pub refusals: Vec<Failure>,
}

impl PolicyChange {
    /// The change from one policy to another, for these versions in service.
    pub(crate) fn between<'v>(
        old: &Policy,
        new: &Policy,
        versions: impl Iterator<Item = &'v Version>,
    ) -> Self {
        let refused = versions.filter_map(|version| {
            let refusals = version.current().refusals().to_vec();
            (!refusals.is_empty()).then(|| RefusedVersion {
                controller: version.contract.name.to_string(),
                version: version.contract.version.to_string(),
                refusals,
            })
        });
        let deferred = [
            ("layers", old.layers != new.layers),
            ("isolation", old.isolation != new.isolation),
        ];
        Self {
            name: new.name.clone(),
            old_hash: old.hash().to_owned(),
            new_hash: new.hash().to_owned(),
            refused: refused.collect(),
            deferred: deferred
                .into_iter()
                .filter_map(|(what, differs)| differs.then_some(what))
                .collect(),
        }
    }

    /// Whether the new policy says anything else than the old one.
    pub fn is_change(&self) -> bool {
        self.old_hash != self.new_hash
    }

    /// Tells the log. The audit record of a change is made of this value, too.
    pub(crate) fn log(&self) {
        if !self.is_change() {
            return;
        }
        tracing::info!(
            target: "magic::audit",
            policy = self.name,
            old_hash = self.old_hash,
            new_hash = self.new_hash,
            "policy"
        );
        for refused in &self.refused {
            for failure in &refused.refusals {
                tracing::warn!(
                    controller = refused.controller,
                    version = refused.version,
                    code = failure.code.as_str(),
                    failure = failure.message,
                    "in service, and refused by the new policy"
                );
            }
        }
        for what in &self.deferred {
            match *what {
                "layers" => {
                    tracing::warn!("the new policy's sandbox layers hold after a restart");
                }
                _ => tracing::warn!(
                    "the new policy's isolation holds for what is deployed from now on"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use magic_contract::{CapabilityKind, ErrorCode, Isolation};

    fn policy(rest: &str) -> Policy {
        let text = format!("name: a\nenvironment: development\n{rest}");
        Policy::parse(text.as_bytes(), "policy.yaml").expect("a valid policy")
    }

    fn version(policies: &Arc<PolicyCell>) -> Version {
        let contract = Contract::parse(
            b"name: A\nversion: 1.0.0\ninput: {}\noutput: {}\ncapabilities: [fs:temp, db:write]",
            "contract.yaml",
        )
        .expect("a valid contract");
        let grant = Grant::derive_under(&contract, &policies.current());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lease = crate::bundle::Lease::take(folder.path()).expect("it can be read");
        Version {
            meters: Arc::new(crate::meters::Meters::new(&contract)),
            contract,
            rights: Rights::new(Arc::clone(policies), grant),
            digest: String::new(),
            isolation: Isolation::Request,
            bundle: lease.expect("it is there"),
            packages: None,
            temporary_bytes: None,
        }
    }

    /// The next question after a change is answered by the new policy, and an answer that was given
    /// stays as it was.
    #[test]
    fn a_new_policy_reaches_every_version() {
        let open = "rules: [{ name: all, effect: allow, capabilities: [\"*\"] }]";
        let policies = Arc::new(PolicyCell::new(policy(open)));
        let version = version(&policies);
        let before = version.current();
        assert!(before.check(CapabilityKind::FsTemp).is_ok());
        assert!(Arc::ptr_eq(&before, &version.current()));

        let tight = "isolation: pristine\nlayers: { seccomp: off }\nrules: [{ name: one, effect: allow, capabilities: [\"db:write\"] }]";
        let new = Arc::new(policy(tight));
        let old = policies.replace(Arc::clone(&new));
        let refused = version.current().check(CapabilityKind::FsTemp).unwrap_err();
        assert_eq!(refused.code, ErrorCode::CapabilityDenied);
        assert!(version.current().check(CapabilityKind::DbWrite).is_ok());
        assert_eq!(version.current().policy_hash(), new.hash());
        assert!(before.check(CapabilityKind::FsTemp).is_ok());

        let change = PolicyChange::between(&old, &new, std::iter::once(&version));
        assert!(change.is_change());
        assert_eq!(change.deferred, ["layers", "isolation"]);
        assert_eq!(change.refused[0].refusals.len(), 2);

        // And back: nothing of the refusal lasts.
        let old = policies.replace(old);
        assert!(version.current().check(CapabilityKind::FsTemp).is_ok());
        let change = PolicyChange::between(&old, &policies.current(), std::iter::once(&version));
        assert!(change.refused.is_empty());
    }

    /// However many threads ask while policies change, each gets an answer of a policy that was in
    /// force during its question, and the last one holds in the end.
    #[test]
    fn changes_under_load_settle() {
        let texts = [
            "rules: []",
            "rules: [{ name: all, effect: allow, capabilities: [\"*\"] }]",
        ];
        let policies = Arc::new(PolicyCell::new(policy(texts[0])));
        let version = version(&policies);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let grant = version.current();
                        let allowed = grant.check(CapabilityKind::FsTemp).is_ok();
                        assert_eq!(allowed, !grant.policy().rules.is_empty());
                    }
                });
            }
            for round in 0..200 {
                policies.replace(Arc::new(policy(texts[round % 2])));
            }
        });
        assert!(Arc::ptr_eq(version.current().policy(), &policies.current()));
        assert!(version.current().check(CapabilityKind::FsTemp).is_ok());
    }
}
