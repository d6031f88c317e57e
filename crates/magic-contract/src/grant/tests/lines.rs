//! The proof of the printed lines: each is pasted where the refusal says, and then it is allowed.

use proptest::prelude::*;

use super::*;
use crate::capability::{CapabilityKind as Kind, HttpMethod};
use crate::failure::Failure;

/// A contract and a policy as the lines that people would edit.
#[derive(Debug, Clone)]
struct Documents {
    capabilities: Vec<String>,
    contract: Vec<String>,
    environment: &'static str,
    policy: Vec<String>,
    rules: Vec<String>,
}

impl Documents {
    fn new(capabilities: &[&str], environment: &'static str, rules: &[&str]) -> Self {
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("- {line}")).collect();
        Self {
            capabilities: lines(capabilities),
            contract: Vec::new(),
            environment,
            policy: Vec::new(),
            rules: lines(rules),
        }
    }

    fn contract(&self) -> Contract {
        let text = format!(
            "name: InvoiceSync\nversion: 1.2.0\ninput: {{}}\noutput: {{}}\n{}\ncapabilities:\n{}",
            self.contract.join("\n"),
            self.capabilities.join("\n")
        );
        Contract::parse(text.as_bytes(), "contract.yaml")
            .unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(crate::Color::Never)))
    }

    fn policy(&self) -> Policy {
        let rules = if self.rules.is_empty() { " []" } else { "" };
        let text = format!(
            "name: test\nenvironment: {}\n{}\nrules:{rules}\n{}",
            self.environment,
            self.policy.join("\n"),
            self.rules.join("\n")
        );
        Policy::parse(text.as_bytes(), "policies/test.yaml")
            .unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(crate::Color::Never)))
    }

    fn grant(&self) -> Grant {
        Grant::derive(&self.contract(), &self.policy())
    }

    /// Does what the refusal says, to the letter.
    fn paste(&mut self, failure: &Failure) {
        let detail = |key: &str| failure.details.get(key).and_then(serde_json::Value::as_str);
        let line = detail("line")
            .unwrap_or_else(|| panic!("no line: {failure:?}"))
            .to_owned();
        let replaces = detail("line_replaces");
        let replace = |lines: &mut Vec<String>, is_meant: &dyn Fn(&str) -> bool| {
            let place = lines.iter().position(|one| is_meant(one));
            let place =
                place.unwrap_or_else(|| panic!("nothing to replace: {failure:?} in {lines:?}"));
            lines[place].clone_from(&line);
        };
        match (detail("line_in"), replaces) {
            (Some("contract"), None) => self.capabilities.push(line),
            (Some("contract"), Some("isolation")) => self.contract.push(line),
            (Some("contract"), Some(entry)) => {
                let kind = entry
                    .split('`')
                    .nth(1)
                    .expect("a capability in back quotes");
                replace(&mut self.capabilities, &|one| {
                    one == format!("- {kind}") || one.starts_with(&format!("- {kind}:"))
                });
            }
            (Some("policy"), None) => self.rules.push(line),
            (Some("policy"), Some("limits")) => {
                self.policy.retain(|one| !one.starts_with("limits:"));
                self.policy.push(line);
            }
            (Some("policy"), Some(rule)) => {
                let name = rule.split(' ').nth(1).expect("a rule's name");
                replace(&mut self.rules, &|one| {
                    one.contains(&format!("name: {name},"))
                });
            }
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, kind: Kind, target: Option<&str>) -> Result<(), Failure> {
        let grant = self.grant();
        let allowance = grant.check(kind)?;
        match target {
            Some(target) => {
                let target = NamedTarget::parse(kind, target).unwrap();
                allowance.check(&target.as_target())
            }
            None => Ok(()),
        }
    }
}

/// Pastes line after line until it is allowed; how many it took.
#[track_caller]
fn follow(documents: &mut Documents, ask: impl Fn(&Documents) -> Result<(), Failure>) -> usize {
    for pasted in 0..6 {
        match ask(documents) {
            Ok(()) => return pasted,
            Err(failure) => {
                assert!(
                    failure.details.contains_key("layer"),
                    "without layer: {failure:?}"
                );
                documents.paste(&failure);
            }
        }
    }
    panic!("still refused: {documents:#?}");
}

