//! What each row of the table takes and gives, for the description.

use magic_contract::ErrorCode;
use magic_contract::ErrorCode as Code;
use serde_json::{Value, json};

use super::schemas;

/// What the description says of one route beyond its row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// Unique among all.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) tag: &'static str,
    /// Beside those in the path.
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Body,
    /// The good ends.
    pub(super) answers: &'static [Answer],
    /// The codes of its own; those of every route come by themselves.
    pub(super) codes: &'static [ErrorCode],
    /// Codes with a status that is not the code's own.
    pub(super) further: &'static [(u16, ErrorCode)],
}

impl Operation {
    /// Nothing is said.
    pub(super) const NONE: Self = Self {
        id: "",
        summary: "",
        tag: "",
        parameters: &[],
        body: Body::None,
        answers: &[],
        codes: &[],
        further: &[],
    };
}

/// A parameter in the query or in a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    place: &'static str,
    name: &'static str,
    says: &'static str,
    /// A JSON Schema.
    schema: fn() -> Value,
}

impl Parameter {
    pub(super) fn to_json(self) -> Value {
        json!({
            "name": self.name,
            "in": self.place,
            "description": self.says,
            "schema": (self.schema)(),
        })
    }
}

/// What a request brings.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// JSON by the schema of that name.
    Json(&'static str),
    /// The archive of a bundle.
    Archive,
}

impl Body {
    pub(super) fn to_json(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Json(name) => Some(json!({
                "required": true,
                "content": {"application/json": {"schema": schemas::reference(name)}},
            })),
            Self::Archive => Some(json!({
                "required": true,
                "description": "A tar archive of the controller's folder, compressed with zstd or gzip. Its own bytes tell which.",
                "content": {
                    "application/zstd": {"schema": {}},
                    "application/gzip": {"schema": {}},
                },
            })),
        }
    }
}

/// A good end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) says: &'static str,
    /// Media types, each with the name of its schema; without a name it is text.
    pub(super) content: &'static [(&'static str, &'static str)],
}

const fn answer(schema: &'static [(&'static str, &'static str)], says: &'static str) -> Answer {
    Answer {
        status: 200,
        says,
        content: schema,
    }
}

const fn query(name: &'static str, says: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter {
        place: "query",
        name,
        says,
        schema,
    }
}

const fn header(name: &'static str, says: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter {
        place: "header",
        name,
        says,
        schema,
    }
}

fn text() -> Value {
    json!({"type": "string"})
}

fn flag() -> Value {
    json!({"type": "boolean", "default": false})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

fn lines() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn key() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 255})
}

fn percent() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 99})
}

fn share() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": 1, "default": 0.05})
}

