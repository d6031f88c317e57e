//! Contract times policy, as tables of who may do what.

use super::*;
use crate::capability::CapabilityKind as Kind;
use crate::error_code::ErrorCode;
use crate::host::Host;

mod lines;

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
            "built-in:no-raw-sql",
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
    let contract = contract("capabilities: [fs:temp]\n");
    let allowed = |condition: &str| {
        let rule =
            format!("  - {{ name: one, effect: allow, capabilities: [\"fs:temp\"], {condition} }}");
        Grant::derive(&contract, &policy(&rule))
            .check(Kind::FsTemp)
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

/// A rule in report mode denies nothing, and is told for what it would have denied.
#[test]
fn report_rules_say_what_they_would_deny() {
    let contract = contract("capabilities: [db:read, fs:temp]\n");
    let rules = |mode: &str| {
        policy(&format!(
            "  - {{ name: all, effect: allow, capabilities: [\"*\"] }}\n  - {{ name: pay, effect: deny, mode: {mode}, capabilities: [\"db:read\"], resources: [\"sal*\"] }}\n  - {{ name: no-files, effect: deny, mode: {mode}, capabilities: [\"fs:temp\"] }}"
        ))
    };
    let names = |references: &[RuleReference]| -> Vec<String> {
        references.iter().map(|one| one.name.clone()).collect()
    };
    let grant = Grant::derive(&contract, &rules("report"));
    assert!(grant.refusals().is_empty());
    let files = grant.judge(Kind::FsTemp);
    assert_eq!(files.decision.unwrap().name, "all");
    assert_eq!(names(&files.reported), ["no-files"]);
    let tables = grant.check(Kind::DbRead).unwrap();
    assert_eq!(names(tables.reported()), [""; 0]);
    let verdict = tables.judge(&Target::Table("salaries"));
    assert_eq!(verdict.decision.unwrap().place(), "policies/test.yaml:4");
    assert_eq!(names(&verdict.reported), ["pay"]);
    assert!(
        tables
            .judge(&Target::Table("customers"))
            .reported
            .is_empty()
    );

    let grant = Grant::derive(&contract, &rules("enforce"));
    let files = grant.judge(Kind::FsTemp);
    assert_eq!(files.decision.unwrap_err().details["rule"], "no-files");
    assert!(files.reported.is_empty());
    let verdict = grant
        .check(Kind::DbRead)
        .unwrap()
        .judge(&Target::Table("salaries"));
    assert_eq!(verdict.decision.unwrap_err().details["rule"], "pay");
}

/// Raw SQL is not handed out in service by a star.
#[test]
fn raw_sql_needs_a_rule_that_names_it() {
    let contract = contract("capabilities: [db:rawsql]\n");
    let rule = |environment: &str, condition: &str| {
        let text = format!(
            "name: test\nenvironment: {environment}\nrules: [{{ name: one, effect: allow, {condition} }}]"
        );
        let policy = Policy::parse(text.as_bytes(), "test.yaml").unwrap();
        Grant::derive(&contract, &policy)
            .judge(Kind::DbRawsql)
            .decision
    };
    for (condition, in_service) in [
        ("capabilities: [\"*\"]", false),
        (
            "capabilities: [\"db:*\"], controllers: [InvoiceSync]",
            false,
        ),
        ("capabilities: [\"db:rawsql\"]", false),
        ("capabilities: [\"db:rawsql\"], controllers: [\"*\"]", false),
        (
            "capabilities: [\"db:rawsql\"], controllers: [\"Invoice*\"]",
            true,
        ),
        (
            "capabilities: [\"db:*\", \"db:rawsql\"], controllers: [InvoiceSync]",
            true,
        ),
    ] {
        assert!(rule("development", condition).is_ok(), "{condition}");
        match rule("production", condition) {
            Ok(rule) => assert!(in_service && rule.name == "one", "{condition}"),
            Err(failure) => {
                assert!(!in_service, "{condition}");
                assert_eq!(failure.details["rule"], "built-in:no-raw-sql");
                assert_eq!(failure.details["rule_at"], "built in");
            }
        }
    }
}

/// Excepted controllers are not touched, by rules of either effect.
#[test]
fn exceptions_hold() {
    let contract = contract("capabilities: [fs:temp]\n");
    let allowed = |rules: &str| {
        Grant::derive(&contract, &policy(rules))
            .check(Kind::FsTemp)
            .is_ok()
    };
    assert!(!allowed(
        "  - { name: a, effect: allow, capabilities: [\"*\"], except: [\"Invoice*\"] }"
    ));
    assert!(allowed(
        "  - { name: a, effect: allow, capabilities: [\"*\"], except: [Other] }"
    ));
    let all = "  - { name: a, effect: allow, capabilities: [\"*\"] }\n";
    assert!(!allowed(&format!(
        "{all}  - {{ name: b, effect: deny, capabilities: [\"*\"], except: [Other] }}"
    )));
    assert!(allowed(&format!(
        "{all}  - {{ name: b, effect: deny, capabilities: [\"*\"], except: [InvoiceSync] }}"
    )));
}