const ALL: &str = "{ name: all, effect: allow, capabilities: [\"*\"] }";

/// A target of the kind, and the list that a contract writes for another one.
fn examples(kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::DbRead => ("billing.invoices", "db:read: { tables: [other] }"),
        Kind::DbWrite => ("null", "db:write: { tables: [other], max_rows: 7 }"),
        Kind::HttpEgress => (
            "127.0.0.1:9000",
            "http:egress: { allow: [\"*.example.org\", \"[::1]:80\"], methods: [GET] }",
        ),
        Kind::SecretsRead => (
            "Yes",
            "secrets:read: { keys: [OTHER], only_for: [a.example.org] }",
        ),
        Kind::QueuePublish => ("1e5", "queue:publish: { queues: [other] }"),
        Kind::QueueSubscribe => ("on", "queue:subscribe: { queues: [other] }"),
        Kind::CacheRead => ("a:\"b\\c#{}[],", "cache:read: { keys: [\"rates:*\"] }"),
        Kind::CacheWrite => ("'x': y", "cache:write: { keys: [\"rates:*\"] }"),
        Kind::DbRawsql | Kind::FsTemp => return None,
    })
}

/// Every kind of capability, for every cause of a refusal, in both environments: one line is enough.
#[test]
fn one_pasted_line_allows() {
    for environment in ["development", "production"] {
        for kind in Kind::ALL.iter().copied() {
            let raw_sql_is_denied = kind == Kind::DbRawsql && environment == "production";
            let all: &[&str] = if raw_sql_is_denied {
                &[
                    "{ name: all, effect: allow, capabilities: [\"db:rawsql\"], controllers: [\"Inv*\"] }",
                ]
            } else {
                &[ALL]
            };
            let bare = [kind.as_str()];
            // E2001: not declared.
            let mut documents = Documents::new(&[], environment, all);
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, None)),
                1,
                "{kind}"
            );
            // E2002: no rule.
            let mut documents = Documents::new(&bare, environment, &[]);
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, None)),
                1,
                "{kind}"
            );
            // E2002: a rule, for everybody.
            let deny = format!(
                "{{ name: no, effect: deny, capabilities: [\"{kind}\"], advice: \"a \\\"b\\\"\" }}"
            );
            let mut documents =
                Documents::new(&bare, environment, &[&[deny.as_str()], all].concat());
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, None)),
                1,
                "{kind}"
            );
            assert!(
                documents.rules[0].contains("except: [InvoiceSync]"),
                "{documents:?}"
            );
            let Some((target, other)) = examples(kind) else {
                continue;
            };
            let target = if kind == Kind::CacheWrite {
                "x:y"
            } else {
                target
            };
            // E2003: not listed.
            let mut documents = Documents::new(&[other], environment, &[ALL]);
            assert_eq!(
                documents.ask(kind, Some(target)).unwrap_err().code,
                ErrorCode::TargetNotAllowed
            );
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, Some(target))),
                1,
                "{kind}"
            );
            // What was listed and limited before still is.
            let present = documents
                .contract()
                .capability(kind)
                .unwrap()
                .targets()
                .unwrap();
            assert!(present.len() > 1, "{present:?}");
            // E2002: a rule for bare ones only is met by a list.
            let deny = format!(
                "{{ name: no-bare, effect: deny, capabilities: [\"{kind}\"], form: bare }}"
            );
            let mut documents = Documents::new(&bare, environment, &[&deny, ALL]);
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, None)),
                1,
                "{kind}"
            );
            assert_ne!(documents.capabilities[0], format!("- {kind}"));
            // E2002: a rule that denies this target.
            let quoted = serde_json::to_string(target).unwrap();
            let deny = format!(
                "{{ name: one, effect: deny, capabilities: [\"{kind}\"], resources: [{quoted}] }}"
            );
            let mut documents = Documents::new(&bare, environment, &[&deny, ALL]);
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, Some(target))),
                1,
                "{kind}"
            );
            // E2002: no rule that allows this target.
            let elsewhere = if kind == Kind::HttpEgress {
                "else.example.org"
            } else {
                "else"
            };
            let allow = format!(
                "{{ name: some, effect: allow, capabilities: [\"{kind}\"], resources: [{elsewhere}] }}"
            );
            let mut documents = Documents::new(&bare, environment, &[&allow]);
            assert_eq!(
                follow(&mut documents, |one| one.ask(kind, Some(target))),
                1,
                "{kind}"
            );
            // The same at deploy, for an entry of the contract with a star or with a limit.
            let mut documents = Documents::new(&[other], environment, &[&allow]);
            assert!(
                follow(&mut documents, |one| one.ask(kind, None)) <= 2,
                "{kind}"
            );
        }
    }
}

