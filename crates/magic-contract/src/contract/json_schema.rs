//! The grammar of contracts as a JSON Schema, for editors.
//!
//! Made from the tables that the reader goes by. It is the weaker of the two: what it refuses the reader refuses, and the reader
//! refuses more (units and ranges of amounts, hosts, schemas that are not safe), with better words. The tests hold both against the
//! same documents.

use serde_json::{Map, Value, json};

use super::read::{MOST_CONCURRENT, REQUIRED, SECTIONS};
use super::read_capability::{MOST_ROWS, option_keys, required_list};
use super::{Contract, Effects, Isolation, Resources};
use crate::capability::{CapabilityKind, HttpMethod};
use crate::name::{ControllerName, FieldName, MetricName};

/// Where the names of draft-07 are explained.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

impl Contract {
    /// A JSON Schema (draft-07) that every contract satisfies, for editors that check and complete while somebody types.
    #[must_use]
    pub fn json_schema() -> Value {
        let properties: Map<String, Value> = SECTIONS
            .iter()
            .map(|name| ((*name).to_owned(), section(name)))
            .collect();
        let required: Vec<&str> = REQUIRED.iter().map(|(name, _)| *name).collect();
        json!({
            "$schema": DIALECT,
            "title": "The contract of a controller",
            "type": "object",
            "required": required,
            "additionalProperties": false,
            "properties": properties,
        })
    }
}

fn section(name: &str) -> Value {
    match name {
        "name" => json!({
            "description": ControllerName::RULE,
            "type": "string", "pattern": "^[A-Z][A-Za-z0-9]{0,63}$",
        }),
        "version" => json!({
            "description": "A semantic version, such as 1.2.0",
            "type": "string", "maxLength": 64, "pattern": r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+].*)?$",
        }),
        "input" => json!({
            "description": "JSON Schema of the request; draft-07 unless `$schema` says 2020-12",
            "type": ["object", "boolean"],
        }),
        "output" => json!({
            "description": "JSON Schema of the answer",
            "type": ["object", "boolean"],
        }),
        "capabilities" => json!({
            "description": "What the program may reach; nothing that no line allows",
            "type": ["array", "object", "null"],
            "maxProperties": 0,
            "items": { "oneOf": CapabilityKind::ALL.iter().flat_map(|kind| capability(*kind)).collect::<Vec<_>>() },
        }),
        "resources" => resources(),
        "observability" => json!({
            "description": "What the controller reports under names of its own",
            "type": ["object", "null"], "additionalProperties": false,
            "properties": {
                "log_fields": names(FieldName::RULE),
                "metrics": names(MetricName::RULE),
            },
        }),
        "isolation" => words(
            "Whether the interpreter that imported the code is shared by requests",
            &[Isolation::Request.as_str(), Isolation::Pristine.as_str()],
        ),
        "effects" => words(
            "Whether effects wait for the answer",
            &[Effects::OnSuccess.as_str(), Effects::Immediate.as_str()],
        ),
        "concurrency" => json!({
            "description": "The most requests at the same time",
            "type": ["integer", "null"], "minimum": 1, "maximum": MOST_CONCURRENT,
        }),
        "examples" => json!({
            "description": "Requests that are run at every deploy, with their answers",
            "type": ["array", "null"],
            "items": {
                "type": "object", "required": ["input"], "additionalProperties": false,
                "properties": { "input": true, "output": true },
            },
        }),
        "triggers" => json!({
            "description": "What else than a request starts the controller",
            "type": ["array", "null"],
            "items": {
                "type": "object", "required": ["queue"], "additionalProperties": false,
                "properties": { "queue": { "type": "string" } },
            },
        }),
        // A section that is new to this file is let through until it is described; a test names it.
        _ => json!(true),
    }
}

