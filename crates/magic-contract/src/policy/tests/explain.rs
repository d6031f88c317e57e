//! Explanations tell what the grant decides, and why.

use proptest::prelude::*;

use super::super::*;
use crate::capability::CapabilityKind as Kind;
use crate::contract::Contract;
use crate::grant::{Grant, NamedTarget};

fn contract(capabilities: &str) -> Contract {
    let text = format!(
        "name: InvoiceSync\nversion: 1.2.0\ninput: {{}}\noutput: {{}}\ncapabilities: {capabilities}"
    );
    Contract::parse(text.as_bytes(), "contract.yaml").unwrap()
}

fn policy(rules: &str) -> Policy {
    Policy::parse(
        format!("name: test\nenvironment: production\nrules:\n{rules}").as_bytes(),
        "test.yaml",
    )
    .unwrap()
}

/// The question that people really ask.
#[test]
fn raw_sql_that_nobody_declared() {
    let explanation = Policy::production().explain(&contract("[]"), Kind::DbRawsql, None);
    assert!(!explanation.is_allowed());
    let json = explanation.to_json();
    assert_eq!(json["refusal"]["code"], "E2001");
    assert_eq!(json["if_declared"]["rule"]["name"], "built-in:no-raw-sql");
    let text = explanation.render();
    for part in [
        "denied: InvoiceSync 1.2.0, db:rawsql",
        "contract: E2001",
        "if it were declared: policy: E2002",
        "built-in:no-raw-sql",
        "effect: allow, capabilities: [\"db:rawsql\"], controllers: [InvoiceSync]",
        "does not match: it is about db:read, db:write",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let explanation = Policy::development().explain(&contract("[db:rawsql]"), Kind::DbRawsql, None);
    assert!(explanation.is_allowed());
    assert!(
        explanation
            .render()
            .contains("allowed by rule everything-declared (policies/development.yaml:")
    );
}

/// Every rule has its note.
#[test]
fn every_rule_is_accounted_for() {
    let policy = policy(
        "- { name: other-kind, effect: allow, capabilities: [\"fs:temp\"] }\n\
         - { name: other-form, effect: deny, capabilities: [\"db:read\"], form: bare }\n\
         - { name: other-place, effect: deny, capabilities: [\"db:read\"], environments: [development] }\n\
         - { name: other-name, effect: deny, capabilities: [\"db:read\"], controllers: [A, \"B*\"] }\n\
         - { name: excepted, effect: deny, capabilities: [\"db:read\"], except: [\"Inv*\"] }\n\
         - { name: other-version, effect: deny, capabilities: [\"db:read\"], versions: \"<1\" }\n\
         - { name: other-target, effect: deny, capabilities: [\"db:read\"], resources: [salaries] }\n\
         - { name: trial, effect: deny, mode: report, capabilities: [\"db:read\"], resources: [\"cust*\"] }\n\
         - { name: first, effect: allow, capabilities: [\"db:read\"] }\n\
         - { name: second, effect: allow, capabilities: [\"db:*\"] }\n",
    );
    let contract = contract("[{ db:read: { tables: [customers, salaries] } }]");
    let ask = |target: &str| {
        let target = NamedTarget::parse(Kind::DbRead, target).unwrap();
        policy.explain(&contract, Kind::DbRead, Some(&target))
    };
    let notes = |explanation: &Explanation| -> Vec<(bool, String)> {
        explanation
            .rules
            .iter()
            .map(|one| (one.matches, one.note.clone()))
            .collect()
    };
    // The contract lists what a rule denies altogether, so the capability is refused as a whole.
    let whole = policy.explain(&contract, Kind::DbRead, None);
    assert_eq!(whole.rule.as_ref().unwrap().name, "other-target");
    assert_eq!(whole.refusal().unwrap().details["target"], "salaries");
    let customers = self::contract("[{ db:read: { tables: [customers] } }]");
    let target = NamedTarget::parse(Kind::DbRead, "customers").unwrap();
    let explanation = policy.explain(&customers, Kind::DbRead, Some(&target));
    assert!(explanation.is_allowed());
    assert_eq!(explanation.reported[0].name, "trial");
    let expected = [
        (false, "does not match: it is about fs:temp"),
        (false, "does not match: it is about the bare form"),
        (
            false,
            "does not match: it is about the environment development",
        ),
        (false, "does not match: it is about A, B*"),
        (false, "does not match: it excepts Inv*"),
        (false, "does not match: it is about versions <1"),
        (false, "does not match: its targets are salaries"),
        (true, "would deny, but only reports"),
        (true, "allows, and decides"),
        (true, "allows, as an earlier rule does"),
    ]
    .map(|(matches, note)| (matches, note.to_owned()));
    assert_eq!(notes(&explanation), expected);
    let denied = notes(&ask("salaries"));
    assert_eq!(denied[6], (true, "denies, and decides".to_owned()));
    assert_eq!(
        denied[8],
        (true, "allows, outweighed by other-target".to_owned())
    );
}

fn rule() -> impl Strategy<Value = String> {
    let some = |values: &'static [&'static str]| prop::sample::select(values);
    (
        some(&["allow", "deny", "deny, mode: report"]),
        some(&["*", "db:*", "db:read", "db:rawsql"]),
        some(&["", ", form: bare", ", form: listed"]),
        some(&[
            "",
            ", controllers: [InvoiceSync]",
            ", controllers: [Other]",
            ", except: [\"In*\"]",
        ]),
    )
        .prop_map(|(effect, kind, form, who)| {
            format!("effect: {effect}, capabilities: [\"{kind}\"]{form}{who}")
        })
}

proptest! {
    /// An explanation decides as the grant does, and the rule that it names has its mark. A policy
    /// that was searched loses nothing by the rules that were found useless.
    #[test]
    fn explanations_and_searches_agree_with_grants(
        rules in prop::collection::vec(rule(), 0..6),
        capabilities in prop::sample::select(vec!["[]", "[db:read, db:rawsql]", "[{ db:read: { tables: [a, b] } }]"]),
        kind in prop::sample::select(vec![Kind::DbRead, Kind::DbRawsql, Kind::FsTemp]),
    ) {
        let write = |keep: &dyn Fn(usize) -> bool| {
            let lines: Vec<String> = rules.iter().enumerate().filter(|(index, _)| keep(*index))
                .map(|(index, rule)| format!("- {{ name: r{index}, {rule} }}\n")).collect();
            if lines.is_empty() { policy(" []") } else { policy(&lines.concat()) }
        };
        let whole = write(&|_| true);
        let contract = contract(capabilities);
        let decision = Grant::derive(&contract, &whole).judge(kind).decision;
        let explanation = whole.explain(&contract, kind, None);
        prop_assert_eq!(decision.is_ok(), explanation.is_allowed());
        if let Ok(rule) = &decision {
            prop_assert_eq!(Some(rule), explanation.rule.as_ref());
        }
        if let Err(failure) = &decision {
            prop_assert_eq!(Some(failure), explanation.refusal());
        }
        if let Some(rule) = &explanation.rule {
            let marked = explanation.rules.iter().any(|one| one.rule == *rule && one.note.ends_with("decides"));
            prop_assert!(marked, "{}", explanation.render());
        }
        for finding in whole.lint(&[]) {
            let name = finding.rule.unwrap().name;
            let without = write(&|index| format!("r{index}") != name);
            let again = Grant::derive(&contract, &without).judge(kind).decision;
            prop_assert_eq!(decision.is_ok(), again.is_ok(), "{:?} {}", finding.kind, name);
        }
    }
}
