//! Controllers that bring `pyproject.toml` and `uv.lock`.

use crate::wheels::{self, Wheel};
use crate::{IMPORTS, REAL, deploy_with, kept, server};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Both were written once, the lock by uv itself.
const PROJECT: &str = include_str!("uv/pyproject.toml");
const LOCK: &str = include_str!("uv/uv.lock");

/// A lock of uv for all platforms: this interpreter gets its fork of numpy, and nothing of what is for others. Its hashes are enough
/// for a production policy.
#[test]
fn a_lock_of_uv_is_provided_under_a_production_policy() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let policy = place.path().join("policy.yaml");
    fs::write(
        &policy,
        "name: strict\nenvironment: production\nrules: []\n",
    )
    .expect("a policy");
    let server = server(
        Some(&wheels::real()),
        &["--policy", policy.to_str().expect("UTF-8")],
    );
    let files = [("pyproject.toml", PROJECT), ("uv.lock", LOCK)];
    let event = deploy_with(&server, "Real", &files, REAL);
    assert_eq!(event["event"], "deployed", "{event}");
    let answer = server.execute("Real", &json!({"x": 3, "y": 4}));
    assert_eq!(answer.body["result"]["norm"], 5.0, "{answer:?}");
    let lock = fs::read_to_string(kept(&server)[0].join("requirements.lock")).expect("a lock");
    let names: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.split_once("==").map(|(name, _)| name))
        .collect();
    assert_eq!(
        names,
        [
            "annotated-types",
            "numpy",
            "pydantic",
            "pydantic-core",
            "typing-extensions",
            "typing-inspection"
        ]
    );
}

fn project(dependencies: &str) -> String {
    format!("[project]\nname = \"mine\"\nversion = \"1.0\"\ndependencies = [{dependencies}]\n")
}

const PLAIN: &str = "plain-1.0-py3-none-any.whl";

/// The lock of `mine`, which needs `plain`, whose wheel lies in the folder.
fn lock(folder: &Path) -> String {
    let hash = wheels::hash(&folder.join(PLAIN));
    format!(
        "version = 1
revision = 3
requires-python = \">=3.11\"

[[package]]
name = \"mine\"
version = \"1.0\"
source = {{ virtual = \".\" }}
dependencies = [{{ name = \"plain\" }}]

[package.metadata]
requires-dist = [{{ name = \"plain\", specifier = \">=1.0\" }}]

[[package]]
name = \"plain\"
version = \"1.0\"
source = {{ registry = \"https://index.example.org/simple\" }}
wheels = [{{ url = \"https://index.example.org/{PLAIN}\", hash = \"sha256:{hash}\" }}]
"
    )
}

/// Everything that is refused is the first row with one thing changed.
#[test]
fn what_a_lock_of_uv_leaves_open_is_refused_and_says_what_to_type() {
    let folder = wheels::folder(vec![
        Wheel::of("plain").saying("Requires-Dist: left-out-on-purpose"),
    ]);
    let server = server(Some(folder.path()), &[]);
    let hash = wheels::hash(&folder.path().join(PLAIN));
    let (project, lock) = (project("\"plain>=1.0\""), lock(folder.path()));
    let both = |project: &str, lock: &str| {
        vec![
            ("pyproject.toml", project.to_owned()),
            ("uv.lock", lock.to_owned()),
        ]
    };
    let swapped = |from: &str, to: &str| {
        assert!(lock.contains(from), "{from}");
        both(&project, &lock.replace(from, to))
    };
    let mut beside_requirements = both(&project, &lock);
    beside_requirements.push(("requirements.txt", "plain==1.0".to_owned()));
    let registry = "registry = \"https://index.example.org/simple\"";
    for (name, files, says) in [
        ("Plain", both(&project, &lock), None),
        (
            "ForTools",
            vec![
                ("pyproject.toml", "[tool.ruff]\n".to_owned()),
                (
                    "requirements.txt",
                    "plain==1.0\nleft-out-on-purpose==1.0".to_owned(),
                ),
            ],
            Some("no usable wheel of left-out-on-purpose==1.0"),
        ),
        (
            "NoLock",
            vec![("pyproject.toml", project.clone())],
            Some("no lock says which; type `uv lock`"),
        ),
        (
            "NoProject",
            vec![("uv.lock", lock.clone())],
            Some("without the pyproject.toml"),
        ),
        (
            "TwoLocks",
            beside_requirements,
            Some("`rm requirements.txt`"),
        ),
        (
            "Stale",
            both(&project.replace(">=1.0", ">=1.1"), &lock),
            Some("they differ in `plain>=1.0`; type `uv lock`"),
        ),
        (
            "OtherProject",
            both(&project.replace("mine", "yours"), &lock),
            Some("the lock of `mine`"),
        ),
        (
            "Repository",
            swapped(registry, "git = \"https://example.org/plain#1\""),
            Some("plain comes from a repository"),
        ),
        (
            "Folder",
            swapped(registry, "directory = \"../../etc\""),
            Some("plain comes from a folder"),
        ),
        (
            "OnlySource",
            swapped("wheels = [", "sdist = {}\nothers = ["),
            Some("`uv lock --no-build`"),
        ),
        (
            "OtherHash",
            swapped(&hash, &"0".repeat(64)),
            Some("which is not one that uv.lock names"),
        ),
        (
            "OtherVersion",
            both(
                &project,
                &lock
                    .replace(
                        "version = \"1.0\"\nsource = { registry",
                        "version = \"1.1\"\nsource = { registry",
                    )
                    .replace("plain-1.0", "plain-1.1"),
            ),
            Some("uv export --frozen"),
        ),
        (
            "Newer",
            swapped(">=3.11", ">=3.99"),
            Some("it is for Python >=3.99"),
        ),
        (
            "Damaged",
            swapped("[[package]]", "[[package"),
            Some("uv.lock: it is not such a file"),
        ),
    ] {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (*file, text.as_str()))
            .collect();
        let event = deploy_with(&server, name, &files, IMPORTS);
        match says {
            None => {
                assert_eq!(event["event"], "deployed", "{name}: {event}");
                let answer = server.execute(name, &json!({}));
                assert_eq!(answer.body["result"]["says"], "I am plain", "{answer:?}");
            }
            Some(says) => {
                assert_eq!(event["code"], "E4001", "{name}: {event}");
                assert!(event.to_string().contains(says), "{name}: {event}");
            }
        }
    }
}
