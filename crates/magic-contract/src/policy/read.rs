//! Reads a policy file.

use super::read_rule::read_rule;
use super::{
    AddressClass, AddressRange, Environment, Layers, Policy, PolicyLimits, Requirement,
    SandboxLayer,
};
use crate::contract::{Isolation, Resources};
use crate::diagnostic::Diagnostics;
use crate::document::{Kind, Member, Node, child, item};
use crate::error_code::ErrorCode;
use crate::quantity::{
    format_bytes, format_cores, format_duration, parse_bytes, parse_cores, parse_duration,
};
use crate::reader::{Reader, Spot, problem};

const SECTIONS: &[&str] = &[
    "name",
    "environment",
    "isolation",
    "limits",
    "layers",
    "network",
    "rules",
];

pub(super) fn read(text: &[u8], file: &str) -> Result<Policy, Diagnostics> {
    let (mut reader, document) = Reader::open(text, file)?;
    let found = read_sections(&mut reader, &document, file);
    reader.close()?;
    found.ok_or_else(|| Diagnostics::new(file, ""))
}

fn read_sections(reader: &mut Reader<'_>, document: &Node, file: &str) -> Option<Policy> {
    reader.members(document, "", "the policy", SECTIONS)?;
    for (section, example) in [
        ("name", "name: production"),
        ("environment", "environment: production"),
        ("rules", "rules: []"),
    ] {
        if section_of(document, section).is_none() {
            let spot = Spot {
                path: child("", section),
                span: document.span.clone(),
            };
            let message = format!("the policy lacks the section `{section}`");
            reader.note(
                problem(ErrorCode::MissingSection, &spot, message)
                    .hinting(format!("add a line such as `{example}`")),
            );
        }
    }
    let name = section_of(document, "name").map(|member| {
        let spot = spot("/name", member);
        reader
            .text(&member.node, &spot, "`name`", "a name such as `production`")
            .map(str::to_owned)
    });
    let environment = section_of(document, "environment").map(|member| {
        let words =
            [Environment::Development, Environment::Production].map(|one| (one.as_str(), one));
        reader.choice(
            &member.node,
            &spot("/environment", member),
            "`environment`",
            &words,
        )
    });
    let isolation = section_of(document, "isolation").map_or(Some(Isolation::Request), |member| {
        let words = [Isolation::Request, Isolation::Pristine].map(|one| (one.as_str(), one));
        reader.choice(
            &member.node,
            &spot("/isolation", member),
            "`isolation`",
            &words,
        )
    });
    let limits = section_of(document, "limits").map_or(Some(PolicyLimits::default()), |member| {
        read_limits(reader, &member.node)
    });
    let layers = section_of(document, "layers").map_or(Some(Layers::default()), |member| {
        read_layers(reader, &member.node)
    });
    let network = section_of(document, "network")
        .map_or(Some((Vec::new(), Vec::new())), |member| {
            read_network(reader, &member.node)
        });
    let rules = section_of(document, "rules").and_then(|member| read_rules(reader, &member.node));
    let (address_classes, address_ranges) = network?;
    Some(Policy {
        name: name??,
        file: file.to_owned(),
        environment: environment??,
        isolation: isolation?,
        layers: layers?,
        limits: limits?,
        address_classes,
        address_ranges,
        rules: rules?,
        hash: String::new(),
    })
}

fn section_of<'n>(document: &'n Node, name: &str) -> Option<&'n Member> {
    document
        .member(name)
        .filter(|member| member.node.kind != Kind::Null)
}

fn spot(path: &str, member: &Member) -> Spot {
    Spot {
        path: path.to_owned(),
        span: member.node.span.clone(),
    }
}

impl Default for PolicyLimits {
    /// As much as a contract can ask for at all, but for the sizes that contracts do not bound.
    fn default() -> Self {
        Self {
            cpu_millicores: Resources::CPU_RANGE.1,
            memory_bytes: Resources::MEMORY_RANGE.1,
            timeout: Resources::TIMEOUT_RANGE.1,
            pids: Resources::PIDS_RANGE.1,
            concurrency: 64,
            temp_bytes: 64 << 20,
            rows: 10_000,
        }
    }
}

