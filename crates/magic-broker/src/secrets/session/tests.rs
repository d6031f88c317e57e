//! `secrets.get` under a real grant, and what handles stand for where.

use super::*;
use crate::record::{AuditSink, CallRecord, Durable, Intent};
use crate::secrets::{SecretStore, SecretsOptions, StorePaths};
use magic_contract::{Contract, ErrorCode, Grant, Policy};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::time::Instant;
use zeroize::Zeroizing;

struct NoAudit;

impl AuditSink for NoAudit {
    fn record(&self, _: CallRecord<'_>) {}

    fn intend<'a>(&'a self, _: Intent<'a>) -> Durable<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn grant(line: &str, policy: &Policy) -> Grant {
    let text = format!(
        "name: T\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\ncapabilities:\n{line}\n"
    );
    let contract = Contract::parse(text.as_bytes(), "contract.yaml").expect("a valid contract");
    Grant::derive(&contract, policy)
}

struct Fixture {
    _folder: TempDir,
    directory: PathBuf,
    redactor: Redactor,
    session: SecretsSession,
}

impl Fixture {
    fn new(values: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().to_owned();
        for (name, value) in values {
            std::fs::write(directory.join(name), value).expect("a file");
        }
        let options = SecretsOptions {
            directories: vec![directory.clone()],
            ..SecretsOptions::default()
        };
        let redactor = Redactor::new();
        let secrets = Secrets::open(options).expect("open");
        Self {
            _folder: folder,
            directory,
            session: SecretsSession::new(secrets, redactor.clone()),
            redactor,
        }
    }

    async fn get(&self, line: &str, params: &Value) -> (Result<String, Failure>, Value) {
        let grant = grant(line, &Policy::development());
        let mut call =
            Call::begin(1, Method::SecretsGet, Instant::now(), &grant, &NoAudit).expect("declared");
        let answer = self.session.perform(&mut call, &params.to_string()).await;
        let answer = answer.map(|text| serde_json::from_str(&text).expect("a JSON string"));
        (answer, Value::Object(call.into_facts()))
    }

    async fn handle(&self, line: &str, key: &str) -> String {
        self.get(line, &json!({"key": key}))
            .await
            .0
            .expect("a handle")
    }
}

fn host(text: &str) -> Host {
    Host::parse(text).expect("a host")
}

const LISTED: &str = "  - secrets:read: { keys: [STRIPE_KEY, ABSENT] }";
const BOUND: &str =
    "  - secrets:read: { keys: [STRIPE_KEY], only_for: [api.stripe.com, \"*.example.org:8443\"] }";
const VALUE: &str = "sk_live_51Hx";

/// A declared key is answered with its value, and the redactor knows it by then.
#[tokio::test]
async fn a_declared_key_is_answered() {
    let fixture = Fixture::new(&[("STRIPE_KEY", "sk_live_51Hx\n")]);
    let (answer, facts) = fixture.get(LISTED, &json!({"key": "STRIPE_KEY"})).await;
    assert_eq!(answer.as_deref(), Ok(VALUE));
    assert_eq!(facts, json!({"key_name": "STRIPE_KEY"}));
    assert_eq!(
        fixture.redactor.text("key sk_live_51Hx"),
        "key [secret STRIPE_KEY]"
    );
}

/// Keys that are not declared, and what looks like them, are refused in the same words whether
/// or not they have a value.
#[tokio::test]
async fn undeclared_keys_say_nothing_of_existence() {
    let names = ["OTHER", "STRIPE_KEY_2", "STRIPE_KE", "stripe_key"];
    let values: Vec<(&str, &str)> = names.iter().map(|name| (*name, VALUE)).collect();
    let with = Fixture::new(&values);
    let without = Fixture::new(&[]);
    for name in names {
        let mut answers = Vec::new();
        for fixture in [&with, &without] {
            let (answer, facts) = fixture.get(LISTED, &json!({"key": name})).await;
            assert_eq!(facts, json!({"key_name": name}));
            answers.push(answer.expect_err(name));
        }
        assert_eq!(answers[0].code, ErrorCode::TargetNotAllowed);
        assert_eq!(answers[0], answers[1]);
        // Its twin is declared and is answered.
        let line = format!("  - secrets:read: {{ keys: [{name}] }}");
        let (answer, _) = with.get(&line, &json!({"key": name})).await;
        assert_eq!(answer.as_deref(), Ok(VALUE));
    }
    assert_eq!(without.redactor.text(VALUE), VALUE);
}

/// What is no name at all is E2003 whatever is declared, and parameters have one shape.
#[tokio::test]
async fn names_have_a_rule() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let long = "K".repeat(10_000);
    for key in [
        "*",
        "STRIPE*",
        "",
        "../STRIPE_KEY",
        "STRIPE_KEY\n",
        " STRIPE_KEY",
        "STRIPE_KEY\0",
        "ＳＴＲＩＰＥ_KEY",
        &long,
    ] {
        for line in ["  - secrets:read", LISTED] {
            let (answer, facts) = fixture.get(line, &json!({"key": key})).await;
            let failure = answer.expect_err(key);
            assert_eq!(failure.code, ErrorCode::TargetNotAllowed, "{key:?}");
            assert!(failure.message.len() < 400, "{}", failure.message);
            assert!(facts.to_string().len() < 400, "{facts}");
        }
    }
    for params in [
        json!({}),
        json!({"key": 1}),
        json!({"key": null}),
        json!([]),
        json!({"key": "STRIPE_KEY", "all": true}),
    ] {
        let failure = fixture
            .get(LISTED, &params)
            .await
            .0
            .expect_err("a wrong shape");
        assert_eq!(failure.code, ErrorCode::ControllerFailed);
    }
    let bare = fixture
        .get("  - secrets:read", &json!({"key": "STRIPE_KEY"}))
        .await;
    assert_eq!(bare.0.as_deref(), Ok(VALUE));
}

