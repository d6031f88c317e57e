//! The page about policies: every example on it is read, and every case on it comes out as it says.

use magic_contract::{CaseSubject, Color, Policy, PolicyCases};

const PAGE: &str = include_str!("../../../../docs/policy.md");

/// The fenced blocks of this kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let opening = format!("```yaml {kind}\n");
    PAGE.split(opening.as_str())
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_examples_of_the_page_work() {
    let policies = blocks("policy");
    assert_eq!(policies.len(), 1);
    let policy = Policy::parse(policies[0].as_bytes(), "house.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(Color::Never)));
    assert_eq!(policy.lint(&[]), []);
    let mut judged = 0;
    for block in blocks("cases") {
        let cases = PolicyCases::parse(block.as_bytes(), "cases.yaml")
            .unwrap_or_else(|problems| panic!("{}", problems.render(Color::Never)));
        assert_eq!(cases.policy.as_deref(), Some("house.yaml"));
        for case in &cases.cases {
            let CaseSubject::Contract(contract) = &case.subject else {
                panic!("the page cannot know controllers");
            };
            let outcome = case.run(&policy, contract);
            let shown = outcome.explanation.render();
            assert_eq!(outcome.problem, None, "{}\n{shown}", case.name);
            judged += 1;
        }
        // The rule on trial is told.
        let last = cases.cases.last().unwrap();
        let CaseSubject::Contract(contract) = &last.subject else {
            panic!("the page cannot know controllers");
        };
        let reported = last.run(&policy, contract).explanation.reported;
        assert_eq!(reported[0].name, "trial-no-old-billing");
    }
    assert_eq!(judged, 7);
    // No block is left out by a misspelt opening.
    assert_eq!(PAGE.matches("```yaml").count(), 2);
}

/// Every key that a rule can have is explained.
#[test]
fn the_page_names_every_key() {
    for key in [
        "name",
        "effect",
        "mode",
        "capabilities",
        "form",
        "environments",
        "controllers",
        "except",
        "versions",
        "resources",
        "advice",
    ] {
        assert!(PAGE.contains(&format!("`{key}")), "{key}");
    }
}
