//! Reads a contract section by section, noting every problem on the way.

use std::num::NonZeroU32;

use serde_json::Value;

use super::read_capability::read_capabilities;
use super::read_resources::read_resources;
use super::read_schema::read_schema;
use super::{Contract, Effects, Example, Isolation, Observability, Resources, Trigger};
use crate::capability::Capability;
use crate::diagnostic::Diagnostics;
use crate::document::{Kind, Member, Node, child};
use crate::error_code::ErrorCode;
use crate::name::{ControllerName, FieldName, MetricName, QueueName};
use crate::reader::{Reader, Spot, problem};
use crate::schema::Schema;
use crate::violation::{quote, shorten};

/// Every section, in the order of the documentation.
pub(super) const SECTIONS: &[&str] = &[
    "name",
    "version",
    "input",
    "output",
    "capabilities",
    "resources",
    "observability",
    "isolation",
    "effects",
    "concurrency",
    "examples",
    "triggers",
];

/// The sections that every contract has, with a line to type for each.
pub(super) const REQUIRED: &[(&str, &str)] = &[
    ("name", "name: InvoiceSync"),
    ("version", "version: 1.0.0"),
    (
        "input",
        "input: { type: object, properties: { message: { type: string } } }",
    ),
    ("output", "output: { type: object }"),
];

/// The most requests of one controller at the same time that a contract can ask for.
pub(super) const MOST_CONCURRENT: u32 = 1000;

pub(super) fn read(text: &[u8], file: &str) -> Result<Contract, Diagnostics> {
    let (mut reader, document) = Reader::open(text, file)?;
    let found = read_sections(&mut reader, &document);
    let warnings = reader.close()?;
    // Without a single error every section was read; the other case would be a bug of this reader,
    // and is answered with a refusal rather than a panic.
    let mut contract = found.ok_or_else(|| Diagnostics::new(file, ""))?;
    contract.warnings = warnings;
    Ok(contract)
}

fn read_sections(reader: &mut Reader<'_>, document: &Node) -> Option<Contract> {
    reader.members(document, "", "the contract", SECTIONS)?;
    for (section, example) in REQUIRED {
        let absent = document
            .member(section)
            .is_none_or(|member| member.node.kind == Kind::Null);
        if absent {
            let span = document
                .member(section)
                .map_or(document.span.clone(), |member| member.key_span.clone());
            let spot = Spot {
                path: child("", section),
                span,
            };
            let message = format!("the contract lacks the section `{section}`");
            reader.note(
                problem(ErrorCode::MissingSection, &spot, message)
                    .hinting(format!("add a line such as `{example}`")),
            );
        }
    }
    let section = |name: &str| present(document.member(name));
    // Each is read before any is demanded, so that all problems are found.
    let name = section("name").map(|member| read_name(reader, member));
    let version = section("version").map(|member| read_version(reader, member));
    let input = section("input").map(|member| read_schema(reader, &member.node, "/input", "input"));
    let output =
        section("output").map(|member| read_schema(reader, &member.node, "/output", "output"));
    let capabilities = section("capabilities").map_or(Some(Vec::new()), |member| {
        read_capabilities(reader, &member.node)
    });
    let resources = section("resources").map_or(Some(Resources::default()), |member| {
        read_resources(reader, &member.node)
    });
    let observability = section("observability").map_or(Some(Observability::default()), |member| {
        read_observability(reader, &member.node)
    });
    let isolation = section("isolation").map_or(Some(Isolation::default()), |member| {
        let words = [Isolation::Request, Isolation::Pristine].map(|one| (one.as_str(), one));
        reader.choice(
            &member.node,
            &spot("/isolation", member),
            "`isolation`",
            &words,
        )
    });
    let effects = section("effects").map_or(Some(Effects::default()), |member| {
        let words = [Effects::OnSuccess, Effects::Immediate].map(|one| (one.as_str(), one));
        reader.choice(&member.node, &spot("/effects", member), "`effects`", &words)
    });
    let concurrency = section("concurrency").map_or(Some(None), |member| {
        let spot = spot("/concurrency", member);
        reader
            .whole(&member.node, &spot, "`concurrency`", (1, MOST_CONCURRENT))
            .map(NonZeroU32::new)
    });
    let input = input.flatten();
    let output = output.flatten();
    let examples = section("examples").map_or(Some(Vec::new()), |member| {
        read_examples(reader, &member.node, input.as_ref(), output.as_ref())
    });
    let triggers = section("triggers").map_or(Some(Vec::new()), |member| {
        read_triggers(reader, &member.node)
    });
    if let (Some(triggers), Some(capabilities), Some(member)) =
        (&triggers, &capabilities, section("triggers"))
    {
        let key = Spot {
            path: "/triggers".to_owned(),
            span: member.key_span.clone(),
        };
        let subscribed = capabilities.iter().find_map(|one| match one {
            Capability::QueueSubscribe { queues } => Some(queues),
            _ => None,
        });
        match subscribed {
            None if triggers.is_empty() => {}
            None => {
                reader.refuse(
                    &key,
                    "a queue cannot start a controller that does not declare `queue:subscribe`",
                    "a capability such as `- queue:subscribe: { queues: [invoices] }`",
                );
            }
            Some(None) => {}
            Some(Some(listed)) => {
                for Trigger::Queue(queue) in triggers {
                    if !listed.contains(queue) {
                        reader.refuse(
                            &key,
                            format!("`{queue}` cannot start the controller: `queue:subscribe` does not list it"),
                            format!("`{queue}` among the queues of `queue:subscribe`"),
                        );
                    }
                }
            }
        }
    }
    let empty = Diagnostics::new("", "");
    Some(Contract {
        name: name??,
        version: version??,
        input: input?,
        output: output?,
        capabilities: capabilities?,
        resources: resources?,
        observability: observability?,
        isolation: isolation?,
        effects: effects?,
        concurrency: concurrency?,
        examples: examples?,
        triggers: triggers?,
        warnings: empty,
    })
}

