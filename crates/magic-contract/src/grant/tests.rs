//! Contract times policy, as tables of who may do what.

use super::*;
use crate::capability::CapabilityKind as Kind;

fn contract(lines: &str) -> Contract {
    let text = format!("name: InvoiceSync\nversion: 1.2.0\ninput: {{}}\noutput: {{}}\n{lines}");
    Contract::parse(text.as_bytes(), "contract.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(crate::Color::Never)))
}

fn policy(rules: &str) -> Policy {
    let text = format!("name: test\nenvironment: production\nrules:\n{rules}");
    Policy::parse(text.as_bytes(), "policies/test.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(crate::Color::Never)))
}

/// What the contract does not declare is E2001, with the line to write.
#[test]
fn undeclared_capabilities_name_the_line() {
    let grant = Grant::derive(&contract(""), &Policy::development());
    for kind in Kind::ALL {
        let failure = grant.check(*kind).unwrap_err();
        assert_eq!(failure.code, ErrorCode::CapabilityUndeclared);
        assert!(failure.message.contains(kind.example_line()), "{failure}");
        assert_eq!(failure.details["layer"], "contract");
    }
    assert!(grant.refusals().is_empty());
}

/// Bare capabilities run under the development policy and are refused in production, with advice.
#[test]
fn bare_capabilities_depend_on_the_environment() {
    let contract = contract(
        "capabilities: [db:read, db:rawsql, http:egress, secrets:read, queue:publish, cache:read, fs:temp]\n",
    );
    let development = Grant::derive(&contract, &Policy::development());
    assert!(development.refusals().is_empty());
    assert!(development.check(Kind::DbRawsql).is_ok());
    let production = Grant::derive(&contract, &Policy::production());
    let rules: Vec<_> = production
        .refusals()
        .iter()
        .map(|one| one.details["rule"].as_str().unwrap())
        .collect();
    assert_eq!(
        rules,
        [
            "no-bare-tables",
            "no-raw-sql",
            "no-bare-hosts",
            "no-bare-secrets",
            "no-bare-queues"
        ]
    );
    let failure = production.check(Kind::DbRead).unwrap_err();
    assert_eq!(failure.code, ErrorCode::CapabilityDenied);
    assert!(
        failure
            .message
            .contains("- db:read: { tables: [customers] }"),
        "{failure}"
    );
    assert!(
        failure.message.contains("policies/production.yaml:"),
        "{failure}"
    );
    assert!(production.check(Kind::CacheRead).is_ok());
}

/// Deny outweighs allow, and nothing is allowed by default.
#[test]
fn deny_takes_precedence_and_default_is_deny() {
    let contract = contract("capabilities: [{ db:read: { tables: [customers, salaries] } }]\n");
    let nothing = Grant::derive(&contract, &policy("  []"));
    let failure = nothing.check(Kind::DbRead).unwrap_err();
    assert!(
        failure.message.contains("no rule of policy `test`"),
        "{failure}"
    );
    assert!(
        failure.details["line"]
            .as_str()
            .unwrap()
            .contains("effect: allow")
    );
    let rules = "  - { name: all, effect: allow, capabilities: [\"db:*\"] }\n  - { name: pay, effect: deny, capabilities: [\"db:read\", \"db:write\"], resources: [\"sal*\"] }";
    let failure = Grant::derive(&contract, &policy(rules))
        .check(Kind::DbRead)
        .unwrap_err();
    assert_eq!(failure.details["rule"], "pay");
    assert_eq!(failure.details["target"], "salaries");
}

/// The line that a refusal prints really allows it.
#[test]
fn the_printed_line_works() {
    let contract = contract("capabilities: [{ db:read: { tables: [customers] } }]\n");
    let failure = Grant::derive(&contract, &policy("  []"))
        .check(Kind::DbRead)
        .unwrap_err();
    let line = failure.details["line"].as_str().unwrap();
    assert!(
        Grant::derive(&contract, &policy(&format!("  {line}")))
            .check(Kind::DbRead)
            .is_ok(),
        "{line}"
    );
}

/// Rules are chosen by controller, version and environment.
#[test]
fn rules_match_what_they_name() {
    let contract = contract("capabilities: [db:rawsql]\n");
    let allowed = |condition: &str| {
        let rule = format!(
            "  - {{ name: one, effect: allow, capabilities: [\"db:rawsql\"], {condition} }}"
        );
        Grant::derive(&contract, &policy(&rule))
            .check(Kind::DbRawsql)
            .is_ok()
    };
    for (condition, expected) in [
        ("controllers: [InvoiceSync]", true),
        ("controllers: [\"Invoice*\"]", true),
        ("controllers: [\"*Sync\"]", true),
        ("controllers: [Invoice]", false),
        ("versions: \">=1.2, <2\"", true),
        ("versions: \"<1.2\"", false),
        ("environments: [production]", true),
        ("environments: [development]", false),
        ("form: bare", true),
        ("form: listed", false),
    ] {
        assert_eq!(allowed(condition), expected, "{condition}");
    }
}

/// Each target of a call is judged: by the contract first, then by the policy.
#[test]
fn targets_are_judged_one_by_one() {
    let contract = contract(
        "capabilities:\n  - http:egress: { allow: [\"*.example.org\", \"localhost:9000\"] }\n  - db:read\n  - cache:read: { keys: [\"rates:*\"] }\n",
    );
    let grant = Grant::derive(
        &contract,
        &policy(
            "  - { name: all, effect: allow, capabilities: [\"*\"] }\n  - { name: admin, effect: deny, capabilities: [\"http:egress\"], resources: [admin.example.org] }\n  - { name: pay, effect: deny, capabilities: [\"db:read\"], resources: [salaries] }",
        ),
    );
    assert!(grant.refusals().is_empty(), "{:?}", grant.refusals());
    let host = |text: &str| Host::parse(text).unwrap();
    let egress = grant.check(Kind::HttpEgress).unwrap();
    let code = |result: Result<(), Failure>| result.err().map(|failure| failure.code);
    for (name, port, expected) in [
        ("api.example.org", 443, None),
        ("api.example.org", 80, Some(ErrorCode::TargetNotAllowed)),
        ("localhost", 9000, None),
        ("example.org", 443, Some(ErrorCode::TargetNotAllowed)),
        ("evil.org", 443, Some(ErrorCode::TargetNotAllowed)),
        ("admin.example.org", 443, Some(ErrorCode::CapabilityDenied)),
    ] {
        assert_eq!(
            code(egress.check(&Target::Host(&host(name), port))),
            expected,
            "{name}:{port}"
        );
    }
    let tables = grant.check(Kind::DbRead).unwrap();
    assert!(tables.check(&Target::Table("customers")).is_ok());
    assert_eq!(
        code(tables.check(&Target::Table("salaries"))),
        Some(ErrorCode::CapabilityDenied)
    );
    assert_eq!(
        code(tables.check(&Target::Queue("customers"))),
        Some(ErrorCode::TargetNotAllowed)
    );
    let cache = grant.check(Kind::CacheRead).unwrap();
    assert!(cache.check(&Target::CacheKey("rates:eur")).is_ok());
    assert_eq!(
        code(cache.check(&Target::CacheKey("other"))),
        Some(ErrorCode::TargetNotAllowed)
    );
}

/// A contract cannot ask for more than the policy gives, and is told which line says so.
#[test]
fn limits_of_the_policy_hold() {
    let contract = contract(
        "resources: { cpu: 2, memory: 2Gi, timeout: 15m, pids: 512 }\nconcurrency: 100\ncapabilities: [{ db:write: { tables: [a], max_rows: 20 } }, { fs:temp: { size: 64Mi } }]\n",
    );
    let text = "name: tight\nenvironment: production\nisolation: pristine\nlimits: { cpu: 1, memory: 1Gi, timeout: 1m, pids: 8, concurrency: 4, temp: 1Mi, rows: 10 }\nrules: [{ name: all, effect: allow, capabilities: [\"*\"] }]";
    let tight = Policy::parse(text.as_bytes(), "policies/tight.yaml").unwrap();
    let grant = Grant::derive(&contract, &tight);
    let limits: Vec<_> = grant
        .refusals()
        .iter()
        .map(|one| one.details["limit"].as_str().unwrap())
        .collect();
    assert_eq!(
        limits,
        [
            "resources.cpu",
            "resources.memory",
            "resources.timeout",
            "resources.pids",
            "concurrency",
            "db:write.rows",
            "fs:temp.temp",
            "isolation"
        ]
    );
    assert!(
        grant
            .refusals()
            .iter()
            .all(|one| one.code == ErrorCode::CapabilityDenied)
    );
}
