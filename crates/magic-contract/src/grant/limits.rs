//! What a contract asks for beyond the limits of the policy.
//!
//! All that is too much is found at once, and every refusal prints the same line of the policy, which
//! would raise all of it: an operator who agrees pastes once.

use crate::capability::{Capability, CapabilityKind};
use crate::contract::Contract;
use crate::policy::{Policy, PolicyLimits};
use crate::quantity::{format_bytes, format_cores, format_duration};

/// One amount that is too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excess {
    /// The place in the contract.
    pub(super) place: &'static str,
    pub(super) asked: String,
    pub(super) most: String,
    /// The capability that asks, if it is one.
    pub(super) capability: Option<CapabilityKind>,
}

/// What is too large, and the limits that would hold it.
pub(super) fn excesses(contract: &Contract, policy: &Policy) -> (Vec<Excess>, PolicyLimits) {
    let mut found = Vec::new();
    let mut raised = policy.limits;
    let asked = &contract.resources;
    compare(
        &mut found,
        None,
        "resources.cpu",
        asked.cpu_millicores,
        &mut raised.cpu_millicores,
        |one| format_cores(*one),
    );
    compare(
        &mut found,
        None,
        "resources.memory",
        asked.memory_bytes,
        &mut raised.memory_bytes,
        |one| format_bytes(*one),
    );
    compare(
        &mut found,
        None,
        "resources.timeout",
        asked.timeout,
        &mut raised.timeout,
        |one| format_duration(*one),
    );
    compare(
        &mut found,
        None,
        "resources.pids",
        asked.pids,
        &mut raised.pids,
        u32::to_string,
    );
    if let Some(concurrency) = contract.concurrency {
        compare(
            &mut found,
            None,
            "concurrency",
            concurrency.get(),
            &mut raised.concurrency,
            u32::to_string,
        );
    }
    for capability in &contract.capabilities {
        let kind = Some(capability.kind());
        match capability {
            Capability::DbWrite {
                max_rows: Some(rows),
                ..
            } => {
                compare(
                    &mut found,
                    kind,
                    "db:write.rows",
                    rows.get(),
                    &mut raised.rows,
                    u32::to_string,
                );
            }
            Capability::FsTemp { size: Some(bytes) } => {
                compare(
                    &mut found,
                    kind,
                    "fs:temp.temp",
                    *bytes,
                    &mut raised.temp_bytes,
                    |one| format_bytes(*one),
                );
            }
            _ => {}
        }
    }
    (found, raised)
}

fn compare<T: PartialOrd + Copy>(
    found: &mut Vec<Excess>,
    capability: Option<CapabilityKind>,
    place: &'static str,
    asked: T,
    most: &mut T,
    show: fn(&T) -> String,
) {
    if asked > *most {
        found.push(Excess {
            place,
            asked: show(&asked),
            most: show(most),
            capability,
        });
        *most = asked;
    }
}
