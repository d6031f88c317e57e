//! One version of one controller: what every template and worker of it shares.

use crate::bundle::Lease;
use crate::capture::Source;
use crate::confinement::Shown;
use crate::meters::Meters;
use crate::packages::Packages;
use crate::policies::Rights;
use magic_contract::{Capability, CapabilityKind, Contract, Grant, Isolation};
use magic_sandbox::Limits;
use std::sync::Arc;

/// Immutable once made, but for its rights, which follow the policy.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) contract: Contract,
    /// What contract and policy both allow; ask for it by
    /// [`GrantSource`](magic_broker::GrantSource).
    pub(crate) rights: Rights,
    pub(crate) digest: String,
    /// The stronger of what the contract wishes and what the policy demands.
    pub(crate) isolation: Isolation,
    /// The kept bundle on the host, which stays there as long as this lives.
    pub(crate) bundle: Lease,
    /// The kept packages on the host, if it has any, which stay as well.
    pub(crate) packages: Option<Packages>,
    /// The size of the temporary directory that a request gets, if it gets one.
    pub(crate) temporary_bytes: Option<u64>,
    /// What it counts.
    pub(crate) meters: Arc<Meters>,
}

/// The size of a temporary directory whose contract names none.
const TEMPORARY_BYTES: u64 = 16 << 20;

/// The size of the temporary directory that the grant gives, in bytes.
pub(crate) fn temporary_bytes(grant: &Grant, most: u64) -> Option<u64> {
    let allowance = grant.check(CapabilityKind::FsTemp).ok()?;
    match allowance.capability() {
        Capability::FsTemp { size } => Some(size.unwrap_or(TEMPORARY_BYTES).min(most)),
        _ => None,
    }
}

/// The rows that one request may change, all of its calls together: what the contract declares, within
/// what the policy lets any request change.
pub(crate) fn rows(grant: &Grant, most: u32) -> u64 {
    let declared = grant
        .check(CapabilityKind::DbWrite)
        .ok()
        .and_then(|allowance| match allowance.capability() {
            Capability::DbWrite { max_rows, .. } => *max_rows,
            _ => None,
        });
    u64::from(declared.map_or(most, |rows| rows.get().min(most)))
}

impl Version {
    /// Whether the other one runs the same code.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.digest == other.digest && self.packages_digest() == other.packages_digest()
    }

    /// The name of its packages, which is made of their content.
    pub(crate) fn packages_digest(&self) -> Option<String> {
        Some(self.packages.as_ref()?.name().to_owned())
    }

    /// What its interpreters see of it.
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown {
            bundle: self.bundle.path(),
            packages: self.packages.as_ref().map(Packages::files),
        }
    }

    /// The source that log lines of this version carry.
    pub(crate) fn source(&self) -> Source {
        Source {
            controller: self.contract.name.to_string(),
            version: self.contract.version.to_string(),
            request_id: None,
        }
    }

    /// The contract's limits for a worker's control group.
    pub(crate) fn worker_limits(&self) -> Limits {
        let resources = &self.contract.resources;
        Limits {
            memory_bytes: Some(resources.memory_bytes),
            cpu_millicores: Some(resources.cpu_millicores),
            pids: Some(resources.pids),
        }
    }
}