/// A section that is there and not null. Absent and null mean the same everywhere.
fn present(member: Option<&Member>) -> Option<&Member> {
    member.filter(|member| member.node.kind != Kind::Null)
}

fn spot(path: &str, member: &Member) -> Spot {
    Spot {
        path: path.to_owned(),
        span: member.node.span.clone(),
    }
}

fn read_name(reader: &mut Reader<'_>, member: &Member) -> Option<ControllerName> {
    let spot = spot("/name", member);
    let text = reader.text(&member.node, &spot, "`name`", ControllerName::RULE)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("{} is not a controller name", quote(text));
            let mut noted =
                problem(ErrorCode::InvalidContract, &spot, message).expecting(ControllerName::RULE);
            noted.hint =
                ControllerName::suggestion(text).map(|name| format!("write `name: {name}`"));
            reader.note(noted);
            None
        }
    }
}

fn read_version(reader: &mut Reader<'_>, member: &Member) -> Option<semver::Version> {
    let accepted = "a semantic version: three whole numbers with dots between, such as 1.10.0";
    let spot = spot("/version", member);
    let written = reader.written(&member.node).to_owned();
    let text = match &member.node.kind {
        Kind::Text(text) => text.as_str(),
        Kind::Number(_) => {
            let message = format!(
                "`version` was read as the number {}, because {} without a third part is one",
                member.node.to_value(),
                shorten(&written)
            );
            let mut noted = problem(ErrorCode::InvalidContract, &spot, message).expecting(accepted);
            noted.hint =
                complete_version(&written).map(|version| format!("write `version: {version}`"));
            reader.note(noted);
            return None;
        }
        _ => {
            let message = format!(
                "`version` must be a semantic version, found {}",
                member.node.describe()
            );
            reader.refuse(&spot, message, accepted);
            return None;
        }
    };
    match semver::Version::parse(text) {
        Ok(version) if text.len() <= 64 => Ok(version),
        Ok(_) => Err("it has more than 64 characters".to_owned()),
        Err(error) => Err(error.to_string()),
    }
    .map_err(|reason| {
        let message = format!("{} is not a semantic version: {reason}", quote(text));
        let mut noted = problem(ErrorCode::InvalidContract, &spot, message).expecting(accepted);
        noted.hint = complete_version(text).map(|version| format!("write `version: {version}`"));
        reader.note(noted);
    })
    .ok()
}

