//! Files of cases: what they say, and what is refused in them.

use super::super::*;

const HEAD: &str = "cases:\n- { name: a, capability: \"db:read\"";

/// Cases pass and fail for their reasons.
#[test]
fn cases_are_judged() {
    let policy = Policy::production();
    for (rest, problem) in [
        (
            "contract: { capabilities: [{ db:read: { tables: [a] } }] }, target: a, expect: allow, rule: listed-targets",
            None,
        ),
        (
            "contract: { capabilities: [{ db:read: { tables: [a] } }] }, target: a, expect: allow, rule: other",
            Some("expected rule other to decide, but listed-targets did"),
        ),
        (
            "contract: { capabilities: [{ db:read: { tables: [a] } }] }, target: b, expect: deny",
            None,
        ),
        (
            "contract: { capabilities: [{ db:read: { tables: [a] } }] }, target: b, expect: deny, rule: listed-targets",
            Some("but no rule did"),
        ),
        (
            "contract: { capabilities: [db:read] }, expect: deny, rule: no-bare-tables",
            None,
        ),
        (
            "contract: { capabilities: [db:read] }, expect: allow",
            Some("expected allow, came out as deny: E2002"),
        ),
        ("contract: {}, expect: allow", Some("E2001")),
    ] {
        let text = format!("{HEAD}, {rest} }}");
        let cases = PolicyCases::parse(text.as_bytes(), "cases.yaml")
            .unwrap_or_else(|problems| panic!("{}", problems.render(crate::Color::Never)));
        let CaseSubject::Contract(contract) = &cases.cases[0].subject else {
            panic!("{cases:?}");
        };
        let outcome = cases.cases[0].run(&policy, contract);
        match problem {
            None => assert_eq!(outcome.problem, None, "{rest}"),
            Some(part) => {
                let said = outcome.problem.unwrap_or_default();
                assert!(said.contains(part), "{rest}: {said}");
            }
        }
    }
}

/// Mistakes in a file of cases are found with their place.
#[test]
fn mistakes_in_cases_are_refused() {
    for (text, part) in [
        ("{}".to_owned(), "lacks `cases`"),
        ("cases: []".to_owned(), "is empty"),
        (format!("{HEAD}, expect: allow }}"), "either `controller` or `contract`"),
        (format!("{HEAD}, controller: A, contract: {{}}, expect: allow }}"), "either `controller` or `contract`"),
        (format!("{HEAD}, controller: A, expect: perhaps }}"), "cannot be \"perhaps\""),
        (format!("{HEAD}, controller: A }}"), "lacks `expect`"),
        (format!("{HEAD}, controller: A, expect: deny, target: \"a*\" }}"), "single target"),
        (format!("{HEAD}, controller: A, expect: deny, target: \"a b\" }}"), "table name must be"),
        (format!("{HEAD}, controller: A, expect: deny, tagret: a }}"), "unknown key `tagret`"),
        (format!("{HEAD}, contract: {{ capabilities: [db:reed] }}, expect: deny }}"), "db:reed"),
        ("cases:\n- { name: a, capability: \"fs:temp\", controller: A, target: a, expect: deny }".to_owned(), "has no targets"),
    ] {
        let problems = PolicyCases::parse(text.as_bytes(), "cases.yaml").unwrap_err();
        let found: Vec<_> = problems.iter().map(|one| one.message.clone()).collect();
        assert!(found.iter().any(|one| one.contains(part)), "{text}\n{found:?}");
    }
}
