//! What the pages tell people to type, typed, each page in a folder of its own: what they read there is what they get.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::page::{Step, printed_for, script, steps};
use crate::{read, root};

/// Types a page, or a section of it, and compares. It must have at least so many commands, or nothing would be compared.
#[track_caller]
fn type_it(text: &str, commands: usize) {
    let steps = steps(text);
    let typed = steps
        .iter()
        .filter(|step| matches!(step, Step::Type(..)))
        .count();
    assert!(typed >= commands, "the page has {typed} commands");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binaries = Path::new(env!("CARGO_BIN_EXE_magic"))
        .parent()
        .expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    // Tests of controllers are run by the Python that has pytest.
    let tools = root().join("target/venv/bin");
    assert!(tools.join("pytest").exists(), "type make test-tools first");
    let output = Command::new("bash")
        .args(["-c", &script(&steps, &address)])
        .current_dir(folder.path())
        .env(
            "PATH",
            format!("{}:{}:{path}", binaries.display(), tools.display()),
        )
        .env("PYTHONPATH", root().join("python-sdk/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MAGIC_LISTEN", &address)
        .env("MAGIC_DATA_DIR", folder.path().join(".data"))
        .env("MAGIC_SOCKET", folder.path().join("magic.sock"))
        .output()
        .expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    for (number, step) in steps.iter().enumerate() {
        let Step::Type(command, shown) = step else {
            continue;
        };
        let own = printed_for(number, &printed);
        assert_eq!(own.as_ref(), Some(shown), "{command}\n{printed}");
    }
}

/// The part of a page below a heading.
fn section(text: &str, heading: &str) -> String {
    let section = text.split_once(heading).expect("the section").1;
    section
        .split("\n## ")
        .next()
        .expect("at least one part")
        .to_owned()
}

#[test]
fn what_readme_shows_is_what_happens() {
    let section = section(
        &read("README.md"),
        "## Deploy, break, read the error, roll back",
    );
    type_it(&section, 10);
}

#[test]
fn what_the_quick_start_shows_is_what_happens() {
    type_it(&read("docs/quick-start.md"), 10);
}

#[test]
fn what_the_page_of_controllers_shows_is_what_happens() {
    type_it(&read("docs/controllers.md"), 7);
}

#[test]
fn what_the_page_of_contracts_shows_is_what_happens() {
    type_it(&read("docs/contract.md"), 1);
}

/// A language model learns from nothing that does not work.
#[test]
fn what_language_models_read_is_what_happens() {
    type_it(&read("docs/llms.txt"), 11);
}
