//! One version of one controller: what every template and worker of it shares.

use crate::capture::Source;
use magic_contract::{Contract, Grant, Isolation};
use magic_sandbox::Limits;
use std::path::PathBuf;

/// Immutable once made.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) contract: Contract,
    /// What contract and policy both allow.
    pub(crate) grant: Grant,
    pub(crate) digest: String,
    /// The stronger of what the contract wishes and what the policy demands.
    pub(crate) isolation: Isolation,
    /// The kept bundle on the host.
    pub(crate) folder: PathBuf,
}

impl Version {
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
