//! What is found in policies, and what is not.

use super::super::*;
use crate::contract::Contract;

fn policy(rules: &[&str]) -> Policy {
    let text = format!(
        "name: test\nenvironment: production\nrules:\n- {}",
        rules.join("\n- ")
    );
    Policy::parse(text.as_bytes(), "test.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(crate::Color::Never)))
}

fn contract(capabilities: &str) -> Contract {
    let text = format!(
        "name: InvoiceSync\nversion: 1.2.0\ninput: {{}}\noutput: {{}}\ncapabilities: {capabilities}"
    );
    Contract::parse(text.as_bytes(), "contract.yaml").unwrap()
}

fn found(policy: &Policy) -> Vec<(LintKind, String)> {
    let name = |one: LintFinding| (one.kind, one.rule.map(|rule| rule.name).unwrap_or_default());
    policy.lint(&[]).into_iter().map(name).collect()
}

/// The policies that come with the program are clean.
#[test]
fn built_in_policies_are_clean() {
    assert_eq!(Policy::development().lint(&[]), []);
    assert_eq!(Policy::production().lint(&[]), []);
}

/// A table: the rules, and what is found of the last one; each with a neighbour that is fine.
#[test]
fn useless_rules_are_found() {
    const ALL: &str = "{ name: all, effect: allow, capabilities: [\"*\"] }";
    const NEVER: Option<LintKind> = Some(LintKind::NeverMatches);
    const SHADOWED: Option<LintKind> = Some(LintKind::Shadowed);
    const REDUNDANT: Option<LintKind> = Some(LintKind::Redundant);
    const SILENT: Option<LintKind> = Some(LintKind::NeverReports);
    let table: &[(&[&str], &str, Option<LintKind>)] = &[
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], environments: [development]",
            NEVER,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], environments: [production]",
            None,
        ),
        (
            &[],
            "effect: allow, capabilities: [\"fs:temp\"], form: listed",
            NEVER,
        ),
        (
            &[],
            "effect: allow, capabilities: [\"fs:temp\"], form: bare",
            None,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], versions: \">=2, <2\"",
            NEVER,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], versions: \">1, <2\"",
            NEVER,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], versions: \">1.2, <1.4\"",
            None,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], versions: \"<0.0.1\"",
            None,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], controllers: [Ab], except: [\"A*\"]",
            NEVER,
        ),
        (
            &[ALL],
            "effect: deny, capabilities: [\"db:*\"], controllers: [\"A*\"], except: [Ab]",
            None,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"] }"],
            "effect: allow, capabilities: [\"db:read\"], controllers: [A]",
            SHADOWED,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"], except: [A] }"],
            "effect: allow, capabilities: [\"db:read\"], controllers: [A]",
            None,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"], except: [B] }"],
            "effect: allow, capabilities: [\"db:read\"], controllers: [A]",
            SHADOWED,
        ),
        (
            &["{ name: no, effect: deny, mode: report, capabilities: [\"db:read\"] }"],
            "effect: allow, capabilities: [\"db:read\"]",
            None,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"], form: bare }"],
            "effect: allow, capabilities: [\"db:read\"]",
            None,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"], resources: [\"s*\"] }"],
            "effect: allow, capabilities: [\"db:read\"], resources: [salaries]",
            SHADOWED,
        ),
        (
            &["{ name: no, effect: deny, capabilities: [\"db:read\"], resources: [\"s*\"] }"],
            "effect: allow, capabilities: [\"db:read\"], resources: [salaries, customers]",
            None,
        ),
        (
            &[],
            "effect: allow, capabilities: [\"db:rawsql\"]",
            SHADOWED,
        ),
        (
            &[],
            "effect: allow, capabilities: [\"db:rawsql\"], controllers: [A]",
            None,
        ),
        (
            &[ALL],
            "effect: allow, capabilities: [\"db:rawsql\"], controllers: [A]",
            None,
        ),
        (
            &[ALL],
            "effect: allow, capabilities: [\"db:read\"], resources: [a]",
            REDUNDANT,
        ),
        (&[ALL], "effect: allow, capabilities: [\"*\"]", REDUNDANT),
        (
            &["{ name: part, effect: allow, capabilities: [\"db:read\"], resources: [b] }"],
            "effect: allow, capabilities: [\"db:read\"], resources: [a]",
            None,
        ),
        (
            &[
                ALL,
                "{ name: no, effect: deny, capabilities: [\"http:egress\"], resources: [\"*.a.org\"] }",
            ],
            "effect: deny, capabilities: [\"http:egress\"], resources: [b.a.org]",
            REDUNDANT,
        ),
        (
            &[
                ALL,
                "{ name: no, effect: deny, capabilities: [\"http:egress\"], resources: [\"*.a.org\"] }",
            ],
            "effect: deny, capabilities: [\"http:egress\"], resources: [\"b.a.org:80\"]",
            None,
        ),
        (
            &[],
            "effect: deny, mode: report, capabilities: [\"db:read\"]",
            SILENT,
        ),
        (
            &[ALL],
            "effect: deny, mode: report, capabilities: [\"db:read\"]",
            None,
        ),
        (
            &[ALL],
            "effect: deny, mode: report, capabilities: [\"db:rawsql\"]",
            SILENT,
        ),
        (
            &[ALL, "{ name: no, effect: deny, capabilities: [\"db:*\"] }"],
            "effect: deny, mode: report, capabilities: [\"db:read\"]",
            SILENT,
        ),
    ];
    for (others, rule, expected) in table {
        let rule = format!("{{ name: last, {rule} }}");
        let found = found(&policy(&[others, [rule.as_str()].as_slice()].concat()));
        let last = found
            .iter()
            .find(|(_, name)| name == "last")
            .map(|(kind, _)| *kind);
        assert_eq!(last, *expected, "{others:?} {rule}: {found:?}");
    }
}

/// With contracts: who can never be served, and which rules touch nobody.
#[test]
fn contracts_are_held_against_the_policy() {
    let policy = policy(&[
        "{ name: tables, effect: allow, capabilities: [\"db:read\"], form: listed }",
        "{ name: files, effect: allow, capabilities: [\"fs:temp\"] }",
    ]);
    let fine = policy.lint(&[contract("[{ db:read: { tables: [a] } }, fs:temp]")]);
    assert_eq!(fine, []);
    let findings = policy.lint(&[contract("[db:write]")]);
    let kinds: Vec<_> = findings.iter().map(|one| one.kind).collect();
    assert_eq!(
        kinds,
        [LintKind::Unused, LintKind::Unused, LintKind::Unpermitted]
    );
    assert!(
        findings[2].message.contains("db:write"),
        "{}",
        findings[2].message
    );
    // Raw SQL is permitted in development, so this one is not hopeless.
    let policy = Policy::parse(b"name: a\nenvironment: production\nrules: [{ name: all, effect: allow, capabilities: [\"*\"] }]", "x").unwrap();
    assert_eq!(policy.lint(&[contract("[db:rawsql]")]), []);
}
