//! The sources together: which one answers, and what happens when one cannot.

use super::*;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use tempfile::TempDir;
use zeroize::Zeroizing;

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).expect("a value")
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a name")
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Variables::read(pairs).expect("variables")
}

struct Places {
    folder: TempDir,
}

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for directory in ["first", "second"] {
            std::fs::create_dir(folder.path().join(directory)).expect("a directory");
        }
        Self { folder }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).expect("a file");
    }

    fn paths(&self) -> StorePaths {
        StorePaths::beneath(self.folder.path(), None)
    }

    fn set(&self, key: &str, text: &str) {
        SecretStore::new(self.paths())
            .set(&name(key), &value(text))
            .expect("it is set");
    }

    fn open(&self, pairs: &[(&str, &str)]) -> Result<Secrets, SecretsError> {
        let directories = ["first", "second", "not_there"].map(|one| self.folder.path().join(one));
        Secrets::with_variables(variables(pairs), directories.to_vec(), Some(self.paths()))
    }
}

async fn find(secrets: &Secrets, key: &str) -> Option<String> {
    let found = secrets.find(&name(key)).await.expect("it can be read");
    found.map(|value| value.expose().to_owned())
}

/// The first source that has a name answers; the others are listed as hidden.
#[tokio::test]
async fn the_first_source_answers() {
    let places = Places::new();
    let all = ["IN_ALL", "IN_FILES", "IN_SECOND", "IN_STORE"];
    places.write("first/IN_ALL", "first");
    places.write("first/IN_FILES", "first");
    for key in &all[..3] {
        places.write(&format!("second/{key}"), "second");
    }
    for key in all {
        places.set(key, "store");
    }
    let secrets = places
        .open(&[("MAGIC_SECRET_IN_ALL", "variable")])
        .expect("open");
    for (key, found) in all
        .into_iter()
        .zip(["variable", "first", "second", "store"])
    {
        assert_eq!(find(&secrets, key).await.as_deref(), Some(found), "{key}");
    }
    assert_eq!(find(&secrets, "in_all").await, None);
    assert_eq!(find(&secrets, "IN_AL").await, None);
    let listed = secrets.list().expect("a list");
    let used: Vec<(&str, &SecretSource)> = listed
        .iter()
        .filter(|one| !one.hidden)
        .map(|one| (one.name.as_str(), &one.source))
        .collect();
    let directory = |name: &str| SecretSource::Directory(places.folder.path().join(name));
    assert_eq!(
        used,
        [
            ("IN_ALL", &SecretSource::Environment),
            ("IN_FILES", &directory("first")),
            ("IN_SECOND", &directory("second")),
            ("IN_STORE", &SecretSource::Store),
        ]
    );
    assert_eq!(listed.len(), 10);
    assert_eq!(find(&Secrets::none(), "IN_ALL").await, None);
}

/// What the runtime keeps for itself lies in the same places and is nobody's.
#[tokio::test]
async fn the_runtimes_own_names_are_nobodys() {
    let places = Places::new();
    for key in ["MAGIC_SECRETS_KEY", "magic_token", "MAGICAL"] {
        places.write(&format!("first/{key}"), "value");
    }
    let secrets = places.open(&[]).expect("open");
    assert_eq!(find(&secrets, "MAGIC_SECRETS_KEY").await, None);
    assert_eq!(find(&secrets, "magic_token").await, None);
    assert_eq!(find(&secrets, "MAGICAL").await.as_deref(), Some("value"));
    assert_eq!(secrets.list().expect("a list").len(), 1);
}

/// A source that has the name and cannot give the value does not let the next one answer.
#[tokio::test]
async fn a_broken_source_hides_nothing_older() {
    let places = Places::new();
    places.set("KEY", "old");
    let secrets = places.open(&[]).expect("open");
    assert_eq!(find(&secrets, "KEY").await.as_deref(), Some("old"));
    let broken = places.folder.path().join("first/KEY");
    symlink("nowhere", &broken).expect("a link");
    let error = secrets.find(&name("KEY")).await.expect_err("a broken link");
    assert!(error.is_passing(), "{error}");
    std::fs::remove_file(&broken).expect("removed");
    std::fs::create_dir(&broken).expect("a directory");
    let error = secrets.find(&name("KEY")).await.expect_err("a directory");
    assert!(
        matches!(error, SecretsError::Directory(DirectoryError::File { .. })),
        "{error}"
    );
    assert!(!error.is_passing());
}

/// Every call reads anew: the directory, and the store when it is another.
#[tokio::test]
async fn rotation_needs_no_restart() {
    let places = Places::new();
    let secrets = places.open(&[]).expect("open");
    assert_eq!(find(&secrets, "KEY").await, None);
    // Faster than file systems count time.
    for round in 0..20 {
        let text = format!("value {round:02}");
        places.set("KEY", &text);
        assert_eq!(find(&secrets, "KEY").await, Some(text));
    }
    for text in ["one", "two"] {
        places.write("second/.new", text);
        let from = places.folder.path().join("second/.new");
        std::fs::rename(from, places.folder.path().join("second/KEY")).expect("renamed");
        assert_eq!(find(&secrets, "KEY").await.as_deref(), Some(text));
    }
}

/// A store that cannot be opened is told at the start, and later by the call that needs it.
#[tokio::test]
async fn a_store_that_was_changed_is_refused() {
    let places = Places::new();
    places.set("KEY", "value");
    let secrets = places.open(&[]).expect("open");
    let file = places.paths().file;
    let text = std::fs::read_to_string(&file).expect("a store");
    places.write("secrets.enc", &text.replace("KEY", "YEK"));
    let error = places.open(&[]).expect_err("changed");
    assert!(
        error.to_string().contains("changed after it was written"),
        "{error}"
    );
    assert!(secrets.find(&name("KEY")).await.is_err());
    places.write("secrets.enc", &text);
    assert_eq!(find(&secrets, "KEY").await.as_deref(), Some("value"));
}
