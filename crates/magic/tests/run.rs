//! `magic run`.

use serde_json::json;

use crate::command::{run, run_with_input};
use crate::folder::{ANY, Folder};

/// The input comes from the line, a file, or standard input; the controller from its name or folder.
#[test]
fn inputs_and_names() {
    let folder = Folder::new();
    folder.echo();
    folder.write("input.json", r#"{"n": 1}"#);
    for arguments in [
        &["run", "Echo", "--input", r#"{"n": 1}"#][..],
        &["run", "Echo", "--input", "@input.json"],
        &["run", "echo", "-i", "@input.json"],
        &["run", "controllers/echo", "-i", "@input.json"],
        &["run", "./controllers/echo/", "-i", "@input.json"],
        &["run", "controllers/echo/contract.yaml", "-i", "@input.json"],
    ] {
        let ran = run(&folder, arguments).with_status(0);
        assert_eq!(ran.json(), json!({"echo": {"n": 1}}), "{arguments:?}");
    }
    let piped =
        run_with_input(&folder, &["run", "Echo", "--input", "-"], r#"{"n": 2}"#).with_status(0);
    assert_eq!(piped.json(), json!({"echo": {"n": 2}}));
    let nothing = run(&folder, &["run", "Echo"]).with_status(0);
    assert_eq!(nothing.json(), json!({"echo": {}}));
}

/// Standard output holds the result alone; what the controller writes goes to standard error.
#[test]
fn output_and_talk_are_apart() {
    let folder = Folder::new();
    folder.controller(
        "Chatty",
        ANY,
        "print('printed')\nself.log.warning('logged', n=1)\nreturn {}",
    );
    let ran = run(&folder, &["run", "Chatty"]).with_status(0);
    assert_eq!(ran.json(), json!({}));
    assert!(
        ran.stderr.contains("printed") && ran.stderr.contains("logged n=1"),
        "{ran:?}"
    );
    let full = run(&folder, &["run", "Chatty", "--json"])
        .with_status(0)
        .json();
    let mut members: Vec<_> = full
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "controller",
            "duration_ms",
            "request_id",
            "result",
            "version"
        ]
    );
}

/// Failures have their code, status 1, and nothing on standard output but JSON when that was asked for.
#[test]
fn failures() {
    let folder = Folder::new();
    folder.controller("Raises", ANY, "raise ValueError('the reason')");
    folder.controller(
        "Strict",
        "input: { type: object, required: [id] }\noutput: { type: object }\n",
        "return {}",
    );
    folder.write("controllers/broken/contract.yaml", "name: Broken\n");
    for (arguments, code, said) in [
        (&["run", "Raises"][..], "E3003", "the reason"),
        (&["run", "Strict"], "E1003", "id"),
        (&["run", "Raises", "-i", "{"], "E1004", "JSON"),
        (&["run", "Nobody"], "E4004", "Raises"),
        (&["run", "controllers/broken"], "E4001", "controller.py"),
    ] {
        let failed = run(&folder, arguments).with_status(1);
        assert!(failed.stdout.is_empty(), "{failed:?}");
        assert!(
            failed.stderr.contains(code) && failed.stderr.contains(said),
            "{failed:?}"
        );
        let json = run(&folder, &[arguments, &["--json"]].concat())
            .with_status(1)
            .json();
        assert_eq!(json["error"]["code"], code);
    }
}

/// Bad usage is status 2.
#[test]
fn bad_usage() {
    let folder = Folder::new();
    folder.echo();
    for arguments in [
        &["run"][..],
        &["run", "Echo", "--inptu", "{}"],
        &["run", "Echo", "--input", "@missing.json"],
        &["fly"],
        &[],
        &["run", "Echo", "--config", "missing.toml"],
    ] {
        let failed = run(&folder, arguments).with_status(2);
        assert!(
            failed.stdout.is_empty() && !failed.stderr.is_empty(),
            "{failed:?}"
        );
    }
    run(&folder, &["--version"]).with_status(0);
    run(&folder, &["run", "--help"]).with_status(0);
}

/// A reader that leaves early is no error.
#[test]
fn a_closed_standard_output() {
    let folder = Folder::new();
    folder.echo();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = crate::command::magic(folder.path())
        .args(["run", "Echo"])
        .stdout(writer)
        .status()
        .expect("the binary starts");
    assert!(status.success());
}
