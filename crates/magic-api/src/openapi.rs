//! The interface, described in OpenAPI 3.1.
//!
//! The description is made from the table of routes and from the catalogue of errors, so that it names every route with the role
//! it takes and every code with its status. What the table does not know, bodies and answers, `operations` adds for each row; a
//! row that it does not know fails a test. Each deployed controller has a path of its own with the schemas of its contract, which
//! `magic_contract::embed_schema` moves here.

use std::collections::BTreeMap;

use magic_contract::{ErrorCode, embed_schema};
use magic_runtime::ControllerInterface;
use serde_json::{Map, Value, json};

use crate::auth::role::Role;
use crate::routes::{ROUTES, Route};
use crate::status::status_of;

mod operations;
mod schemas;

use operations::{Answer, Body, Operation, Parameter};

/// The description of all routes, and of these controllers.
pub(crate) fn document(controllers: &[ControllerInterface]) -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let operation =
            operations::of(route.method.as_str(), route.path).unwrap_or(Operation::NONE);
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        item[method] = described(route, &operation);
    }
    let mut schemas = schemas::all();
    for controller in controllers {
        let (path, item) = controller_path(controller, &mut schemas);
        paths.insert(path, item);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Magic Runtime",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs sandboxed Python controllers. HEAD is answered wherever GET is. A request may carry \
                `X-Request-ID`; every answer has one.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        // Relative: clients reach the server by names that it does not know.
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {
                "RequestId": {
                    "description": "The request's identity, which logs and records carry too.",
                    "schema": {"type": "string"},
                },
                "RetryAfter": {
                    "description": "Seconds after which trying again makes sense.",
                    "schema": {"type": "integer", "minimum": 1},
                },
                "Challenge": {
                    "description": "What credentials are asked for.",
                    "schema": {"type": "string"},
                },
            },
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "Bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a JSON Web Token with roles, as the server is set up.",
                },
            },
        },
    })
}

fn described(route: &Route, operation: &Operation) -> Value {
    let mut written = Map::new();
    written.insert("operationId".to_owned(), json!(operation.id));
    written.insert("summary".to_owned(), json!(operation.summary));
    written.insert("tags".to_owned(), json!([operation.tag]));
    written.insert("x-magic-role".to_owned(), json!(route.role.as_str()));
    written.insert("security".to_owned(), security(route.role));
    let mut parameters: Vec<Value> = names_in(route.path).map(in_path).collect();
    parameters.extend(operation.parameters.iter().copied().map(Parameter::to_json));
    parameters.push(request_id());
    written.insert("parameters".to_owned(), Value::Array(parameters));
    if let Some(body) = operation.body.to_json() {
        written.insert("requestBody".to_owned(), body);
    }
    let mut responses = errors(route, operation);
    for answer in operation.answers {
        responses.insert(answer.status.to_string(), answered(answer));
    }
    written.insert("responses".to_owned(), json!(responses));
    Value::Object(written)
}

fn security(role: Role) -> Value {
    match role {
        Role::Public => json!([]),
        _ => json!([{"ApiKey": []}, {"Bearer": []}]),
    }
}

/// The `{names}` of a path.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn in_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn request_id() -> Value {
    json!({
        "name": "X-Request-ID",
        "in": "header",
        "description": "The caller's own identity for the request: at most 128 letters, digits, `.`, `_` and `-`. For any other \
            the request gets an identity of the server's making.",
        "schema": {"type": "string"},
    })
}

fn answered(answer: &Answer) -> Value {
    let mut content = Map::new();
    for (media, schema) in answer.content {
        let schema = match *schema {
            "" => json!({"type": "string"}),
            name => schemas::reference(name),
        };
        content.insert((*media).to_owned(), json!({"schema": schema}));
    }
    json!({
        "description": answer.says,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": content,
    })
}