/// How one capability is written: by its name alone, and with options if it has any.
fn capability(kind: CapabilityKind) -> Vec<Value> {
    let mut forms = vec![json!({ "const": kind.as_str() })];
    let keys = option_keys(kind);
    if !keys.is_empty() {
        let properties: Map<String, Value> = keys
            .iter()
            .map(|key| ((*key).to_owned(), option(key)))
            .collect();
        let mut options = json!({
            "type": "object", "additionalProperties": false, "properties": properties,
        });
        if let Some(list) = required_list(kind) {
            options["required"] = json!([list]);
        }
        forms.push(json!({
            "description": kind.example_line(),
            "type": "object", "required": [kind.as_str()], "additionalProperties": false,
            "properties": { kind.as_str(): options },
        }));
    }
    forms
}

fn option(key: &str) -> Value {
    match key {
        "max_rows" => json!({ "type": "integer", "minimum": 1, "maximum": MOST_ROWS }),
        "size" => json!({ "type": ["string", "integer"] }),
        "methods" => {
            let methods: Vec<&str> = HttpMethod::ALL.iter().map(|one| one.as_str()).collect();
            json!({ "type": "array", "minItems": 1, "items": { "enum": methods } })
        }
        _ => json!({ "type": "array", "minItems": 1, "items": { "type": "string" } }),
    }
}

fn resources() -> Value {
    let (fewest, most) = Resources::PIDS_RANGE;
    json!({
        "description": "What one request may use",
        "type": ["object", "null"], "additionalProperties": false,
        "properties": {
            "cpu": { "description": "Cores, such as 0.5", "type": ["number", "string", "null"] },
            "memory": { "description": "A size, such as 256Mi", "type": ["string", "integer", "null"] },
            "timeout": { "description": "A time, such as 30s", "type": ["string", "null"] },
            "pids": {
                "description": "Processes and threads",
                "type": ["integer", "null"], "minimum": fewest, "maximum": most,
            },
        },
    })
}

fn names(rule: &str) -> Value {
    json!({ "description": rule, "type": ["array", "null"], "items": { "type": "string" } })
}

