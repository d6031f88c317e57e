//! The official JSON Schema test suite, run through the boundary that requests go through.
//!
//! Every case of draft-07 and 2020-12 is run, the optional ones included. What is decided otherwise
//! on purpose is listed in `official_suite/exceptions.rs` with its reason. The test fails when a case fails that is
//! not listed, *and* when a listed one starts to pass, so the list stays true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use magic_contract::Schema;
use serde_json::Value;

use self::exceptions::EXCEPTIONS;

mod exceptions;

/// Dialect, file, group, how many of its cases, reason.
type Exception = (
    &'static str,
    &'static str,
    &'static str,
    usize,
    &'static str,
);

#[derive(Debug, Default)]
struct Tally {
    run: usize,
    passed: usize,
    excused: usize,
}

/// Every case passes or is listed with its reason; no listed group passes whole.
#[test]
fn the_official_suite_passes_but_for_listed_exceptions() {
    let suite = suite_folder();
    let mut failures = Vec::new();
    let mut excused: BTreeMap<usize, usize> = BTreeMap::new();
    let mut summary = String::new();
    for (folder, dialect) in [
        ("draft7", None),
        (
            "draft2020-12",
            Some("https://json-schema.org/draft/2020-12/schema"),
        ),
    ] {
        let mut tally = Tally::default();
        for file in files_below(&suite.join("tests").join(folder)) {
            let name = file
                .strip_prefix(suite.join("tests").join(folder))
                .unwrap()
                .display()
                .to_string();
            let groups: Vec<Value> =
                serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            for group in &groups {
                run_group(
                    folder,
                    &name,
                    dialect,
                    group,
                    &mut tally,
                    &mut failures,
                    &mut excused,
                );
            }
        }
        let rate = 100.0 * tally.passed as f64 / tally.run as f64;
        summary += &format!(
            "{folder}: {} of {} cases pass ({rate:.2} %), {} in listed exceptions\n",
            tally.passed, tally.run, tally.excused
        );
    }
    println!("{summary}");
    for (index, (folder, file, group, listed, reason)) in EXCEPTIONS.iter().enumerate() {
        let count = excused.get(&index).copied().unwrap_or(0);
        println!("  {folder}/{file}: {group}: {count} cases: {reason}");
        if count != *listed {
            failures.push(format!(
                "{listed} cases are listed and {count} fail: ({folder:?}, {file:?}, {group:?})"
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{summary}{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn run_group(
    folder: &str,
    file: &str,
    dialect: Option<&str>,
    group: &Value,
    tally: &mut Tally,
    failures: &mut Vec<String>,
    excused: &mut BTreeMap<usize, usize>,
) {
    let description = group["description"].as_str().unwrap();
    let mut schema = group["schema"].clone();
    // Optional files of 2020-12 all name their dialect; this is for those that do not.
    if let (Some(dialect), Some(keywords)) = (dialect, schema.as_object_mut()) {
        keywords.entry("$schema").or_insert_with(|| dialect.into());
    }
    let compiled = Schema::compile(&schema);
    let exception = EXCEPTIONS
        .iter()
        .position(|(one_folder, one_file, one_group, ..)| {
            *one_folder == folder && *one_file == file && *one_group == description
        });
    for case in group["tests"].as_array().unwrap() {
        tally.run += 1;
        let expected = case["valid"].as_bool().unwrap();
        let outcome = match &compiled {
            Ok(schema) => Ok(schema.admit(case["data"].clone()).is_ok()),
            Err(problem) => Err(problem),
        };
        if outcome.as_ref().is_ok_and(|valid| *valid == expected) {
            tally.passed += 1;
        } else if let Some(index) = exception {
            tally.excused += 1;
            *excused.entry(index).or_default() += 1;
        } else {
            let outcome = match outcome {
                Ok(valid) => format!("valid: {valid}"),
                Err(problem) => format!("{} {problem}", problem.code),
            };
            failures.push(format!(
                "{folder}/{file}: {description}: {}: {outcome}",
                case["description"]
            ));
        }
    }
}

fn suite_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("json-schema-test-suite");
    assert!(
        folder.join("complete").exists(),
        "the official JSON Schema test suite is not there; type: tests/fetch-json-schema-suite"
    );
    folder
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
