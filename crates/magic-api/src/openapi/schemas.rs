//! The schemas of bodies and answers. Answers may get further members, so those that clients read are not closed; bodies are, as
//! the handlers refuse members that they do not know.

use magic_contract::{ErrorCode, Reason};
use serde_json::{Map, Value, json};

use crate::auth::role::Role;

/// A reference to one of them.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object; members whose names end in `?` may be absent.
fn object(members: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = members
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.ends_with('?'))
        .collect();
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()))
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn closed(members: &[(&str, Value)]) -> Value {
    let mut schema = object(members);
    schema["additionalProperties"] = json!(false);
    schema
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

/// All of them by name.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn all() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let maybe_text = || json!({"type": ["string", "null"]});
    let count = || json!({"type": "integer", "minimum": 0});
    let flag = || json!({"type": "boolean"});
    let time = || json!({"type": "string", "format": "date-time"});
    let maybe_time = || json!({"type": ["string", "null"], "format": "date-time"});
    let any_object = || json!({"type": "object"});
    let roles: Vec<&str> = Role::GRANTABLE.iter().map(|role| role.as_str()).collect();
    let canary = object(&[
        ("version", text()),
        ("percent", count()),
        ("requests", count()),
        ("failures", count()),
    ]);
    let summary = [
        ("name", text()),
        ("version", text()),
        ("digest", text()),
        ("isolation", json!({"enum": ["request", "pristine"]})),
        ("deployed_at", time()),
        ("canary?", canary),
    ];
    let mut detail = summary.to_vec();
    detail.push(("contract", any_object()));
    let key = [
        ("id", text()),
        ("name", text()),
        ("roles", list(text())),
        (
            "controllers",
            json!({"type": ["array", "null"], "items": {"type": "string"}}),
        ),
        ("created_at", time()),
        ("created_by", text()),
        ("expires_at", maybe_time()),
        ("rate", maybe_rate()),
        ("burst", maybe_rate()),
        ("revoked_at", maybe_time()),
        ("revoked_by", maybe_text()),
    ];
    let mut made = key.to_vec();
    made.push(("key", text()));
    let layer = object(&[
        ("layer", text()),
        (
            "wanted",
            json!({"enum": ["required", "best_effort", "off"]}),
        ),
        ("available", flag()),
        ("enforced", text()),
        ("detail", text()),
        ("remedy", maybe_text()),
    ]);
    let attempt = object(&[("name", text()), ("refused", flag()), ("detail", text())]);
    let log_line = object(&[
        ("cursor?", count()),
        ("node?", text()),
        ("time", time()),
        ("request_id", maybe_text()),
        ("stream", text()),
        ("level", text()),
        ("message", text()),
        ("fields", any_object()),
        ("truncated", flag()),
    ]);
    let schemas = [
        ("Anything", json!({"description": "Any JSON value."})),
        ("ErrorCode", error_code()),
        ("Error", error()),
        (
            "Executed",
            object(&[
                (
                    "result",
                    json!({"description": "Valid under the contract's output schema."}),
                ),
                ("request_id", text()),
                ("duration_ms", json!({"type": "number", "minimum": 0})),
                ("controller", text()),
                ("version", text()),
            ]),
        ),
        ("Controller", object(&summary)),
        (
            "Controllers",
            object(&[("controllers", list(reference("Controller")))]),
        ),
        ("ControllerDetail", object(&detail)),
        (
            "Deployed",
            object(&[
                ("name", text()),
                ("version", text()),
                ("digest", text()),
                ("changed", flag()),
            ]),
        ),
        (
            "Moved",
            object(&[
                ("name", text()),
                ("version", maybe_text()),
                ("replaced", maybe_text()),
                ("changed", flag()),
            ]),
        ),
        (
            "Version",
            object(&[
                ("version", text()),
                ("state", json!({"enum": ["active", "canary", "idle"]})),
                ("percent?", count()),
                ("deployed_at", time()),
                ("deployed_by?", text()),
                ("allow_breaking", flag()),
            ]),
        ),
        (
            "Versions",
            object(&[
                ("controller", text()),
                ("versions", list(reference("Version"))),
            ]),
        ),
        (
            "Executions",
            object(&[
                ("request_id", text()),
                (
                    "executions",
                    list(object(&[
                        ("controller", text()),
                        ("version", text()),
                        ("node", text()),
                        ("started_at", time()),
                        ("outcome", text()),
                        ("duration_us", count()),
                    ])),
                ),
            ]),
        ),
        (
            "Nodes",
            object(&[(
                "nodes",
                list(object(&[
                    ("name", text()),
                    ("this", flag()),
                    ("program", text()),
                    ("policy", text()),
                    ("generation", count()),
                    ("heard_at", time()),
                ])),
            )]),
        ),
        (
            "RollBack",
            closed(&[("to?", maybe_text()), ("reason?", maybe_text())]),
        ),
        (
            "EndCanary",
            closed(&[
                ("action", json!({"enum": ["promote", "return"]})),
                ("reason?", maybe_text()),
            ]),
        ),
        (
            "Logs",
            object(&[
                ("controller", text()),
                ("source", json!({"enum": ["state", "memory"]})),
                ("lines", list(log_line)),
                ("next?", count()),
                ("missed?", flag()),
            ]),
        ),
        (
            "PolicyInForce",
            object(&[("hash", text()), ("policy", any_object())]),
        ),
        (
            "PolicyQuestion",
            closed(&[
                ("controller?", maybe_text()),
                (
                    "contract?",
                    json!({"description": "A contract: its text, or an object."}),
                ),
                ("capability", text()),
                ("target?", maybe_text()),
            ]),
        ),
        (
            "Explanation",
            object(&[
                ("decision", json!({"enum": ["allow", "deny"]})),
                ("capability", text()),
            ]),
        ),
        (
            "Audit",
            object(&[
                ("records", list(any_object())),
                ("next", json!({"type": ["integer", "null"]})),
            ]),
        ),
        ("Key", object(&key)),
        ("Keys", object(&[("keys", list(reference("Key")))])),
        ("MadeKey", object(&made)),
        (
            "WantedKey",
            closed(&[
                ("name", text()),
                (
                    "roles",
                    json!({"type": "array", "minItems": 1, "items": {"enum": roles}}),
                ),
                (
                    "controllers?",
                    json!({"type": ["array", "null"], "minItems": 1, "items": {"type": "string"}}),
                ),
                ("expires_at?", maybe_time()),
                ("expires_in?", maybe_text()),
                ("rate?", maybe_rate()),
                ("burst?", maybe_rate()),
            ]),
        ),
        ("RevokedKey", object(&[("id", text()), ("revoked", flag())])),
        (
            "Health",
            object(&[("status", json!({"const": "ok"})), ("version", text())]),
        ),
        ("Ready", object(&[("status", json!({"const": "ready"}))])),
        (
            "SelfTest",
            object(&[
                ("passed", flag()),
                ("layers", list(layer)),
                ("attempts", list(attempt)),
                ("failure", maybe_text()),
            ]),
        ),
    ];
    schemas
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// Requests, in a second or at once.
fn maybe_rate() -> Value {
    json!({"type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000})
}

/// The catalogue.
fn error_code() -> Value {
    let said: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|code| format!("- `{code}` {}: {}", code.meaning(), code.resolution()))
        .collect();
    json!({"type": "string", "enum": ErrorCode::ALL, "description": said.join("\n")})
}

/// The one shape of every error.
fn error() -> Value {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let details = json!({
        "type": "object",
        "description": "What is known of the case. `reason` is the finer cause, where there is one.",
        "properties": {"reason": {"type": "string", "examples": reasons}},
    });
    let body = object(&[
        ("code", reference("ErrorCode")),
        (
            "category",
            json!({"enum": ["CONTRACT", "CAPABILITY", "EXECUTION", "DEPLOYMENT", "AUTH"]}),
        ),
        ("message", json!({"type": "string"})),
        ("request_id", json!({"type": "string"})),
        (
            "timestamp",
            json!({"type": "string", "format": "date-time"}),
        ),
        ("details", details),
    ]);
    object(&[("error", body)])
}
