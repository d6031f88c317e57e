//! The description of the interface: a validator of another maker accepts it, and it tells strangers and neighbours nothing.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use magic_api::ROUTES;
use serde_json::{Value, json};

use crate::folder::{ANY, Folder};
use crate::http_client::Call;
use crate::server::Server;

/// Draft-07 with definitions, tuples and dependencies; and 2020-12. Both call a definition `item`.
const OLDER: &str = "
input:
  type: object
  definitions: { item: { type: integer } }
  properties:
    pair: { items: [{ $ref: '#/definitions/item' }, { type: string }], additionalItems: false }
  dependencies: { pair: [other] }
output: { $ref: '#/definitions/item', definitions: { item: { type: object } } }
";
const NEWER: &str = "
input:
  $schema: https://json-schema.org/draft/2020-12/schema
  $defs: { item: { type: string } }
  type: object
  properties: { one: { $ref: '#/$defs/item', minLength: 2 } }
output: { type: object }
";
/// What cannot be said inside of another document.
const RECURSIVE: &str = "
input:
  $schema: https://json-schema.org/draft/2020-12/schema
  $dynamicAnchor: node
  type: object
  properties: { next: { $dynamicRef: '#node' } }
output: { type: object }
";

/// A program of the tests' virtual environment reads standard input; what it wrote, if it was content.
pub(crate) fn python(program: &str, input: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut child = Command::new(root.join("target/venv/bin/python"))
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("type make test-tools first");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "it refuses:\n{input}");
    String::from_utf8(output.stdout).expect("text")
}

/// The description is valid OpenAPI 3.1, has every route, and a path for each controller whose schema means what the contract means.
#[test]
fn it_is_valid_and_complete() {
    let folder = Folder::new();
    folder.controller("Older", OLDER, "return {}");
    folder.controller("Newer", NEWER, "return {}");
    folder.controller("Recursive", RECURSIVE, "return {}");
    let server = Server::dev(&folder);
    let answer = server.call(&Call::get("/openapi.json"));
    assert_eq!(answer.status, 200);
    let document = answer.json();
    python(
        "import json, sys\nfrom openapi_spec_validator import OpenAPIV31SpecValidator\n\
         OpenAPIV31SpecValidator(json.load(sys.stdin)).validate()\n",
        &document.to_string(),
    );
    for route in ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][route.path][&method];
        assert_eq!(
            operation["x-magic-role"],
            route.role.as_str(),
            "{}",
            route.path
        );
    }
    for name in ["Older", "Newer", "Recursive"] {
        let operation = &document["paths"][format!("/api/execute/{name}")]["post"];
        let input = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(*input, format!("#/components/schemas/{name}.input"));
    }
    // A generic validator comes to the same judgements as the runtime.
    let cases = json!([
        ["Older", {}],
        ["Older", {"pair": [1, "a"], "other": 1}],
        ["Older", {"pair": [1, "a"]}],
        ["Older", {"pair": ["a"], "other": 1}],
        ["Older", {"pair": [1, "a", 2], "other": 1}],
        ["Newer", {"one": "ab"}],
        ["Newer", {"one": "a"}],
        ["Newer", {"one": 1}],
    ]);
    let judged = python(
        "import json, sys\nfrom jsonschema import Draft202012Validator as V\n\
         d = json.load(sys.stdin)\n\
         def ok(n, v): return V({'$ref': f'#/components/schemas/{n}.input', **d['document']}).is_valid(v)\n\
         print(json.dumps([ok(n, v) for n, v in d['cases']]))\n",
        &json!({"document": {"components": document["components"]}, "cases": cases}).to_string(),
    );
    let judged: Value = serde_json::from_str(&judged).expect("JSON");
    for (case, judged) in cases
        .as_array()
        .expect("a list")
        .iter()
        .zip(judged.as_array().expect("a list"))
    {
        let path = format!("/api/execute/{}", case[0].as_str().expect("a name"));
        let accepted = server.call(&Call::post(&path, &case[1].to_string())).status == 200;
        assert_eq!(Some(accepted), judged.as_bool(), "{case}");
    }
}

/// A key that is bound to one controller sees that one; without a key there is nothing to see.
#[test]
fn it_shows_what_the_caller_may_see() {
    let admin = "an-administrators-key-of-many-characters";
    let folder = Folder::new();
    folder.echo();
    folder.controller("Other", ANY, "return {}");
    let server = Server::start_with(
        &folder,
        &["serve", "--json", "--listen", "127.0.0.1:0"],
        &[("ADMIN_API_KEY", admin), ("ENVIRONMENT", "dev")],
    );
    server
        .call(&Call::get("/openapi.json"))
        .assert_error(401, "E5001");
    let wanted = json!({"name": "one", "roles": ["read"], "controllers": ["Echo"]});
    let make = Call::post("/api/keys", &wanted.to_string()).header("X-API-Key", admin);
    let made = server.call(&make).json();
    let key = made["key"].as_str().expect("a key");
    for (key, others) in [(key, false), (admin, true)] {
        let answer = server.call(&Call::get("/openapi.json").header("X-API-Key", key));
        let document = answer.json();
        assert!(document["paths"].get("/api/execute/Echo").is_some());
        assert_eq!(document.to_string().contains("Other"), others);
    }
}
