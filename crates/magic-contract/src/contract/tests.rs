//! Valid contracts: the whole grammar, its defaults, and what is said of it as metadata.

use serde_json::json;

use super::*;

fn parse(text: &str) -> Contract {
    Contract::parse(text.as_bytes(), "contract.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(crate::Color::Never)))
}

const WHOLE: &str = r#"
name: InvoiceSync            # PascalCase
version: 1.2.0
input:  { type: object, properties: { id: { type: string, format: uuid } } }
output: { $schema: "https://json-schema.org/draft/2020-12/schema", type: object }
capabilities:
  - db:read:     { tables: [customers, billing.invoices] }
  - db:write:    { tables: [sync_log], max_rows: 100 }
  - db:rawsql
  - http:egress: { allow: [api.stripe.com, "*.example.org", "localhost:9000"], methods: [POST] }
  - secrets:read: { keys: [STRIPE_KEY], only_for: [api.stripe.com] }
  - queue:publish: { queues: [invoices] }
  - queue:subscribe: { queues: [invoices] }
  - cache:read: { keys: ["rates:*"] }
  - cache:write
  - fs:temp: { size: 16Mi }
resources: { cpu: 0.5, memory: 256Mi, timeout: 30s, pids: 32 }
observability: { log_fields: [customer_id], metrics: [controller_duration_seconds] }
isolation: pristine
effects: immediate
concurrency: 8
examples: [{ input: { id: "0b0e6c4e-7f1d-4c0e-9a39-0a3a1c3b2f11" }, output: {} }]
triggers:
  - queue: invoices
"#;

/// Everything that the grammar has is read, and said again in the metadata.
#[test]
fn the_whole_grammar_is_read() {
    let contract = parse(WHOLE);
    assert!(contract.warnings.is_empty(), "{}", contract.warnings);
    assert_eq!(contract.name.as_str(), "InvoiceSync");
    assert_eq!(contract.version.to_string(), "1.2.0");
    assert_eq!(contract.capabilities.len(), CapabilityKind::ALL.len());
    assert_eq!(contract.isolation, Isolation::Pristine);
    assert_eq!(contract.effects, Effects::Immediate);
    assert_eq!(contract.concurrency, NonZeroU32::new(8));
    assert_eq!(contract.triggers.len(), 1);
    assert_eq!(contract.examples.len(), 1);
    assert!(
        contract
            .capability(CapabilityKind::CacheWrite)
            .unwrap()
            .is_bare()
    );
    let metadata = contract.to_json();
    assert_eq!(
        metadata["capabilities"][1],
        json!({ "db:write": { "tables": ["sync_log"], "max_rows": 100 } })
    );
    assert_eq!(metadata["capabilities"][8], json!("cache:write"));
    assert_eq!(
        metadata["resources"],
        json!({ "cpu": 0.5, "memory": "256Mi", "timeout": "30s", "pids": 32 })
    );
}

/// The metadata is itself a contract, and the same one.
#[test]
fn metadata_is_a_contract() {
    let contract = parse(WHOLE);
    let again = parse(&serde_json::to_string_pretty(&contract.to_json()).unwrap());
    assert_eq!(again.to_json(), contract.to_json());
    assert_eq!(again.capabilities, contract.capabilities);
    assert_eq!(again.resources, contract.resources);
}

/// What is left out has the documented default.
#[test]
fn defaults_are_documented_ones() {
    let contract = parse("name: A\nversion: 0.1.0\ninput: {}\noutput: true\n");
    assert_eq!(contract.resources, Resources::default());
    assert_eq!(contract.isolation, Isolation::Request);
    assert_eq!(contract.effects, Effects::OnSuccess);
    assert_eq!(contract.concurrency, None);
}

/// Absent, null and empty capabilities all mean nothing.
#[test]
fn nothing_has_many_spellings() {
    for spelling in [
        "",
        "capabilities:\n",
        "capabilities: null\n",
        "capabilities: []\n",
        "capabilities: {}\n",
        "capabilities: ~\n",
    ] {
        let contract = parse(&format!(
            "name: A\nversion: 0.1.0\ninput: {{}}\noutput: {{}}\n{spelling}"
        ));
        assert!(contract.capabilities.is_empty(), "{spelling:?}");
    }
}

/// An allow list that is empty, null, missing or a wildcard for everything is never read as a grant.
#[test]
fn open_allow_lists_are_refused() {
    for list in [
        "[]",
        "null",
        "[\"\"]",
        "[\"*\"]",
        "[\"*.com\"]",
        "[\"example.*\"]",
        "\"*\"",
        "{}",
        "[null]",
        "[[]]",
    ] {
        let text = format!(
            "name: A\nversion: 0.1.0\ninput: {{}}\noutput: {{}}\ncapabilities:\n  - http:egress: {{ allow: {list} }}\n"
        );
        let problems = Contract::parse(text.as_bytes(), "contract.yaml").unwrap_err();
        assert_eq!(problems.code(), crate::ErrorCode::InvalidContract, "{list}");
    }
    for options in ["{}", "{ methods: [GET] }", "", "[]"] {
        let text = format!(
            "name: A\nversion: 0.1.0\ninput: {{}}\noutput: {{}}\ncapabilities:\n  - http:egress: {options}\n"
        );
        assert!(
            Contract::parse(text.as_bytes(), "contract.yaml").is_err(),
            "{options:?}"
        );
    }
}

/// The ends of every range are inside.
#[test]
fn ranges_include_their_ends() {
    let with = |resources: &str| {
        let text = format!(
            "name: A\nversion: 0.1.0\ninput: {{}}\noutput: {{}}\nresources: {{ {resources} }}\n"
        );
        Contract::parse(text.as_bytes(), "contract.yaml").map(|contract| contract.resources)
    };
    for good in [
        "cpu: 0.1",
        "cpu: 2",
        "cpu: 2.0",
        "memory: 32Mi",
        "memory: 2Gi",
        "timeout: 10ms",
        "timeout: 15m",
        "pids: 1",
        "pids: 512",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "cpu: 0.099",
        "cpu: 2.001",
        "memory: 31Mi",
        "memory: 2049Mi",
        "timeout: 9ms",
        "timeout: 901s",
        "pids: 0",
        "pids: 513",
        "pids: 1.5",
        "cpu: -1",
        "cpu: true",
        "memory: [1]",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}
