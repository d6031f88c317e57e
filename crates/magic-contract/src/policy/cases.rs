//! Tests of a policy, written in YAML by the people who write the policy.
//!
//! A case says what a contract asks for and what must come of it. Contracts can be cut down to what
//! matters for the case; what is missing is filled in.

use serde_json::{Value, json};

use super::{Effect, Explanation, Policy};
use crate::capability::CapabilityKind;
use crate::contract::Contract;
use crate::diagnostic::Diagnostics;
use crate::document::{Kind, Node, child, item};
use crate::grant::NamedTarget;
use crate::reader::{Reader, Spot};

const CASE_KEYS: &[&str] = &[
    "name",
    "controller",
    "contract",
    "capability",
    "target",
    "expect",
    "rule",
];

/// A file of cases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyCases {
    /// The policy that they are about, if the file says so: `development`, `production` or a file.
    pub policy: Option<String>,
    /// The cases.
    pub cases: Vec<PolicyCase>,
}

/// Whose contract a case is about.
#[derive(Debug, Clone)]
pub enum CaseSubject {
    /// A controller, by its name or its path. Finding it is not this crate's work.
    Controller(String),
    /// A contract in the case itself.
    Contract(Box<Contract>),
}

/// One case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyCase {
    /// What it is called.
    pub name: String,
    /// Where it begins in its file.
    pub line: usize,
    /// Whose contract it is about.
    pub subject: CaseSubject,
    /// The capability.
    pub capability: CapabilityKind,
    /// The target, if one is asked about.
    pub target: Option<NamedTarget>,
    /// What must come of it.
    pub expect: Effect,
    /// The rule that must have decided, if that matters.
    pub rule: Option<String>,
}

/// How a case went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CaseOutcome {
    /// What is wrong; nothing if it went as expected.
    pub problem: Option<String>,
    /// What the policy says, and why.
    pub explanation: Explanation,
}

impl PolicyCases {
    /// Reads cases written in YAML or JSON.
    ///
    /// # Errors
    /// All problems of the file at once.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, Diagnostics> {
        let (mut reader, document) = Reader::open(text, file)?;
        let found = read(&mut reader, &document, file);
        reader.close()?;
        found.ok_or_else(|| Diagnostics::new(file, ""))
    }
}

impl PolicyCase {
    /// Judges the case under a policy.
    #[must_use]
    pub fn run(&self, policy: &Policy, contract: &Contract) -> CaseOutcome {
        let explanation = policy.explain(contract, self.capability, self.target.as_ref());
        let came = match explanation.is_allowed() {
            true => Effect::Allow,
            false => Effect::Deny,
        };
        let decided = explanation
            .rule
            .as_ref()
            .filter(|_| explanation.refused_by_contract.is_none())
            .map(|rule| rule.name.as_str());
        let problem = if came != self.expect {
            let said = explanation.refusal().map(|failure| format!(": {failure}"));
            Some(format!(
                "expected {}, came out as {}{}",
                self.expect.as_str(),
                came.as_str(),
                said.unwrap_or_default()
            ))
        } else if self.rule.is_some() && self.rule.as_deref() != decided {
            Some(format!(
                "expected rule {} to decide, but {} did",
                self.rule.as_deref().unwrap_or_default(),
                decided.unwrap_or("no rule")
            ))
        } else {
            None
        };
        CaseOutcome {
            problem,
            explanation,
        }
    }
}

fn read(reader: &mut Reader<'_>, document: &Node, file: &str) -> Option<PolicyCases> {
    reader.members(document, "", "a file of cases", &["policy", "cases"])?;
    let policy = document.member("policy").map_or(Some(None), |member| {
        let spot = spot_of("", "policy", &member.node);
        let accepted = "`development`, `production` or the path of a policy";
        let text = reader.text(&member.node, &spot, "`policy`", accepted)?;
        Some(Some(text.to_owned()))
    });
    let Some(cases) = document.member("cases") else {
        let spot = Spot {
            path: "/cases".to_owned(),
            span: document.span.clone(),
        };
        reader.refuse(&spot, "the file lacks `cases`", "a list of cases");
        return None;
    };
    let items = reader.items(&cases.node, "/cases", "`cases`", "a list of cases")?;
    let mut read = Vec::with_capacity(items.len());
    let mut complete = true;
    for (index, node) in items.iter().enumerate() {
        match read_case(reader, node, &item("/cases", index), file) {
            Some(case) => read.push(case),
            None => complete = false,
        }
    }
    complete.then_some(PolicyCases {
        policy: policy?,
        cases: read,
    })
}