/// Where several things stand in the way, the lines lead through all of them.
#[test]
fn the_lines_lead_all_the_way() {
    let rules = [
        "{ name: no-bare, effect: deny, capabilities: [\"db:*\"], form: bare }",
        "{ name: pay, effect: deny, capabilities: [\"db:read\"], resources: [\"sal*\"] }",
        "{ name: allow-invoicesync-db-read, effect: allow, capabilities: [\"db:read\"], resources: [customers] }",
    ];
    let mut documents = Documents::new(&[], "production", &rules);
    let pasted = follow(&mut documents, |one| {
        one.ask(Kind::DbRead, Some("salaries"))
    });
    assert_eq!(pasted, 4, "{documents:#?}");
    assert!(documents.rules[1].contains("except: [InvoiceSync]"));
    assert!(documents.rules[3].contains("name: allow-invoicesync-db-read-2,"));
}

/// Limits and isolation: every refusal of a deploy has its line, and one line lifts all limits.
#[test]
fn limits_are_lifted_by_one_line() {
    let mut documents = Documents::new(
        &[
            "db:write: { tables: [a], max_rows: 20 }",
            "fs:temp: { size: 64Mi }",
        ],
        "development",
        &[ALL],
    );
    documents.contract = vec![
        "resources: { cpu: 2, memory: 2Gi, timeout: 15m, pids: 512 }".to_owned(),
        "concurrency: 100".to_owned(),
    ];
    documents.policy = vec![
        "isolation: pristine".to_owned(),
        "limits: { cpu: 1, memory: 1Gi, timeout: 1m, pids: 8, concurrency: 4, temp: 1Mi, rows: 10 }".to_owned(),
    ];
    assert_eq!(documents.grant().refusals().len(), 8);
    // A version that was deployed before the limits sank is refused call by call.
    for kind in [Kind::DbWrite, Kind::FsTemp] {
        let failure = documents.ask(kind, None).unwrap_err();
        assert_eq!(failure.code, ErrorCode::CapabilityDenied);
    }
    let first = |one: &Documents| match one.grant().refusals().first() {
        Some(failure) => Err(failure.clone()),
        None => Ok(()),
    };
    assert_eq!(follow(&mut documents, first), 2);
    assert!(documents.ask(Kind::DbWrite, Some("a")).is_ok());
}

/// HTTP methods are listed like targets.
#[test]
fn methods_have_their_line() {
    let mut documents = Documents::new(
        &["http:egress: { allow: [a.example.org], methods: [GET] }"],
        "production",
        &[ALL],
    );
    let ask = |one: &Documents| {
        let grant = one.grant();
        grant
            .check(Kind::HttpEgress)?
            .check_method(HttpMethod::Post)
    };
    assert_eq!(
        ask(&documents).unwrap_err().code,
        ErrorCode::TargetNotAllowed
    );
    assert_eq!(follow(&mut documents, ask), 1);
    let grant = documents.grant();
    let allowance = grant.check(Kind::HttpEgress).unwrap();
    assert!(allowance.check_method(HttpMethod::Get).is_ok());
    assert!(allowance.check_method(HttpMethod::Delete).is_err());
}