/// Fills `1`, `1.10` or `v1.2.3` up to the version that was probably meant.
fn complete_version(text: &str) -> Option<semver::Version> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    [text.to_owned(), format!("{text}.0"), format!("{text}.0.0")]
        .iter()
        .find_map(|candidate| semver::Version::parse(candidate).ok())
}

fn read_observability(reader: &mut Reader<'_>, node: &Node) -> Option<Observability> {
    let members = reader.members(
        node,
        "/observability",
        "`observability`",
        &["log_fields", "metrics"],
    )?;
    let mut observability = Observability::default();
    let mut complete = true;
    for member in members
        .iter()
        .filter(|member| member.node.kind != Kind::Null)
    {
        let path = child("/observability", &member.key);
        // An empty list is fine here: it grants nothing either way.
        if matches!(&member.node.kind, Kind::List(items) if items.is_empty()) {
            continue;
        }
        match member.key.as_str() {
            "log_fields" => {
                let list = reader.list(
                    &member.node,
                    &path,
                    "`log_fields`",
                    FieldName::RULE,
                    |reader, node, spot| {
                        reader.parsed::<FieldName>(node, spot, FieldName::WHAT, FieldName::RULE)
                    },
                );
                complete &= list.map(|list| observability.log_fields = list).is_some();
            }
            "metrics" => {
                let list = reader.list(
                    &member.node,
                    &path,
                    "`metrics`",
                    MetricName::RULE,
                    |reader, node, spot| {
                        reader.parsed::<MetricName>(node, spot, MetricName::WHAT, MetricName::RULE)
                    },
                );
                complete &= list.map(|list| observability.metrics = list).is_some();
            }
            _ => complete = false,
        }
    }
    complete.then_some(observability)
}

fn read_examples(
    reader: &mut Reader<'_>,
    node: &Node,
    input: Option<&Schema>,
    output: Option<&Schema>,
) -> Option<Vec<Example>> {
    if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
        return Some(Vec::new());
    }
    reader.list(
        node,
        "/examples",
        "`examples`",
        "entries such as { input: {...}, output: {...} }",
        |reader, node, spot| {
            reader.members(node, &spot.path, "an example", &["input", "output"])?;
            let Some(sent) = node.member("input") else {
                reader.refuse(
                    spot,
                    "the example lacks `input`",
                    "an example such as { input: {...}, output: {...} }",
                );
                return None;
            };
            let sent_fits = fits(
                reader,
                &sent.node,
                &child(&spot.path, "input"),
                input,
                "input",
            );
            let expected = node.member("output");
            let expected_fits = expected.is_none_or(|member| {
                fits(
                    reader,
                    &member.node,
                    &child(&spot.path, "output"),
                    output,
                    "output",
                )
            });
            (sent_fits && expected_fits).then(|| Example {
                input: sent.node.to_value(),
                output: expected.map(|member| member.node.to_value()),
            })
        },
    )
}

/// Whether a value of an example is one that its schema admits; notes each violation at its place.
fn fits(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    schema: Option<&Schema>,
    which: &str,
) -> bool {
    // Without a schema the problem was noted where the schema should be.
    let Some(schema) = schema else { return true };
    let value: Value = node.to_value();
    let Err(violations) = schema.admit(value) else {
        return true;
    };
    for violation in violations {
        let spot = Spot {
            path: format!("{path}{}", violation.field),
            span: node.locate(&violation.field),
        };
        let message = format!(
            "the example breaks the {which} schema: received {}",
            violation.received
        );
        reader.refuse(&spot, message, violation.expected);
    }
    false
}

fn read_triggers(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Trigger>> {
    if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
        return Some(Vec::new());
    }
    reader.list(
        node,
        "/triggers",
        "`triggers`",
        "entries such as `- queue: invoices`",
        |reader, node, spot| {
            let members = reader.members(node, &spot.path, "a trigger", &["queue"])?;
            let Some(member) = members.iter().find(|member| member.key == "queue") else {
                reader.refuse(
                    spot,
                    "the trigger does not say what starts the controller",
                    "`queue: invoices`",
                );
                return None;
            };
            let spot = Spot {
                path: child(&spot.path, "queue"),
                span: member.node.span.clone(),
            };
            reader
                .parsed::<QueueName>(&member.node, &spot, QueueName::WHAT, QueueName::RULE)
                .map(Trigger::Queue)
        },
    )
}