fn read_case(reader: &mut Reader<'_>, node: &Node, path: &str, file: &str) -> Option<PolicyCase> {
    let members = reader.members(node, path, "a case", CASE_KEYS)?;
    let known = members
        .iter()
        .all(|member| CASE_KEYS.contains(&member.key.as_str()));
    let here = Spot {
        path: path.to_owned(),
        span: node.span.clone(),
    };
    let line = reader.line_of(node.span.start);
    let mut text = |key: &str, required: bool| -> Option<Option<String>> {
        let Some(member) = node.member(key) else {
            if required {
                reader.refuse(&here, format!("the case lacks `{key}`"), example());
            }
            return (!required).then_some(None);
        };
        let spot = spot_of(path, key, &member.node);
        let text = reader.text(&member.node, &spot, &format!("`{key}`"), "a string")?;
        Some(Some(text.to_owned()))
    };
    let name = text("name", true);
    let controller = text("controller", false);
    let rule = text("rule", false);
    let target_text = text("target", false);
    text("capability", true)?;
    text("expect", true)?;
    let capability = node.member("capability").and_then(|member| {
        let words: Vec<_> = CapabilityKind::ALL
            .iter()
            .map(|one| (one.as_str(), *one))
            .collect();
        let spot = spot_of(path, "capability", &member.node);
        reader.choice(&member.node, &spot, "`capability`", &words)
    })?;
    let expect = node.member("expect").and_then(|member| {
        let words = [Effect::Allow, Effect::Deny].map(|one| (one.as_str(), one));
        reader.choice(
            &member.node,
            &spot_of(path, "expect", &member.node),
            "`expect`",
            &words,
        )
    });
    let target = match target_text? {
        None => None,
        Some(text) => match NamedTarget::parse(capability, &text) {
            Ok(target) => Some(target),
            Err(problem) => {
                let spot = Spot {
                    path: child(path, "target"),
                    span: node.locate("/target"),
                };
                reader.refuse(&spot, problem.to_string(), "one target of the capability");
                return None;
            }
        },
    };
    let subject = match (controller?, node.member("contract")) {
        (Some(controller), None) => CaseSubject::Controller(controller),
        (None, Some(member)) => {
            let spot = spot_of(path, "contract", &member.node);
            CaseSubject::Contract(Box::new(read_contract(reader, &member.node, &spot, file)?))
        }
        _ => {
            reader.refuse(
                &here,
                "a case is about either `controller` or `contract`",
                example(),
            );
            return None;
        }
    };
    known.then_some(())?;
    Some(PolicyCase {
        name: name??,
        line,
        subject,
        capability,
        target,
        expect: expect?,
        rule: rule?,
    })
}

fn example() -> &'static str {
    "a case such as { name: tables, contract: { capabilities: [\"db:read\"] }, capability: \"db:read\", target: customers, expect: allow }"
}

fn spot_of(path: &str, key: &str, node: &Node) -> Spot {
    Spot {
        path: child(path, key),
        span: node.span.clone(),
    }
}

/// A contract of which only what matters is written.
fn read_contract(
    reader: &mut Reader<'_>,
    node: &Node,
    spot: &Spot,
    file: &str,
) -> Option<Contract> {
    let (Kind::Object(_), Value::Object(mut members)) = (&node.kind, node.to_value()) else {
        let message = format!("`contract` must be an object, found {}", node.describe());
        reader.refuse(
            spot,
            message,
            "the sections of a contract that matter for the case",
        );
        return None;
    };
    for (key, usual) in [
        ("name", json!("Example")),
        ("version", json!("1.0.0")),
        ("input", json!({})),
        ("output", json!({})),
    ] {
        members.entry(key).or_insert(usual);
    }
    let text = Value::Object(members).to_string();
    match Contract::parse(text.as_bytes(), file) {
        Ok(contract) => Some(contract),
        Err(problems) => {
            for problem in &problems {
                let place = node.locate(&problem.path);
                let spot = Spot {
                    path: format!("{}{}", spot.path, problem.path),
                    span: place,
                };
                let expected = problem
                    .expected
                    .clone()
                    .unwrap_or_else(|| "a valid contract".to_owned());
                reader.refuse(&spot, problem.message.clone(), expected);
            }
            None
        }
    }
}