/// A declared key without a value says what to type; one that cannot be read says less to the
/// controller than to the log.
#[tokio::test]
async fn a_missing_value_says_what_to_type() {
    let fixture = Fixture::new(&[("STRIPE_KEY", "\n"), ("OTHER", "x")]);
    let (answer, facts) = fixture.get(LISTED, &json!({"key": "ABSENT"})).await;
    let failure = answer.expect_err("no value");
    assert_eq!(failure.code, ErrorCode::ControllerFailed);
    assert_eq!(failure.details["retriable"], json!(false));
    assert!(
        failure.message.contains("magic secrets set ABSENT"),
        "{}",
        failure.message
    );
    assert!(!failure.message.contains("OTHER"));
    assert_eq!(facts, json!({"key_name": "ABSENT"}));
    let failure = fixture
        .get(LISTED, &json!({"key": "STRIPE_KEY"}))
        .await
        .0
        .expect_err("empty");
    assert_eq!(failure.details["retriable"], json!(true));
    assert!(!failure.message.contains('/'), "{}", failure.message);
    assert!(
        failure
            .internal
            .is_some_and(|text| text.contains("it is empty"))
    );
    let reserved = "  - secrets:read: { keys: [MAGIC_X] }";
    let failure = fixture
        .get(reserved, &json!({"key": "MAGIC_X"}))
        .await
        .0
        .expect_err("reserved");
    assert!(
        failure.message.contains("runtime's own"),
        "{}",
        failure.message
    );
}

/// What one request may read of secrets has a bound, which repeating one does not touch.
#[tokio::test]
async fn values_are_bounded() {
    let large = "x".repeat(SecretValue::LIMIT - 1);
    let values: Vec<(String, String)> = (0..6)
        .map(|number| (format!("KEY_{number}"), format!("{large}{number}")))
        .collect();
    let values: Vec<(&str, &str)> = values
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let fixture = Fixture::new(&values);
    for (number, allowed) in [
        (0, true),
        (1, true),
        (2, true),
        (3, true),
        (0, true),
        (4, false),
        (5, false),
        (3, true),
    ] {
        let key = format!("KEY_{number}");
        let answer = fixture
            .get("  - secrets:read", &json!({"key": key}))
            .await
            .0;
        assert_eq!(answer.is_ok(), allowed, "{key}");
        if let Err(failure) = answer {
            assert_eq!(failure.code, ErrorCode::BudgetExceeded);
        }
    }
}

/// With `only_for` the controller gets a handle, which is nothing of the value.
#[tokio::test]
async fn a_bound_secret_is_a_handle() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let handle = fixture.handle(BOUND, "STRIPE_KEY").await;
    assert!(
        handle.starts_with("magic_secret_") && handle.len() == 45,
        "{handle}"
    );
    assert!(
        handle
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    );
    assert_eq!(fixture.handle(BOUND, "STRIPE_KEY").await, handle);
    let other = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    assert_ne!(other.handle(BOUND, "STRIPE_KEY").await, handle);
}