fn words(description: &str, words: &[&str]) -> Value {
    let mut accepted: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    accepted.push(Value::Null);
    json!({ "description": description, "enum": accepted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    /// A contract that the reader accepts with this section put into it, or not.
    fn with(section: &str, text: &str) -> String {
        let mut lines = vec![
            ("name", "InvoiceSync"),
            ("version", "1.2.0"),
            ("input", "{}"),
            ("output", "{}"),
        ];
        lines.retain(|(name, _)| *name != section);
        lines.push((section, text));
        lines
            .iter()
            .map(|(name, text)| format!("{name}: {text}\n"))
            .collect()
    }

    fn is_read(text: &str) -> bool {
        Contract::parse(text.as_bytes(), "contract.yaml").is_ok()
    }

    fn fits(text: &str) -> bool {
        let schema = Schema::check(&Contract::json_schema()).expect("a schema of our own");
        let node = crate::yaml::parse(text).expect("YAML");
        schema.admit(node.to_value()).is_ok()
    }

    /// What is written one way or the other in a contract: accepted by both.
    const ACCEPTED: &[(&str, &str)] = &[
        ("name", "A"),
        ("version", "0.1.0-rc.1+build.7"),
        ("input", "true"),
        (
            "input",
            "{ type: object, properties: { a: { type: string } } }",
        ),
        ("output", "{}"),
        ("capabilities", "[]"),
        ("capabilities", "{}"),
        ("capabilities", "null"),
        ("capabilities", "[db:read, db:rawsql, fs:temp]"),
        ("capabilities", "[{ db:write: { max_rows: 7 } }]"),
        (
            "capabilities",
            "[{ db:write: { tables: [a.b], max_rows: 7 } }]",
        ),
        (
            "capabilities",
            "[{ http:egress: { allow: [\"*.example.org\", \"localhost:9000\"], methods: [GET, OPTIONS] } }]",
        ),
        (
            "capabilities",
            "[{ secrets:read: { keys: [KEY], only_for: [api.example.org] } }]",
        ),
        (
            "capabilities",
            "[{ cache:read: { keys: [\"rates:*\"] } }, { queue:publish: { queues: [a] } }]",
        ),
        ("capabilities", "[{ fs:temp: { size: 16Mi } }]"),
        ("resources", "null"),
        (
            "resources",
            "{ cpu: 0.5, memory: 64Mi, timeout: 250ms, pids: 8 }",
        ),
        ("resources", "{ cpu: \"1\", memory: 67108864 }"),
        ("observability", "{ log_fields: [a], metrics: [] }"),
        ("isolation", "pristine"),
        ("effects", "immediate"),
        ("concurrency", "1000"),
        ("examples", "[{ input: 1 }, { input: null, output: {} }]"),
        ("triggers", "[]"),
    ];

    /// What both refuse.
    const REFUSED: &[(&str, &str)] = &[
        ("name", "invoice_sync"),
        ("name", "null"),
        ("version", "1.0"),
        ("version", "\"1.2\""),
        ("input", "[]"),
        ("output", "3"),
        ("inputs", "{}"),
        ("capabilities", "db:read"),
        ("capabilities", "{ db:read: {} }"),
        ("capabilities", "[db:reed]"),
        ("capabilities", "[{ db:read: { table: [a] } }]"),
        ("capabilities", "[{ db:read: { tables: [] } }]"),
        ("capabilities", "[{ db:read: { tables: a } }]"),
        ("capabilities", "[{ db:rawsql: { tables: [a] } }]"),
        ("capabilities", "[{ http:egress: { methods: [GET] } }]"),
        (
            "capabilities",
            "[{ http:egress: { allow: [a.org], methods: [get] } }]",
        ),
        ("capabilities", "[{ secrets:read: { only_for: [a.org] } }]"),
        ("capabilities", "[{ db:write: { max_rows: 0 } }]"),
        ("resources", "{ cpus: 1 }"),
        ("resources", "{ timeout: 30 }"),
        ("resources", "{ pids: 513 }"),
        ("observability", "{ logs: [a] }"),
        ("isolation", "none"),
        ("effects", "later"),
        ("concurrency", "0"),
        ("concurrency", "1001"),
        ("examples", "[{ output: 1 }]"),
        ("examples", "[{ input: 1, note: 2 }]"),
        ("triggers", "[{ topic: a }]"),
    ];

    #[test]
    fn the_schema_and_the_reader_agree() {
        for (section, text) in ACCEPTED {
            let contract = with(section, text);
            assert!(is_read(&contract), "the reader refuses {contract}");
            assert!(fits(&contract), "the schema refuses {contract}");
        }
        for (section, text) in REFUSED {
            let contract = with(section, text);
            assert!(!is_read(&contract), "the reader accepts {contract}");
            assert!(!fits(&contract), "the schema accepts {contract}");
        }
    }

    /// Every section is described and tried above, and every required one is demanded.
    #[test]
    fn no_section_is_left_out() {
        for name in SECTIONS {
            assert_ne!(section(name), json!(true), "{name} is not described");
            assert!(ACCEPTED.iter().any(|(tried, _)| tried == name), "{name}");
            assert!(REFUSED.iter().any(|(tried, _)| tried == name));
        }
        for kind in CapabilityKind::ALL {
            let bare = with("capabilities", &format!("[{kind}]"));
            assert!(is_read(&bare) && fits(&bare), "{bare}");
            let line = kind.example_line().trim_start_matches("- ");
            let line = if line.contains('{') {
                format!("{{ {line} }}")
            } else {
                line.to_owned()
            };
            let listed = with("capabilities", &format!("[{line}]"));
            assert!(is_read(&listed) && fits(&listed), "{listed}");
        }
        for (name, _) in REQUIRED {
            let lacking: String = with(name, "")
                .lines()
                .filter(|line| !line.starts_with(name))
                .map(|line| format!("{line}\n"))
                .collect();
            assert!(!is_read(&lacking) && !fits(&lacking), "{lacking}");
        }
    }
}
