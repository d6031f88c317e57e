//! Pairs of contracts, and what the newer one breaks.

use serde_json::{Value, json};

use super::*;

mod cases;
mod hostile;
mod random;

/// A contract with these two schemas.
pub(super) fn contract(version: &str, input: &Value, output: &Value) -> Contract {
    let text = json!({
        "name": "Orders", "version": version, "input": input, "output": output,
    });
    match Contract::parse(text.to_string().as_bytes(), "contract.yaml") {
        Ok(contract) => contract,
        Err(problems) => panic!("{problems:?} in {text}"),
    }
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Which steps announce a break.
#[test]
fn versions_that_announce_a_break() {
    for (old, new, expected) in [
        ("1.2.3", "2.0.0", true),
        ("1.2.3", "3.0.0-rc.1", true),
        ("1.2.3", "1.3.0", false),
        ("1.2.3", "1.2.4", false),
        ("1.2.3", "1.2.3", false),
        ("1.2.3", "1.3.0-rc.1", false),
        ("2.0.0", "1.0.0", false),
        ("0.2.3", "0.3.0", true),
        ("0.2.3", "0.2.4", false),
        ("0.2.3", "1.0.0", true),
        ("0.3.0", "0.2.0", false),
        ("2.0.0-rc.1", "2.0.0-rc.2", true),
        ("2.0.0-rc.1", "2.0.0", true),
        ("2.0.0", "2.0.0+build.7", false),
    ] {
        let answer = announces_break(&version(old), &version(new));
        assert_eq!(answer, expected, "{old} to {new}");
    }
}

/// The refusal names the first field, whom it breaks and what to type, and lists the rest.
#[test]
fn the_refusal_says_what_to_type() {
    let old = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let new = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"] });
    let any = json!({});
    let before = contract("1.2.0", &old, &any);
    let failure = unannounced_break(&before, &contract("1.3.0", &new, &any)).unwrap();
    assert_eq!(failure.code, ErrorCode::VersionConflict);
    assert_eq!(
        failure.message,
        "version 1.3.0 breaks callers who leave `a` out of version 1.2.0: input field `a` is required now (and 1 more); set `version: 2.0.0` in the contract, or deploy with `--allow-breaking`"
    );
    assert_eq!(
        failure.details["breakages"],
        json!([
            { "side": "input", "field": "a", "change": "is required now" },
            { "side": "input", "field": "a", "change": "does not accept strings any more" },
        ])
    );
    assert_eq!(
        unannounced_break(&before, &contract("2.0.0", &new, &any)),
        None
    );
    assert_eq!(
        unannounced_break(&before, &contract("1.3.0", &old, &any)),
        None
    );
}

/// However many breakages there are, twenty are listed.
#[test]
fn the_refusal_is_bounded() {
    let names: Vec<String> = (0..50).map(|number| format!("f{number:02}")).collect();
    let new = json!({ "type": "object", "required": names });
    let any = json!({ "type": "object" });
    let failure = unannounced_break(
        &contract("0.1.0", &any, &any),
        &contract("0.1.1", &new, &any),
    )
    .unwrap();
    assert_eq!(failure.details["breakages"].as_array().unwrap().len(), 20);
    assert_eq!(failure.details["breakages_found"], 50);
    assert!(failure.message.contains("version: 0.2.0"), "{failure}");
}