/// A handle is exchanged for the listed host and port over TLS, wherever it stands in the value.
#[tokio::test]
async fn handles_are_exchanged_where_they_may_go() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let handle = fixture.handle(BOUND, "STRIPE_KEY").await;
    let expand = |value: &str| {
        fixture
            .session
            .expand(value, &host("api.stripe.com"), 443, true)
            .expect("allowed")
    };
    for (value, expanded) in [
        (format!("Bearer {handle}"), format!("Bearer {VALUE}")),
        (handle.clone(), VALUE.to_owned()),
        (
            format!("a={handle}, b={handle}0"),
            format!("a={VALUE}, b={VALUE}0"),
        ),
        (
            format!("magic_secret_{handle}"),
            format!("magic_secret_{VALUE}"),
        ),
        (
            format!("Basic {}", base64(&format!("{handle}:"))),
            format!("Basic {}", base64(&format!("{VALUE}:"))),
        ),
        (
            format!("basic  {}", base64(&format!("user:{handle}"))),
            format!("basic {}", base64(&format!("user:{VALUE}"))),
        ),
    ] {
        assert_eq!(expand(&value), expanded);
    }
    let expanded = fixture
        .session
        .expand(&handle, &host("a.example.org"), 8443, true);
    assert_eq!(expanded.as_deref(), Ok(VALUE));
}

/// Everywhere else it is refused, and the refusal shows the line that would allow it.
#[tokio::test]
async fn handles_go_nowhere_else() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let handle = fixture.handle(BOUND, "STRIPE_KEY").await;
    let bearer = format!("Bearer {handle}");
    let basic = format!("Basic {}", base64(&format!("{handle}:")));
    for (name, port, tls) in [
        ("evil.example", 443, true),
        ("stripe.com", 443, true),
        ("x.api.stripe.com", 443, true),
        ("api.stripe.com", 8443, true),
        ("api.stripe.com", 443, false),
        ("api.stripe.com", 80, false),
        ("a.example.org", 443, true),
        ("a.b.example.org", 8443, true),
        ("example.org", 8443, true),
        ("127.0.0.1", 443, true),
    ] {
        for value in [&bearer, &basic] {
            let failure = fixture
                .session
                .expand(value, &host(name), port, tls)
                .expect_err(name);
            assert_eq!(failure.code, ErrorCode::TargetNotAllowed, "{name}:{port}");
            assert_eq!(failure.details["layer"], json!("contract"));
            assert_eq!(failure.details["rule"], json!("only_for"));
            assert!(!format!("{failure:?}").contains(VALUE));
            // The line that it shows is one that a contract may have, and it allows the call.
            let Some(line) = failure.details.get("line") else {
                assert!(!tls, "{failure:?}");
                continue;
            };
            let line = format!("  {}", line.as_str().expect("text"));
            let relaxed = Fixture::new(&[("STRIPE_KEY", VALUE)]);
            let handle = relaxed.handle(&line, "STRIPE_KEY").await;
            let expanded = relaxed.session.expand(&handle, &host(name), port, true);
            assert_eq!(expanded.as_deref(), Ok(VALUE), "{line}");
        }
    }
}

/// Handles of other requests, made-up ones and plain text stay what they are.
#[tokio::test]
async fn other_text_stays() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let handle = fixture.handle(BOUND, "STRIPE_KEY").await;
    let foreign = Fixture::new(&[("STRIPE_KEY", VALUE)])
        .handle(BOUND, "STRIPE_KEY")
        .await;
    for value in [
        foreign.clone(),
        format!("magic_secret_{}", "0".repeat(32)),
        handle[..44].to_owned(),
        handle.to_uppercase(),
        "magic_secret_é".repeat(9),
        "magic_secret_".to_owned(),
        String::new(),
        "Basic !!!".to_owned(),
        format!("Basic {}", base64(&foreign)),
        format!("Digest {}", base64(&handle)),
    ] {
        // Not even the host matters to text that stands for nothing.
        let expanded = fixture
            .session
            .expand(&value, &host("evil.example"), 80, false);
        assert_eq!(expanded.as_deref(), Ok(value.as_str()));
    }
}

/// A value that is no header, is too short to be masked, or would blow a header up, is refused.
#[tokio::test]
async fn some_values_cannot_be_sent() {
    let line = "  - secrets:read: { keys: [LINES, SHORT, LONG], only_for: [a.example] }";
    let long = "x".repeat(SecretValue::LIMIT);
    let fixture = Fixture::new(&[
        ("LINES", "one\r\nX-Two: 2"),
        ("SHORT", "abc"),
        ("LONG", &long),
    ]);
    let expand = |value: &str| fixture.session.expand(value, &host("a.example"), 443, true);
    let lines = fixture.handle(line, "LINES").await;
    let failure = expand(&lines).expect_err("a line break");
    assert!(
        failure.message.contains("control character 0x0d"),
        "{}",
        failure.message
    );
    let answer = fixture.get(line, &json!({"key": "SHORT"})).await.0;
    let failure = answer.expect_err("too short");
    assert!(
        failure.message.contains("fewer than 4 bytes"),
        "{}",
        failure.message
    );
    let long = fixture.handle(line, "LONG").await;
    assert!(expand(&long).is_ok());
    assert!(expand(&long.repeat(3)).is_err());
}

