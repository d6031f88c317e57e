//! Which crate may depend on which, and what only one of them may know.

use crate::{files, read};
use std::collections::BTreeSet;

/// Each crate with the crates of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 8] = [
    (
        "magic",
        &[
            "magic-api",
            "magic-broker",
            "magic-contract",
            "magic-otlp",
            "magic-runtime",
            "magic-sandbox",
            "magic-store",
        ],
    ),
    (
        "magic-api",
        &["magic-contract", "magic-runtime", "magic-store"],
    ),
    (
        "magic-runtime",
        &[
            "magic-broker",
            "magic-contract",
            "magic-sandbox",
            "magic-store",
        ],
    ),
    ("magic-otlp", &["magic-broker"]),
    ("magic-broker", &["magic-contract"]),
    ("magic-store", &["magic-contract"]),
    ("magic-sandbox", &[]),
    ("magic-contract", &[]),
];

/// Crates that only the named ones may use, whatever for.
const ONLY: [(&str, &[&str]); 12] = [
    ("anyhow", &["magic"]),
    ("opentelemetry", &["magic-otlp"]),
    ("opentelemetry-http", &["magic-otlp"]),
    ("opentelemetry-otlp", &["magic-otlp"]),
    ("opentelemetry_sdk", &["magic-otlp"]),
    ("clap", &["magic"]),
    ("axum", &["magic-api"]),
    ("landlock", &["magic-sandbox"]),
    ("seccompiler", &["magic-sandbox"]),
    ("cgroups-rs", &["magic-sandbox"]),
    ("jsonschema", &["magic-contract"]),
    ("serde-saphyr", &["magic-contract"]),
];

/// What the pure crate and the one without async may not use.
const NEVER: [(&str, &[&str]); 2] = [
    (
        "magic-contract",
        &["tokio", "libc", "nix", "rustix", "jiff", "tracing"],
    ),
    ("magic-sandbox", &["tokio", "futures-util"]),
];

fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(format!("crates/{krate}/Cargo.toml"))
        .parse()
        .expect("a manifest");
    let table = manifest["dependencies"]
        .as_table()
        .expect("a table of dependencies");
    table.keys().cloned().collect()
}

#[test]
fn arrows_point_downwards_only() {
    for (krate, allowed) in ARROWS {
        for dependency in dependencies(krate)
            .iter()
            .filter(|name| name.starts_with("magic"))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{krate} must not depend on {dependency}"
            );
        }
    }
    let crates: BTreeSet<String> = files("crates", "Cargo.toml")
        .iter()
        .map(|path| {
            path.iter()
                .nth(1)
                .expect("crates/NAME")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let known: BTreeSet<String> = ARROWS
        .iter()
        .map(|(krate, _)| (*krate).to_owned())
        .collect();
    assert_eq!(
        crates, known,
        "a new crate needs its arrows here and a sentence on the map"
    );
}

#[test]
fn some_crates_belong_to_one_of_ours() {
    for (krate, _) in ARROWS {
        let dependencies = dependencies(krate);
        for (dependency, owners) in ONLY {
            assert!(
                !dependencies.contains(dependency) || owners.contains(&krate),
                "{krate} must not use {dependency}; it belongs to {owners:?}"
            );
        }
    }
    for (krate, never) in NEVER {
        for dependency in never {
            assert!(
                !dependencies(krate).contains(*dependency),
                "{krate} must not use {dependency}"
            );
        }
    }
}

/// Versions are said once, in the workspace table.
#[test]
fn versions_stand_in_the_workspace_table() {
    for path in files("crates", "Cargo.toml") {
        let manifest: toml::Table = read(&path).parse().expect("a manifest");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, value) in table {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{} states {name} by itself", path.display());
            }
        }
    }
}
