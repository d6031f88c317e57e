//! The built-in policies, and policies that must be refused.

use super::*;

mod cases;
mod explain;
mod hostile;
mod lint;

fn problems(text: &str) -> Vec<String> {
    let found = Policy::parse(text.as_bytes(), "policy.yaml").unwrap_err();
    found.iter().map(|one| one.message.clone()).collect()
}

/// Both built-in policies are valid, differ, and say what the design says of them.
#[test]
fn the_built_in_policies_are_valid() {
    for (text, file) in [
        (DEVELOPMENT, "policies/development.yaml"),
        (PRODUCTION, "policies/production.yaml"),
    ] {
        if let Err(found) = Policy::parse(text.as_bytes(), file) {
            panic!("{}", found.render(crate::Color::Never));
        }
    }
    let (development, production) = (Policy::development(), Policy::production());
    assert_eq!(development.environment, Environment::Development);
    assert_eq!(production.environment, Environment::Production);
    assert!(
        production
            .layers
            .iter()
            .all(|(_, one)| one == Requirement::Required)
    );
    assert_eq!(
        development.layers.requirement(SandboxLayer::CgroupLimits),
        Requirement::BestEffort
    );
    assert_eq!(
        development.layers.requirement(SandboxLayer::Seccomp),
        Requirement::Required
    );
    assert!(production.address_classes.is_empty());
    assert_ne!(development.hash(), production.hash());
    assert_eq!(development.hash().len(), 64);
}

/// The hash is of what a policy says, not of its comments.
#[test]
fn the_hash_ignores_layout() {
    let one = Policy::parse(b"name: a\nenvironment: production\nrules: []", "x").unwrap();
    let other = Policy::parse(
        b"# hello\nrules: []\nenvironment: production\nname: a\nlayers: {}\n",
        "y",
    )
    .unwrap();
    assert_eq!(one.hash(), other.hash());
    let third = Policy::parse(b"name: b\nenvironment: production\nrules: []", "x").unwrap();
    assert_ne!(one.hash(), third.hash());
}

/// A policy is a closed language: every mistake is found, none is ignored.
#[test]
fn mistakes_are_refused() {
    let head = "name: a\nenvironment: production\n";
    for (text, part) in [
        ("{}".to_owned(), "lacks the section `name`"),
        (format!("{head}rules: {{}}"), "must be a list"),
        (
            format!("{head}rules: []\nlayer: {{}}"),
            "unknown key `layer`",
        ),
        (
            format!("{head}rules: []\nlayers: {{ seccmp: off }}"),
            "unknown key `seccmp`",
        ),
        (
            format!("{head}rules: []\nlayers: {{ seccomp: no }}"),
            "cannot be \"no\"",
        ),
        (
            format!("{head}rules: []\nlimits: {{ memory: 3Gi }}"),
            "too large",
        ),
        (
            format!("{head}rules: []\nnetwork: {{ ranges: [10.0.0.1/8] }}"),
            "not a valid address range",
        ),
        (
            format!("{head}rules: []\nnetwork: {{ classes: [public] }}"),
            "cannot be \"public\"",
        ),
        (
            format!("{head}rules: [{{ effect: allow, capabilities: [\"*\"] }}]"),
            "lacks `name`",
        ),
        (
            format!("{head}rules: [{{ name: a, capabilities: [\"*\"] }}]"),
            "lacks `effect`",
        ),
        (
            format!("{head}rules: [{{ name: a, effect: permit, capabilities: [\"*\"] }}]"),
            "cannot be \"permit\"",
        ),
        (
            format!("{head}rules: [{{ name: a, effect: deny, capabilities: [] }}]"),
            "is empty",
        ),
        (
            format!("{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:reed\"] }}]"),
            "cannot be \"db:reed\"",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"*\"], resources: [a] }}]"
            ),
            "no common kind",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:read\"], resources: [] }}]"
            ),
            "is empty",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:read\"], resources: null }}]"
            ),
            "names nothing",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"http:egress\"], resources: [\"*.com\"] }}]"
            ),
            "not a host",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:*\"], controllers: [\"A*B\"] }}]"
            ),
            "not a pattern",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:*\"], versions: \"!!\" }}]"
            ),
            "version requirement",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:*\"], contollers: [A] }}]"
            ),
            "unknown key `contollers`",
        ),
        (
            format!(
                "{head}rules:\n- {{ name: a, effect: deny, capabilities: [\"db:*\"] }}\n- {{ name: a, effect: deny, capabilities: [\"db:*\"] }}"
            ),
            "another rule `a`",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: allow, mode: report, capabilities: [\"db:*\"] }}]"
            ),
            "cannot only report",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, mode: audit, capabilities: [\"db:*\"] }}]"
            ),
            "cannot be \"audit\"",
        ),
        (
            format!(
                "{head}rules: [{{ name: a, effect: deny, capabilities: [\"db:*\"], except: [] }}]"
            ),
            "is empty",
        ),
        (
            format!(
                "{head}rules: [{{ name: \"built-in:no-raw-sql\", effect: deny, capabilities: [\"db:*\"] }}]"
            ),
            "cannot name a rule",
        ),
    ] {
        let found = problems(&text);
        assert!(
            found.iter().any(|message| message.contains(part)),
            "{text}\n{found:?}"
        );
    }
}

/// Ranges are exact.
#[test]
fn ranges_contain_their_addresses() {
    let contains = |range: &str, address: &str| {
        range
            .parse::<AddressRange>()
            .unwrap()
            .contains(address.parse().unwrap())
    };
    assert!(contains("10.1.0.0/16", "10.1.255.255"));
    assert!(!contains("10.1.0.0/16", "10.2.0.0"));
    assert!(contains("0.0.0.0/0", "8.8.8.8"));
    assert!(!contains("0.0.0.0/0", "::1"));
    assert!(contains("::1/128", "::1"));
    assert!(!contains("::/0", "1.2.3.4"));
    for text in [
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::/129",
        "a/8",
        "10.0.0.0/+8",
        "10.0.0.0/",
    ] {
        assert!(text.parse::<AddressRange>().is_err(), "{text}");
    }
}

/// A policy written out in full says the same.
#[test]
fn policies_round_trip() {
    let odd = "name: \"a: b #\"\nenvironment: production\nisolation: pristine\nlayers: { seccomp: off }\nnetwork: { classes: [loopback], ranges: [10.1.0.0/16, \"fd00::/8\"] }\nrules:\n- { name: a, effect: deny, mode: report, capabilities: [\"db:*\", \"db:rawsql\"], form: listed, environments: [production], controllers: [\"A*\", No], except: [\"*B\"], versions: \">=1.2, <2\", advice: \"say: \\\"no\\\" \\\\ é\" }\n- { name: b, effect: allow, capabilities: [\"http:egress\"], resources: [\"*.example.org:8443\", \"[::1]:80\", \"*\"] }";
    let odd = Policy::parse(odd.as_bytes(), "x").unwrap();
    for policy in [Policy::development(), Policy::production(), odd] {
        let text = policy.to_yaml();
        match Policy::parse(text.as_bytes(), "x") {
            Ok(again) => assert_eq!(again.hash(), policy.hash(), "{text}"),
            Err(problems) => panic!("{text}\n{}", problems.render(crate::Color::Never)),
        }
    }
}