/// What a server repeats of a bound secret does not reach the controller; what the controller
/// knows anyway does.
#[tokio::test]
async fn reflections_are_masked() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE), ("PLAIN", "plain value")]);
    fixture.handle(BOUND, "STRIPE_KEY").await;
    let plain = fixture
        .get(
            "  - secrets:read: { keys: [PLAIN] }",
            &json!({"key": "PLAIN"}),
        )
        .await;
    assert_eq!(plain.0.as_deref(), Ok("plain value"));
    let body = format!(
        "{{\"sent\":\"Basic {}\",\"plain\":\"plain value\"}}",
        base64(&format!("{VALUE}:"))
    );
    let masked = fixture.session.mask(body.as_bytes()).expect("a reflection");
    let masked = String::from_utf8(masked).expect("text");
    assert!(
        masked.contains("[secret STRIPE_KEY]") && masked.contains("plain value"),
        "{masked}"
    );
    assert_eq!(fixture.session.mask(b"plain value"), None);
    assert_eq!(fixture.redactor.text(VALUE), "[secret STRIPE_KEY]");
}

/// While a value is exchanged, a request reads the old one or the new one; a handle stands for the
/// value it was given for, and both are redacted.
#[tokio::test]
async fn rotation_within_a_request() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let old = fixture.handle(BOUND, "STRIPE_KEY").await;
    std::fs::write(fixture.directory.join(".new"), "sk_live_rotated").expect("a file");
    std::fs::rename(
        fixture.directory.join(".new"),
        fixture.directory.join("STRIPE_KEY"),
    )
    .expect("renamed");
    let new = fixture.handle(BOUND, "STRIPE_KEY").await;
    assert_ne!(old, new);
    let expand = |value: &str| {
        fixture
            .session
            .expand(value, &host("api.stripe.com"), 443, true)
    };
    assert_eq!(expand(&old).as_deref(), Ok(VALUE));
    assert_eq!(expand(&new).as_deref(), Ok("sk_live_rotated"));
    let text = fixture.redactor.text("sk_live_51Hx sk_live_rotated");
    assert_eq!(text, "[secret STRIPE_KEY] [secret STRIPE_KEY]");
}

/// The policy has a say about each key.
#[tokio::test]
async fn the_policy_judges_keys() {
    let fixture = Fixture::new(&[("STRIPE_KEY", VALUE)]);
    let text = "name: t\nenvironment: development\nrules:\n  - { name: yes, effect: allow, capabilities: [\"secrets:read\"], resources: [STRIPE_KEY] }\n";
    let policy = Policy::parse(text.as_bytes(), "policy.yaml").expect("a policy");
    let grant = grant("  - secrets:read", &policy);
    for (key, code) in [
        ("STRIPE_KEY", None),
        ("OTHER", Some(ErrorCode::CapabilityDenied)),
    ] {
        let mut call =
            Call::begin(1, Method::SecretsGet, Instant::now(), &grant, &NoAudit).expect("declared");
        let params = json!({"key": key}).to_string();
        let answer = fixture.session.perform(&mut call, &params).await;
        assert_eq!(answer.err().map(|failure| failure.code), code);
    }
}

/// The store is a source like the others.
#[tokio::test]
async fn the_store_answers_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = StorePaths::beneath(folder.path(), None);
    let value = SecretValue::new(Zeroizing::new(VALUE.as_bytes().to_vec())).expect("a value");
    SecretStore::new(paths.clone())
        .set(&"STRIPE_KEY".parse().expect("a name"), &value)
        .expect("set");
    let options = SecretsOptions {
        store: Some(paths),
        ..SecretsOptions::default()
    };
    let secrets = Secrets::open(options).expect("open");
    let fixture = Fixture {
        session: SecretsSession::new(secrets, Redactor::new()),
        ..Fixture::new(&[])
    };
    let answer = fixture.get(LISTED, &json!({"key": "STRIPE_KEY"})).await.0;
    assert_eq!(answer.as_deref(), Ok(VALUE));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
