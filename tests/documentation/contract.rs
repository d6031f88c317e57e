//! The page of contracts has every word of the schema, and every capability; the file for language models has them as well.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::read;

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_magic"))
        .args(arguments)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Every name that a contract may have, with the sections above it, and every capability.
fn words() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&printed(&["schema", "contract"])).expect("JSON");
    let mut words = BTreeSet::new();
    let members = |schema: &Value| {
        schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    for (name, section) in members(&schema) {
        let inner = members(&section);
        if inner.is_empty() {
            words.insert(name.clone());
        }
        for word in inner.keys() {
            words.insert(format!("{name}.{word}"));
        }
        for item in section["items"]["oneOf"].as_array().into_iter().flatten() {
            words.extend(item["const"].as_str().map(str::to_owned));
            for (capability, parameters) in members(item) {
                words.extend(members(&parameters).keys().cloned());
                words.insert(capability);
            }
        }
    }
    words
}

#[test]
fn the_page_of_contracts_has_every_word() {
    let page = read("docs/contract.md");
    let words = words();
    for word in ["name", "resources.cpu", "db:read", "only_for"] {
        assert!(words.contains(word), "{words:?}");
    }
    for word in &words {
        assert!(
            page.contains(&format!("`{word}`")),
            "{word} is not on the page"
        );
    }
}

#[test]
fn the_file_for_language_models_has_every_word() {
    let page = read("docs/llms.txt");
    // SQL text is the operator's to allow, one controller at a time, and nothing that a model should reach for.
    for word in words().into_iter().filter(|word| word != "db:rawsql") {
        let word = word.rsplit('.').next().expect("a word");
        assert!(
            page.contains(&format!("{word}:")) || page.contains(&format!("- {word}")),
            "{word}"
        );
    }
}

/// What the program prints is the file.
#[test]
fn the_program_prints_the_file_for_language_models() {
    assert_eq!(
        printed(&["manual", "--llms"]).trim_end(),
        read("docs/llms.txt").trim_end()
    );
}

/// Pages are for the folder, and the file for the terminal: one of them has to be asked for.
#[test]
fn the_manual_asks_where_to() {
    let refused = Command::new(env!("CARGO_BIN_EXE_magic"))
        .arg("manual")
        .output()
        .expect("the binary runs");
    assert!(!refused.status.success());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    printed(&["manual", pages.to_str().expect("UTF-8")]);
    assert!(pages.join("magic-serve.1").exists());
}