fn read_limits(reader: &mut Reader<'_>, node: &Node) -> Option<PolicyLimits> {
    let known = [
        "cpu",
        "memory",
        "timeout",
        "pids",
        "concurrency",
        "temp",
        "rows",
    ];
    let members = reader.members(node, "/limits", "`limits`", &known)?;
    let mut limits = PolicyLimits::default();
    let mut complete = true;
    for member in members {
        let node = &member.node;
        let spot = spot(&child("/limits", &member.key), member);
        let cores = (Resources::CPU_RANGE, format_cores as fn(u32) -> String);
        let bytes = (
            (4096, Resources::MEMORY_RANGE.1),
            format_bytes as fn(u64) -> String,
        );
        let time = (
            Resources::TIMEOUT_RANGE,
            format_duration as fn(std::time::Duration) -> String,
        );
        let read = match member.key.as_str() {
            "cpu" => reader
                .amount(
                    node,
                    &spot,
                    "`cpu`",
                    cores,
                    parse_cores,
                    "a number of cores such as 0.5",
                )
                .map(|value| limits.cpu_millicores = value),
            "memory" => reader
                .amount(
                    node,
                    &spot,
                    "`memory`",
                    bytes,
                    parse_bytes,
                    "a size such as 256Mi",
                )
                .map(|value| limits.memory_bytes = value),
            "timeout" => reader
                .amount(
                    node,
                    &spot,
                    "`timeout`",
                    time,
                    parse_duration,
                    "a time such as 30s",
                )
                .map(|value| limits.timeout = value),
            "temp" => reader
                .amount(
                    node,
                    &spot,
                    "`temp`",
                    bytes,
                    parse_bytes,
                    "a size such as 16Mi",
                )
                .map(|value| limits.temp_bytes = value),
            "pids" => reader
                .whole(node, &spot, "`pids`", Resources::PIDS_RANGE)
                .map(|value| limits.pids = value),
            "concurrency" => reader
                .whole(node, &spot, "`concurrency`", (1, 1000))
                .map(|value| limits.concurrency = value),
            "rows" => reader
                .whole(node, &spot, "`rows`", (1, 1_000_000))
                .map(|value| limits.rows = value),
            _ => None,
        };
        complete &= read.is_some();
    }
    complete.then_some(limits)
}

fn read_layers(reader: &mut Reader<'_>, node: &Node) -> Option<Layers> {
    let known: Vec<&str> = SandboxLayer::ALL
        .iter()
        .map(|layer| layer.as_str())
        .collect();
    let words: Vec<_> = Requirement::ALL
        .iter()
        .map(|one| (one.as_str(), *one))
        .collect();
    let members = reader.members(node, "/layers", "`layers`", &known)?;
    let mut layers = Layers::default();
    let mut complete = true;
    for member in members {
        let layer = SandboxLayer::ALL
            .iter()
            .find(|layer| layer.as_str() == member.key);
        let spot = spot(&child("/layers", &member.key), member);
        let requirement = reader.choice(&member.node, &spot, "a layer", &words);
        match (layer, requirement) {
            (Some(layer), Some(requirement)) => layers.set(*layer, requirement),
            _ => complete = false,
        }
    }
    complete.then_some(layers)
}

fn read_network(
    reader: &mut Reader<'_>,
    node: &Node,
) -> Option<(Vec<AddressClass>, Vec<AddressRange>)> {
    let members = reader.members(node, "/network", "`network`", &["classes", "ranges"])?;
    let words: Vec<_> = AddressClass::ALL
        .iter()
        .map(|class| (class.as_str(), *class))
        .collect();
    let mut classes = Some(Vec::new());
    let mut ranges = Some(Vec::new());
    for member in members {
        // Here an empty list says what it means: nothing beside the public internet.
        if matches!(&member.node.kind, Kind::List(items) if items.is_empty()) {
            continue;
        }
        let path = child("/network", &member.key);
        match member.key.as_str() {
            "classes" => {
                classes = reader.list(
                    &member.node,
                    &path,
                    "`classes`",
                    "`loopback` and `private`",
                    |reader, node, spot| reader.choice(node, spot, "an address class", &words),
                );
            }
            _ => {
                let accepted = "ranges such as 10.1.0.0/16, with no bits set behind the prefix";
                ranges = reader.list(
                    &member.node,
                    &path,
                    "`ranges`",
                    accepted,
                    |reader, node, spot| {
                        reader.parsed::<AddressRange>(node, spot, "address range", accepted)
                    },
                );
            }
        }
    }
    Some((classes?, ranges?))
}

fn read_rules(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<super::Rule>> {
    let Kind::List(items) = &node.kind else {
        let spot = Spot {
            path: "/rules".to_owned(),
            span: node.span.clone(),
        };
        reader.refuse(
            &spot,
            format!("`rules` must be a list, found {}", node.describe()),
            "a list of rules; `[]` denies everything",
        );
        return None;
    };
    let mut rules: Vec<super::Rule> = Vec::with_capacity(items.len());
    let mut complete = true;
    for (index, node) in items.iter().enumerate() {
        let path = item("/rules", index);
        match read_rule(reader, node, &path) {
            Some(rule) if rules.iter().any(|other| other.name == rule.name) => {
                let spot = Spot {
                    path: child(&path, "name"),
                    span: node.locate("/name"),
                };
                reader.refuse(
                    &spot,
                    format!("there is another rule `{}`", rule.name),
                    "a name of its own for each rule",
                );
                complete = false;
            }
            Some(rule) => rules.push(rule),
            None => complete = false,
        }
    }
    complete.then_some(rules)
}