/// The codes that a route may answer, by status.
fn codes(route: &Route, operation: &Operation) -> BTreeMap<u16, Vec<ErrorCode>> {
    use ErrorCode as Code;
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    let mut add = |status: u16, code: ErrorCode| {
        let codes = by_status.entry(status).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    };
    for code in operation.codes {
        add(status_of(*code).as_u16(), *code);
    }
    // What stands in front of every route, and a panic behind it.
    for code in [
        Code::UnacceptableBody,
        Code::NoCapacity,
        Code::ControllerFailed,
    ] {
        add(status_of(code).as_u16(), code);
    }
    add(431, Code::UnacceptableBody);
    if route.role != Role::Public {
        for code in [
            Code::CredentialsMissing,
            Code::CredentialsInvalid,
            Code::CredentialsExpired,
            Code::RoleInsufficient,
        ] {
            add(status_of(code).as_u16(), code);
        }
    }
    if names_in(route.path).any(|name| name == "controller") {
        add(status_of(Code::OutOfScope).as_u16(), Code::OutOfScope);
    }
    if names_in(route.path).next().is_some() {
        add(
            status_of(Code::UnknownController).as_u16(),
            Code::UnknownController,
        );
    }
    if !matches!(operation.body, Body::None) {
        for status in [408, 413, 415] {
            add(status, Code::UnacceptableBody);
        }
    }
    for (status, code) in operation.further {
        add(*status, *code);
    }
    for codes in by_status.values_mut() {
        codes.sort_unstable();
    }
    by_status
}

fn errors(route: &Route, operation: &Operation) -> BTreeMap<String, Value> {
    let by_status = codes(route, operation).into_iter();
    by_status
        .map(|(status, codes)| (status.to_string(), refused(status, &codes)))
        .collect()
}

fn refused(status: u16, codes: &[ErrorCode]) -> Value {
    let said: Vec<String> = codes
        .iter()
        .map(|code| format!("{code}: {}", code.meaning()))
        .collect();
    let mut headers = json!({"X-Request-ID": {"$ref": "#/components/headers/RequestId"}});
    if codes.contains(&ErrorCode::NoCapacity) {
        headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"});
    }
    if status == 401 {
        headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/Challenge"});
    }
    json!({
        "description": said.join("; "),
        "headers": headers,
        "content": {"application/json": {"schema": {
            "allOf": [schemas::reference("Error")],
            "properties": {"error": {"properties": {"code": {"enum": codes}}}},
        }}},
    })
}

/// The path of one controller, which is that of all with the schemas of its contract.
fn controller_path(
    controller: &ControllerInterface,
    schemas: &mut Map<String, Value>,
) -> (String, Value) {
    const PATH: &str = "/api/execute/{controller}";
    let ControllerInterface { name, version, .. } = controller;
    let route = ROUTES.iter().find(|route| route.path == PATH);
    let operation = operations::of("POST", PATH).unwrap_or(Operation::NONE);
    let mut described = route.map_or_else(|| json!({}), |route| described(route, &operation));
    described["operationId"] = json!(format!("execute_{name}"));
    described["summary"] = json!(format!("Run {name} {version}"));
    described["tags"] = json!(["controllers"]);
    if let Some(parameters) = described["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["in"] != "path");
    }
    for (side, schema) in [("input", &controller.input), ("output", &controller.output)] {
        // No name of ours has a stop in it, and no controller has two.
        let key = format!("{name}.{side}");
        let place = format!("#/components/schemas/{key}");
        let embedded = embed_schema(schema.as_value(), schema.dialect(), &place);
        let embedded = embedded.unwrap_or_else(|| {
            json!({
                "description": format!(
                    "This schema cannot be written inside of another document; GET /api/controllers/{name} has it."
                ),
            })
        });
        schemas.insert(key, embedded);
    }
    described["requestBody"]["content"]["application/json"]["schema"] =
        schemas::reference(&format!("{name}.input"));
    described["responses"]["200"]["content"]["application/json"]["schema"] = json!({
        "allOf": [schemas::reference("Executed")],
        "properties": {
            "result": schemas::reference(&format!("{name}.output")),
            "controller": {"const": name},
        },
    });
    (
        PATH.replace("{controller}", name),
        json!({"post": described}),
    )
}

#[cfg(test)]
mod tests;
