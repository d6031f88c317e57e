//! `magic secrets`, without a server.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::command::{Ended, magic};
use crate::folder::Folder;

const VALUE: &str = "sk_live_51HxQ";

/// The command, without any source of secrets of whoever runs the tests.
fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = magic(folder.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAGIC_SECRET") {
            command.env_remove(name);
        }
    }
    command.env_remove("CREDENTIALS_DIRECTORY");
    command.arg("secrets").args(arguments);
    command
}

fn finish(mut command: Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that refuses before it reads closes the pipe.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes());
    let ended: Ended = child.wait_with_output().expect("the binary ends").into();
    assert!(!ended.stdout.contains(VALUE) && !ended.stderr.contains(VALUE));
    ended
}

fn secrets(folder: &Folder, arguments: &[&str], input: &str) -> Ended {
    finish(command(folder, arguments), input)
}

fn listed(ended: &Ended) -> Vec<(String, String, bool)> {
    let json = ended.json();
    let secrets = json["secrets"].as_array().expect("a list");
    secrets
        .iter()
        .map(|one| {
            let text = |member: &str| one[member].as_str().expect("text").to_owned();
            (
                text("name"),
                text("source"),
                one["hidden"] == Value::Bool(true),
            )
        })
        .collect()
}

/// Set, list, replace, remove: names and times go out, values never.
#[test]
fn a_secret_is_set_listed_and_removed() {
    let folder = Folder::new();
    let empty = secrets(&folder, &["list"], "").with_status(0);
    assert!(empty.stderr.contains("magic secrets set KEY"), "{empty:?}");
    let set = secrets(&folder, &["set", "STRIPE_KEY"], "sk_live_51HxQ\n").with_status(0);
    assert!(set.stderr.contains("STRIPE_KEY is set"), "{set:?}");
    assert!(set.stderr.contains("secrets.key: keep a copy"), "{set:?}");
    assert_eq!(set.stdout, "");
    for file in ["secrets.enc", "secrets.key", "secrets.lock"] {
        let metadata =
            std::fs::metadata(folder.path().join("data").join(file)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
    let again = secrets(&folder, &["set", "STRIPE_KEY", "--json"], "other").with_status(0);
    assert_eq!(
        again.json(),
        json!({"name": "STRIPE_KEY", "replaced": true, "key_made": false})
    );
    let shown = secrets(&folder, &["list"], "").with_status(0);
    assert!(shown.stdout.contains("STRIPE_KEY  store"), "{shown:?}");
    let shown = secrets(&folder, &["list", "--json"], "").with_status(0);
    assert_eq!(
        listed(&shown),
        [("STRIPE_KEY".to_owned(), "store".to_owned(), false)]
    );
    assert!(shown.json()["secrets"][0]["changed_at"].is_string());
    secrets(&folder, &["rm", "STRIPE_KEY"], "").with_status(0);
    let gone = secrets(&folder, &["rm", "STRIPE_KEY", "--json"], "").with_status(1);
    assert_eq!(gone.json(), json!({"name": "STRIPE_KEY", "removed": false}));
}

/// The list shows every source and which one counts; setting what is hidden says so.
#[test]
fn every_source_is_listed() {
    let folder = Folder::new();
    folder.write("files/IN_FILE", VALUE);
    folder.write("files/IN_BOTH", VALUE);
    folder.write("files/not-a-name", VALUE);
    let with_sources = |arguments: &[&str]| {
        let mut command = command(&folder, arguments);
        command
            .env("MAGIC_SECRETS_DIR", folder.path().join("files"))
            .env("MAGIC_SECRET_IN_VARIABLE", VALUE);
        command
    };
    let set = finish(with_sources(&["set", "IN_BOTH"]), "other").with_status(0);
    assert!(set.stderr.contains("comes first"), "{set:?}");
    let shown = finish(with_sources(&["list", "--json"]), "").with_status(0);
    let expected = [
        ("IN_BOTH", "directory", false),
        ("IN_BOTH", "store", true),
        ("IN_FILE", "directory", false),
        ("IN_VARIABLE", "environment", false),
    ];
    let expected =
        expected.map(|(name, source, hidden)| (name.to_owned(), source.to_owned(), hidden));
    assert_eq!(listed(&shown), expected);
}

/// Names and values have rules, and breaking one leaves nothing behind.
#[test]
fn what_cannot_be_a_secret_is_refused() {
    let folder = Folder::new();
    let long = "x".repeat(64 * 1024 + 3);
    for (name, input, says) in [
        ("stripe-key", "value", "secret name must be"),
        ("1KEY", "value", "secret name must be"),
        ("../KEY", "value", "secret name must be"),
        ("MAGIC_SECRETS_KEY", "value", "runtime's own"),
        ("KEY", "", "it is empty"),
        ("KEY", "\n", "it is empty"),
        ("KEY", &long, "larger than 64 KiB"),
    ] {
        let refused = secrets(&folder, &["set", name], input).with_status(1);
        assert!(refused.stderr.contains(says), "{refused:?}");
        assert!(!folder.path().join("data").exists());
    }
    let short = secrets(&folder, &["set", "KEY"], "abc").with_status(0);
    assert!(short.stderr.contains("not taken out of logs"), "{short:?}");
    secrets(&folder, &["set", "KEY"], &long[..64 * 1024]).with_status(0);
}

/// A store that was changed, or that has another key, is refused in words that help.
#[test]
fn a_strange_store_is_refused() {
    let folder = Folder::new();
    secrets(&folder, &["set", "KEY"], VALUE).with_status(0);
    let key = folder.path().join("data/secrets.key");
    let moved = folder.path().join("key");
    std::fs::rename(&key, &moved).expect("moved");
    let refused = secrets(&folder, &["list"], "").with_status(2);
    assert!(refused.stderr.contains("no key for it"), "{refused:?}");
    let text = std::fs::read_to_string(&moved).expect("a key");
    let mut with_key = command(&folder, &["list", "--json"]);
    with_key.env("MAGIC_SECRETS_KEY", text.trim());
    assert_eq!(listed(&finish(with_key, "").with_status(0)).len(), 1);
    std::fs::rename(&moved, &key).expect("moved back");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("opened");
    let refused = secrets(&folder, &["list"], "").with_status(2);
    assert!(refused.stderr.contains("type: chmod 600"), "{refused:?}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("closed");
    let store = folder.path().join("data/secrets.enc");
    let text = std::fs::read_to_string(&store).expect("a store");
    std::fs::write(&store, text.replace("\"KEY\"", "\"YEK\"")).expect("written");
    for arguments in [&["list"][..], &["rm", "YEK"], &["set", "OTHER"]] {
        let refused = secrets(&folder, arguments, VALUE).with_status(2);
        assert!(
            refused.stderr.contains("changed after it was written"),
            "{refused:?}"
        );
    }
}

/// At a terminal the value is asked for and not shown, and the terminal is left as it was.
#[test]
fn a_terminal_does_not_show_the_value() {
    for (typed, status) in [(format!("{VALUE}\n"), 0), (format!("{VALUE}\u{3}\n"), 2)] {
        let folder = Folder::new();
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&controller).expect("granted");
        unlockpt(&controller).expect("unlocked");
        let path = ptsname(&controller, Vec::new()).expect("its name");
        let path = Path::new(path.to_str().expect("text"));
        let open = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).expect("the other side")
        };
        let watched = open();
        let before = rustix::termios::tcgetattr(&watched)
            .expect("modes")
            .local_modes;
        let mut child = command(&folder, &["set", "KEY"])
            .stdin(open())
            .stdout(Stdio::null())
            .stderr(open())
            .spawn()
            .expect("the binary starts");
        let mut controller = File::from(controller);
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"(not shown): ") {
            let count = controller.read(&mut byte).expect("the prompt");
            assert_eq!(count, 1);
            seen.extend(byte);
        }
        controller.write_all(typed.as_bytes()).expect("typed");
        let ended = child.wait().expect("it ends");
        assert_eq!(ended.code(), Some(status));
        let after = rustix::termios::tcgetattr(&watched)
            .expect("modes")
            .local_modes;
        assert_eq!(before, after);
        // The last of what it wrote is in the terminal's buffer; a line of our own ends it.
        let mut own = File::from(watched);
        own.write_all(b"END").expect("written");
        while !seen.ends_with(b"END") {
            let count = controller.read(&mut byte).expect("the rest");
            assert_eq!(count, 1);
            seen.extend(byte);
        }
        let seen = String::from_utf8(seen).expect("text");
        assert!(!seen.contains(VALUE), "{seen}");
        let shown = secrets(&folder, &["list", "--json"], "").with_status(0);
        assert_eq!(listed(&shown).len(), usize::from(status == 0));
    }
}
