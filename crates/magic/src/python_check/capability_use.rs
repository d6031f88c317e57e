//! Whether the program uses what it declared, and declared what it uses.

use std::collections::BTreeSet;

use magic_contract::{Capability, CapabilityKind, Contract, ErrorCode};

use super::{File, Use};
use crate::finding::{Finding, Place};

/// What all files together use.
#[derive(Debug, Default)]
pub(super) struct Used {
    kinds: BTreeSet<&'static str>,
    /// Clients that were handed on whole.
    clients: BTreeSet<String>,
}

pub(super) fn check_uses(
    uses: &[Use],
    contract: &Contract,
    file: File<'_>,
    used: &mut Used,
    findings: &mut Vec<Finding>,
) {
    for one in uses {
        let shown = match &one.method {
            Some(method) => format!("{}.{method}", one.client),
            None => one.client.clone(),
        };
        let kinds = kinds_of(&one.client);
        // Metrics need no capability.
        if kinds.is_empty() {
            continue;
        }
        let Some(method) = &one.method else {
            used.clients.insert(one.client.clone());
            if !kinds
                .iter()
                .any(|kind| contract.capability(*kind).is_some())
            {
                findings.push(undeclared(file, one.place, &shown, kinds[0]));
            }
            continue;
        };
        let Some(kind) = kind_of(&one.client, method) else {
            findings.push(
                file.error(
                    ErrorCode::DoesNotLoad,
                    one.place,
                    format!("there is no {shown}"),
                )
                .expecting(format!(
                    "{} has {}",
                    one.client,
                    methods_of(&one.client).join(", ")
                )),
            );
            continue;
        };
        if contract.capability(kind).is_none() {
            findings.push(undeclared(file, one.place, &shown, kind));
        }
        used.kinds.insert(kind.as_str());
    }
}

fn undeclared(file: File<'_>, place: Place, shown: &str, kind: CapabilityKind) -> Finding {
    file.error(
        ErrorCode::CapabilityUndeclared,
        place,
        format!(
            "{shown} needs the capability {}, which the contract does not declare",
            kind.as_str()
        ),
    )
    .hinting(format!(
        "add to the contract under capabilities: {}",
        kind.example_line()
    ))
}

pub(super) fn unused(contract: &Contract, used: &Used, program: File<'_>) -> Vec<Finding> {
    contract
        .capabilities
        .iter()
        .map(Capability::kind)
        .filter(|kind| {
            let client = client_of(*kind);
            // The runtime itself receives what starts the controller.
            let triggers = *kind == CapabilityKind::QueueSubscribe && !contract.triggers.is_empty();
            !triggers && !used.kinds.contains(kind.as_str()) && !used.clients.contains(client)
        })
        .map(|kind| {
            program
                .warning(
                    ErrorCode::CapabilityUndeclared,
                    Place {
                        line: 1,
                        column: 1,
                        width: 1,
                    },
                    format!(
                        "the contract declares {}, which the program does not use",
                        kind.as_str()
                    ),
                )
                .hinting("remove it from the contract: what is not declared cannot be misused")
        })
        .collect()
}

/// Every method of every client, and the capability that it takes.
const METHODS: &[(&str, &str, CapabilityKind)] = &[
    ("db", "query", CapabilityKind::DbRead),
    ("db", "query_one", CapabilityKind::DbRead),
    ("db", "count", CapabilityKind::DbRead),
    ("db", "insert", CapabilityKind::DbWrite),
    ("db", "update", CapabilityKind::DbWrite),
    ("db", "delete", CapabilityKind::DbWrite),
    ("db", "raw", CapabilityKind::DbRawsql),
    ("http", "get", CapabilityKind::HttpEgress),
    ("http", "post", CapabilityKind::HttpEgress),
    ("http", "put", CapabilityKind::HttpEgress),
    ("http", "patch", CapabilityKind::HttpEgress),
    ("http", "delete", CapabilityKind::HttpEgress),
    ("http", "head", CapabilityKind::HttpEgress),
    ("http", "options", CapabilityKind::HttpEgress),
    ("http", "request", CapabilityKind::HttpEgress),
    ("secrets", "get", CapabilityKind::SecretsRead),
    ("cache", "get", CapabilityKind::CacheRead),
    ("cache", "set", CapabilityKind::CacheWrite),
    ("cache", "delete", CapabilityKind::CacheWrite),
    ("queue", "publish", CapabilityKind::QueuePublish),
    ("queue", "receive", CapabilityKind::QueueSubscribe),
    ("queue", "ack", CapabilityKind::QueueSubscribe),
    ("fs", "temp", CapabilityKind::FsTemp),
];

fn kind_of(client: &str, method: &str) -> Option<CapabilityKind> {
    METHODS
        .iter()
        .find(|(of, name, _)| *of == client && *name == method)
        .map(|(_, _, kind)| *kind)
}

fn kinds_of(client: &str) -> Vec<CapabilityKind> {
    METHODS
        .iter()
        .filter(|(of, _, _)| *of == client)
        .map(|(_, _, kind)| *kind)
        .collect()
}

fn methods_of(client: &str) -> Vec<&'static str> {
    METHODS
        .iter()
        .filter(|(of, _, _)| *of == client)
        .map(|(_, method, _)| *method)
        .collect()
}

fn client_of(kind: CapabilityKind) -> &'static str {
    METHODS
        .iter()
        .find(|(_, _, of)| *of == kind)
        .map_or("", |(client, _, _)| client)
}
