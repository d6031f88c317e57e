//! What may stand in a source file, and how long one may be.

use crate::{files, read};
use std::path::Path;

/// Past this many lines a file is split by verb or mechanism.
const LONGEST: usize = 600;

fn rust() -> Vec<std::path::PathBuf> {
    [files("crates", ".rs"), files("tests", ".rs")].concat()
}

fn python() -> Vec<std::path::PathBuf> {
    ["python-sdk", "controllers", "tests"]
        .iter()
        .flat_map(|folder| files(folder, ".py"))
        .collect()
}

/// The lines of a file that are code: without comments, roughly.
fn code(path: &Path) -> Vec<String> {
    read(path)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    for path in [rust(), python()].concat() {
        let lines = read(&path).lines().count();
        assert!(
            lines <= LONGEST,
            "{} has {lines} lines, split it",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in rust() {
        let text = read(&path);
        assert!(
            text.starts_with("//!"),
            "{} does not begin with its purpose",
            path.display()
        );
    }
}

#[test]
fn unsafe_code_stays_in_one_folder() {
    // Spelled in two halves, so that this file does not find itself.
    let keyword = ["un", "safe"].concat();
    let forms = [" {", " fn", " impl", " extern"].map(|form| format!("{keyword}{form}"));
    for path in rust()
        .iter()
        .filter(|path| !path.starts_with("crates/magic-sandbox/src/sys"))
    {
        for (number, line) in code(path).iter().enumerate() {
            assert!(
                !forms.iter().any(|form| line.contains(form.as_str())),
                "{}:{}: {line}",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn status_codes_stay_in_the_http_crate() {
    for path in files("crates", ".rs") {
        // Outbound HTTP reads the codes of other servers; our own answers get theirs in one crate.
        let free = path.starts_with("crates/magic-api")
            || path.starts_with("crates/magic/")
            || path.starts_with("crates/magic-broker/src/http");
        assert!(
            free || !code(&path).iter().any(|line| line.contains("StatusCode")),
            "{}",
            path.display()
        );
    }
}

/// A test that is skipped proves nothing, and a stub is not done.
#[test]
fn nothing_is_skipped_or_left_open() {
    let rust_marks =
        [["#[ig", "nore"], ["to", "do!("], ["unimpl", "emented!("]].map(|parts| parts.concat());
    let python_marks = [
        ["mark.sk", "ip"],
        ["mark.xf", "ail"],
        ["NotImpl", "ementedError"],
    ]
    .map(|parts| parts.concat());
    for (paths, marks) in [(rust(), rust_marks), (python(), python_marks)] {
        for path in paths {
            let text = read(&path);
            for mark in &marks {
                assert!(
                    !text.contains(mark.as_str()),
                    "{} contains {mark}",
                    path.display()
                );
            }
        }
    }
}

/// Names that say nothing invite everything.
#[test]
fn no_file_is_called_after_nothing() {
    for path in [rust(), python()].concat() {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .trim_start_matches('_');
        assert!(
            ![
                "utils", "util", "common", "helpers", "helper", "misc", "mod"
            ]
            .contains(&stem),
            "{}",
            path.display()
        );
    }
}