/// What no document can name has no line, and the refusal says so.
#[test]
fn there_is_no_line_for_what_cannot_be_written() {
    let listed = Documents::new(
        &["db:read: { tables: [a] }", "cache:read: { keys: [a] }"],
        "production",
        &[ALL],
    );
    let bare = Documents::new(
        &["db:read", "cache:read"],
        "production",
        &[
            "{ name: a, effect: allow, capabilities: [\"db:read\"], resources: [a] }",
            "{ name: b, effect: allow, capabilities: [\"cache:read\"], resources: [a] }",
        ],
    );
    for documents in [listed, bare] {
        let grant = documents.grant();
        for (kind, target) in [
            (Kind::CacheRead, Target::CacheKey("*")),
            (Kind::CacheRead, Target::CacheKey("x*")),
            (Kind::DbRead, Target::Table("x\u{0}")),
            (Kind::DbRead, Target::Table("")),
        ] {
            let failure = grant.check(kind).unwrap().check(&target).unwrap_err();
            assert!(!failure.details.contains_key("line"), "{failure:?}");
            assert!(failure.message.len() < 400, "{failure}");
        }
    }
}

/// The names of rules that are proposed are names, whatever the controller is called.
#[test]
fn proposed_names_are_valid() {
    let name = format!("A{}", "b".repeat(63));
    let text = format!(
        "name: {name}\nversion: 1.0.0\ninput: {{}}\noutput: {{}}\ncapabilities: [queue:subscribe]\n"
    );
    let contract = Contract::parse(text.as_bytes(), "x").unwrap();
    let mut documents = Documents::new(&[], "production", &[]);
    let failure = Grant::derive(&contract, &documents.policy()).refusals()[0].clone();
    documents.paste(&failure);
    assert!(
        Grant::derive(&contract, &documents.policy())
            .refusals()
            .is_empty()
    );
}

/// A host's folders are nobody's business.
#[test]
fn absolute_paths_stay_inside() {
    let policy = Policy::parse(b"name: a\nenvironment: production\nrules: [{ name: b, effect: deny, capabilities: [\"*\"] }]", "/etc/magic/policy.yaml").unwrap();
    for capability in ["db:read", "db:rawsql"] {
        let contract = contract(&format!("capabilities: [\"{capability}\"]\n"));
        let failure = Grant::derive(&contract, &policy).refusals()[0].clone();
        let text = serde_json::to_string(&failure).unwrap();
        assert!(!text.contains("/etc"), "{text}");
        assert!(text.contains("policy.yaml:3"), "{text}");
    }
}

proptest! {
    /// Any key that a controller asks for leads to a line that allows it, or to none; never to a line
    /// that allows something else too.
    #[test]
    fn any_key_has_an_exact_line_or_none(key in ".{0,80}") {
        let rules = ["{ name: some, effect: allow, capabilities: [\"cache:read\"], resources: [else] }"];
        let mut documents = Documents::new(&["cache:read: { keys: [\"*else\"] }".replace("*", "").as_str()], "production", &[ALL]);
        for bare in [false, true] {
            if bare {
                documents = Documents::new(&["cache:read"], "production", &rules);
            }
            let target = Target::CacheKey(&key);
            let grant = documents.grant();
            let Err(failure) = grant.check(Kind::CacheRead).unwrap().check(&target) else {
                continue;
            };
            if failure.details.contains_key("line") {
                documents.paste(&failure);
                let grant = documents.grant();
                let allowance = grant.check(Kind::CacheRead).unwrap();
                prop_assert!(allowance.check(&target).is_ok());
                let longer = format!("{key}x");
                prop_assert!(allowance.check(&Target::CacheKey(&longer)).is_err());
            }
        }
    }

    /// What is written is read back the same.
    #[test]
    fn words_survive_yaml(text in ".{1,60}") {
        let policy = Policy::parse(
            format!("name: {}\nenvironment: production\nrules: []\n", crate::line::word(&text)).as_bytes(),
            "x",
        ).unwrap();
        prop_assert_eq!(policy.name, text);
    }
}
