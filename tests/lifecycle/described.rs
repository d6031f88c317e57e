//! A client that knows nothing but the description: schemathesis, of another maker, reads `/openapi.json`, makes requests of it that
//! are right and wrong by it, and holds every answer against it.
//!
//! What it draws is fixed by the seed and by numbers of examples, not by a time, so that a slow machine is asked the same.

use crate::bundles::{archive, code};
use crate::service::{KEY, Service, verify_audit};
use std::path::Path;
use std::process::Command;

/// What every answer is held to. The last two are of `described.py`.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,\
    allow_header_conformance,errors_say_what_is_wrong,no_fault_of_the_server";

/// Requests of each kind for each operation.
const EXAMPLES: &str = "15";

const ANY: &str = "input: {type: object}\noutput: {type: object}\n";
const STRICT: &str = "
input:
  type: object
  properties: { name: { type: string, minLength: 1, maxLength: 9 }, count: { type: integer, minimum: 0, maximum: 9 } }
  required: [name]
  additionalProperties: false
output:
  type: object
  properties: { told: { type: string } }
  required: [told]
";

/// A service with controllers whose schemas say something, one that fails on purpose, and one that may be deleted.
fn served(place: &Path) -> Service {
    // Wrong requests are what this is about, so that their number must not change the answers.
    let settings = "[http]\nfailed_attempts = 1000000\n";
    std::fs::write(place.join("magic.toml"), settings).expect("our own file");
    let service = Service::start(place, &[]);
    for (name, schemas, body) in [
        (
            "Echo",
            ANY,
            "print(\"said\")\nctx.log.info(\"told\", a=1)\nreturn input",
        ),
        (
            "Strict",
            STRICT,
            "return {\"told\": input[\"name\"] * input.get(\"count\", 1)}",
        ),
        ("Failing", ANY, "raise ValueError()"),
        ("Spare", ANY, "return {}"),
    ] {
        let contract = format!("name: {name}\nversion: 1.0.0\n{schemas}");
        let answer = service.deploy(&archive(&contract, &code(body)), "");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    service
}

/// Runs schemathesis against that URL; what it printed, and whether everything held.
fn run(url: &str, more: &[&str]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(root.join("target/venv/bin/python"))
        .args(["-m", "schemathesis.cli", "run", url])
        .args(["--header", &format!("X-API-Key: {KEY}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--seed", "1", "--max-examples", EXAMPLES, "--no-shrink"])
        .args(["--generation-database", "none", "--workers", "1"])
        .args(["--request-timeout", "120", "--suppress-health-check", "all"])
        .args(["--continue-on-failure", "--no-color"])
        // It starts sandboxes and takes seconds each time; tests of its own ask for it.
        .args(["--exclude-path", "/api/self-test"])
        .args(more)
        .env("SCHEMATHESIS_HOOKS", "described")
        .env("PYTHONPATH", root.join("tests/lifecycle"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(scratch.path())
        .output()
        .expect("type make test-tools first");
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.success(), format!("{printed}\n{said}"))
}

#[test]
fn every_answer_is_as_the_description_says() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = served(place.path());
    let url = format!("http://{}/openapi.json", service.address);
    let (held, told) = run(&url, &[]);
    assert!(held, "{told}");
    // Every operation was asked but the one that is left out.
    let number = |label: &str| {
        let line = told
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in:\n{told}"))
            .trim()
            .to_owned()
    };
    let selected = number("Selected:");
    let (selected, all) = selected.split_once('/').expect("two numbers");
    assert_eq!(selected, number("Tested:"), "{told}");
    let all: usize = all.parse().expect("a number");
    assert_eq!(selected.parse(), Ok(all - 1), "{told}");
    assert_eq!(service.get("/api/readyz").status, 200);
    assert!(service.stop().success());
    verify_audit(place.path());
}

/// The same run against a description that says something else of one answer finds that, so it could have found the others.
#[test]
fn a_description_that_is_wrong_is_found() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = served(place.path());
    let mut document = service.get("/openapi.json").body;
    let health = &mut document["components"]["schemas"]["Health"];
    assert_eq!(health["properties"]["status"]["const"], "ok");
    health["properties"]["status"]["const"] = "well".into();
    let wrong = place.path().join("wrong.json");
    std::fs::write(&wrong, document.to_string()).expect("our own file");
    let base = format!("http://{}", service.address);
    let only = ["--url", &base, "--include-operation-id", "health"];
    let (held, told) = run(wrong.to_str().expect("UTF-8"), &only);
    assert!(!held, "{told}");
    assert!(told.contains("Response violates schema"), "{told}");
    assert!(service.stop().success());
}