fn decision() -> Value {
    json!({"enum": ["allow", "deny"]})
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

const TRACE: Parameter = header(
    "traceparent",
    "The trace that the request belongs to, as the W3C writes it.",
    text,
);

/// What a row takes and gives; `None` for one that nobody has described.
pub(super) fn of(method: &str, path: &str) -> Option<Operation> {
    let mut rows = OPERATIONS.iter();
    let (_, _, operation) =
        rows.find(|(its_method, its_path, _)| *its_method == method && *its_path == path)?;
    Some(*operation)
}

/// Method and path of a row, and what it takes and gives.
static OPERATIONS: &[(&str, &str, Operation)] = &[
    (
        "POST",
        "/api/execute/{controller}",
        Operation {
            id: "execute",
            summary: "Run a controller once",
            tag: "controllers",
            parameters: &[
                query("version", "Insist on this version.", text),
                header(
                    "Idempotency-Key",
                    "A name for the request: asked again under it with the same input, the stored answer comes back.",
                    key,
                ),
                TRACE,
            ],
            body: Body::Json("Anything"),
            answers: &[answer(
                &[(JSON, "Executed")],
                "The output. `Idempotency-Replayed: true` marks a stored one.",
            )],
            codes: &[
                Code::InvalidInput,
                Code::CapabilityUndeclared,
                Code::CapabilityDenied,
                Code::TargetNotAllowed,
                Code::BudgetExceeded,
                Code::SandboxViolation,
                Code::Timeout,
                Code::MemoryExceeded,
                Code::ControllerFailed,
                Code::InvalidOutput,
                Code::DoesNotLoad,
                Code::DeploymentFailed,
            ],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/controllers",
        Operation {
            id: "listControllers",
            summary: "What is deployed",
            tag: "deployment",
            answers: &[answer(&[(JSON, "Controllers")], "By name.")],
            ..Operation::NONE
        },
    ),
    (
        "POST",
        "/api/controllers",
        Operation {
            id: "deploy",
            summary: "Deploy a bundle on every node",
            tag: "deployment",
            parameters: &[
                query(
                    "canary",
                    "Give the new version so many of a hundred requests.",
                    percent,
                ),
                query(
                    "margin",
                    "By how much a canary's rate of failures may be above the active version's.",
                    share,
                ),
                query("allow_breaking", "It may break its callers.", flag),
                query("reason", "Why, for the history.", text),
            ],
            body: Body::Archive,
            answers: &[
                answer(
                    &[(JSON, "Deployed"), (EVENTS, "")],
                    "Nothing changed; or, for a client that accepts events, each step and then `deployed` or `error`.",
                ),
                Answer {
                    status: 201,
                    says: "It serves.",
                    content: &[(JSON, "Deployed")],
                },
            ],
            codes: &[
                Code::InvalidContract,
                Code::MissingSection,
                Code::UnsupportedSchema,
                Code::CapabilityDenied,
                Code::InvalidBundle,
                Code::DoesNotLoad,
                Code::VersionConflict,
                Code::DeploymentFailed,
                Code::OutOfScope,
            ],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/controllers/{controller}",
        Operation {
            id: "showController",
            summary: "One controller with its contract",
            tag: "deployment",
            answers: &[answer(&[(JSON, "ControllerDetail")], "The controller.")],
            ..Operation::NONE
        },
    ),
    (
        "DELETE",
        "/api/controllers/{controller}",
        Operation {
            id: "deleteController",
            summary: "Take a controller out of service",
            tag: "deployment",
            answers: &[answer(&[(JSON, "Moved")], "What changed.")],
            codes: &[Code::VersionConflict, Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/controllers/{controller}/versions",
        Operation {
            id: "listVersions",
            summary: "Every version that was deployed",
            tag: "deployment",
            answers: &[answer(&[(JSON, "Versions")], "The newest first.")],
            codes: &[Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "POST",
        "/api/controllers/{controller}/rollback",
        Operation {
            id: "rollBack",
            summary: "Make an earlier version the active one",
            tag: "deployment",
            body: Body::Json("RollBack"),
            answers: &[answer(&[(JSON, "Moved")], "What changed.")],
            codes: &[Code::VersionConflict, Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "POST",
        "/api/controllers/{controller}/canary",
        Operation {
            id: "endCanary",
            summary: "End the trial of a canary",
            tag: "deployment",
            body: Body::Json("EndCanary"),
            answers: &[answer(&[(JSON, "Moved")], "What changed.")],
            codes: &[Code::VersionConflict, Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/controllers/{controller}/logs",
        Operation {
            id: "readLogs",
            summary: "What a controller wrote",
            tag: "observability",
            parameters: &[
                query("follow", "Go on with new lines as they come.", flag),
                query("after", "Only lines after this number.", number),
                query(
                    "limit",
                    "At most so many lines; never more than 1000.",
                    lines,
                ),
                query("request", "Only lines of this request.", text),
                header(
                    "Last-Event-ID",
                    "Where a stream that was cut off goes on; what is no line's number says nothing.",
                    text,
                ),
            ],
            answers: &[answer(
                &[(JSON, "Logs"), (EVENTS, "")],
                "Lines; with `follow`, an event `line` for each, and `missed` for a hole.",
            )],
            codes: &[Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/policy",
        Operation {
            id: "showPolicy",
            summary: "The policy in force",
            tag: "policy",
            answers: &[answer(&[(JSON, "PolicyInForce")], "Defaults included.")],
            ..Operation::NONE
        },
    ),
    (
        "POST",
        "/api/policy/explain",
        Operation {
            id: "explainPolicy",
            summary: "What the policy says about a capability, and why",
            tag: "policy",
            body: Body::Json("PolicyQuestion"),
            answers: &[answer(
                &[(JSON, "Explanation")],
                "Whether it says allow or deny.",
            )],
            codes: &[
                Code::InvalidContract,
                Code::MissingSection,
                Code::UnsupportedSchema,
                Code::UnknownController,
                Code::DeploymentFailed,
                Code::OutOfScope,
            ],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/audit",
        Operation {
            id: "readAudit",
            summary: "Records of the audit log, the newest first",
            tag: "observability",
            parameters: &[
                query("controller", "Only of this controller.", text),
                query("request_id", "Only of this request.", text),
                query("capability", "Only of this capability.", text),
                query("decision", "Only with this decision.", decision),
                query("kind", "Only of this kind.", text),
                query("since", "Not older.", time),
                query("until", "Older.", time),
                query("before", "Only records with a number below this.", number),
                query(
                    "limit",
                    "At most so many, but always one; never more than 1000.",
                    number,
                ),
            ],
            answers: &[answer(&[(JSON, "Audit")], "Records, and where to go on.")],
            codes: &[Code::UnknownController],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/keys",
        Operation {
            id: "listKeys",
            summary: "All API keys",
            tag: "keys",
            answers: &[answer(
                &[(JSON, "Keys")],
                "The newest first, revoked ones included.",
            )],
            codes: &[Code::UnknownController],
            ..Operation::NONE
        },
    ),
    (
        "POST",
        "/api/keys",
        Operation {
            id: "createKey",
            summary: "Make an API key",
            tag: "keys",
            body: Body::Json("WantedKey"),
            answers: &[Answer {
                status: 201,
                says: "The key, whose text is shown here and never again.",
                content: &[(JSON, "MadeKey")],
            }],
            codes: &[Code::UnknownController],
            ..Operation::NONE
        },
    ),
    (
        "DELETE",
        "/api/keys/{id}",
        Operation {
            id: "revokeKey",
            summary: "Revoke an API key",
            tag: "keys",
            answers: &[answer(
                &[(JSON, "RevokedKey")],
                "Whether it was live until now.",
            )],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/health",
        Operation {
            id: "health",
            summary: "The process lives",
            tag: "observability",
            answers: &[answer(&[(JSON, "Health")], "It does.")],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/readyz",
        Operation {
            id: "ready",
            summary: "Whether requests should be sent here",
            tag: "observability",
            answers: &[answer(&[(JSON, "Ready")], "They should.")],
            further: &[(503, Code::NoCapacity)],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/self-test",
        Operation {
            id: "selfTest",
            summary: "Which layers of the sandbox stand, tried for real",
            tag: "observability",
            answers: &[answer(
                &[(JSON, "SelfTest")],
                "What was found, good or bad.",
            )],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/openapi.json",
        Operation {
            id: "openapi",
            summary: "This description",
            tag: "observability",
            answers: &[answer(
                &[(JSON, "Anything")],
                "With the controllers in the caller's scope.",
            )],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/executions/{request_id}",
        Operation {
            id: "readExecutions",
            summary: "What became of a request",
            tag: "observability",
            answers: &[answer(
                &[(JSON, "Executions")],
                "The newest first, on whichever node they ran.",
            )],
            codes: &[Code::UnknownController, Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/api/nodes",
        Operation {
            id: "listNodes",
            summary: "Who shares the state, and what each serves",
            tag: "observability",
            answers: &[answer(&[(JSON, "Nodes")], "By name.")],
            codes: &[Code::DeploymentFailed],
            ..Operation::NONE
        },
    ),
    (
        "GET",
        "/metrics",
        Operation {
            id: "metrics",
            summary: "What Prometheus scrapes",
            tag: "observability",
            answers: &[answer(
                &[("application/openmetrics-text", "")],
                "Metrics, as OpenMetrics text.",
            )],
            ..Operation::NONE
        },
    ),
];
