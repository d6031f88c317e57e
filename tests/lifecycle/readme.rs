//! What README tells people to type, typed, in a folder of its own: what they read there is what they get.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const SECTION: &str = "## Deploy, break, read the error, roll back";

/// Where README's server listens, which may be taken on a machine that runs tests.
const ADDRESS: &str = "127.0.0.1:8080";

/// A command and what README shows below it.
struct Typed {
    command: String,
    shown: Vec<String>,
}

fn section() -> Vec<Typed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(path).expect("README");
    let section = text.split_once(SECTION).expect("the section").1;
    let section = section.split("\n## ").next().expect("at least one part");
    let mut typed: Vec<Typed> = Vec::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(command) => typed.push(Typed {
                command: command.to_owned(),
                shown: Vec::new(),
            }),
            None => {
                let last = typed.last_mut().expect("a command comes first");
                last.shown.extend(normal(line));
            }
        }
    }
    typed
}

/// A line without what differs each time, and without the widths of columns; nothing of an empty one.
fn normal(line: &str) -> Option<String> {
    let line = between(line, "\"request_id\":\"", '"');
    let line = between(&line, "\"duration_ms\":", ',');
    let mut words: Vec<&str> = line.split_whitespace().collect();
    for index in 0..words.len() {
        if words[index].parse::<jiff::Timestamp>().is_ok() {
            words[index] = "TIME";
        } else if words[index].starts_with("uid:") {
            words[index] = "WHO";
        } else if words.get(index + 1) == Some(&"ms") {
            words[index] = "SOME";
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// Leaves out what stands between `start` and `end`.
fn between(line: &str, start: &str, end: char) -> String {
    let Some((before, rest)) = line.split_once(start) else {
        return line.to_owned();
    };
    let after = rest.find(end).map_or("", |at| &rest[at..]);
    format!("{before}{start}{after}")
}

#[test]
fn what_readme_shows_is_what_happens() {
    let typed = section();
    assert!(typed.len() > 10, "README has a section of commands");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binaries = Path::new(env!("CARGO_BIN_EXE_magic"))
        .parent()
        .expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    // One shell, as people have one; what it started ends with it.
    let mut script = String::from("trap 'kill $(jobs -p); wait' EXIT\n");
    for (number, typed) in typed.iter().enumerate() {
        script += &format!(
            "echo '@@ {number}'\n{}\n",
            typed.command.replace(ADDRESS, &address)
        );
    }
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", binaries.display()))
        .env("MAGIC_LISTEN", &address)
        .env("MAGIC_DATA_DIR", folder.path().join(".data"))
        .env("MAGIC_SOCKET", folder.path().join("magic.sock"))
        .output()
        .expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    for (number, typed) in typed.iter().enumerate() {
        let from = printed.split_once(&format!("@@ {number}\n"));
        let from = from
            .unwrap_or_else(|| panic!("{}: {printed}", typed.command))
            .1;
        let own = from.split("@@ ").next().expect("at least one part");
        let own: Vec<String> = own.lines().filter_map(normal).collect();
        assert_eq!(own, typed.shown, "{}\n{printed}", typed.command);
    }
}
