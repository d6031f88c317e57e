//! The store on disk: who may read it, who may write it, and what a stranger's change looks like.

use super::*;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use zeroize::Zeroizing;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).expect("a value")
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a name")
}

fn store(folder: &TempDir, key: Option<&str>) -> SecretStore {
    SecretStore::new(StorePaths::beneath(
        &folder.path().join("data"),
        key.map(value),
    ))
}

fn get(store: &SecretStore, key: &str) -> Result<Option<String>, StoreError> {
    let found = CachedStore::new(store.paths.clone()).get(&name(key))?;
    Ok(found.map(|value| value.expose().to_owned()))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").mode() & 0o777
}

/// From nothing: folder, key and store appear, nobody else can read them, and no text of a value
/// is in them.
#[test]
fn the_first_set_makes_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder, None);
    assert_eq!(get(&store, "ONE").expect("no store"), None);
    assert_eq!(store.list().expect("no store"), []);
    assert!(!store.remove(&name("ONE")).expect("no store"));
    let written = store.set(&name("ONE"), &value("first value")).expect("set");
    assert_eq!(
        written,
        Written {
            replaced: false,
            key_made: true
        }
    );
    let written = store.set(&name("ONE"), &value("other value")).expect("set");
    assert_eq!(
        written,
        Written {
            replaced: true,
            key_made: false
        }
    );
    store.set(&name("TWO"), &value("two\nlines")).expect("set");
    assert_eq!(
        get(&store, "ONE").expect("read").as_deref(),
        Some("other value")
    );
    assert_eq!(
        get(&store, "TWO").expect("read").as_deref(),
        Some("two\nlines")
    );
    assert_eq!(get(&store, "one").expect("read"), None);
    let names: Vec<String> = store
        .list()
        .expect("a list")
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["ONE", "TWO"]);
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    for path in [&store.paths.file, &store.paths.key_file, &store.paths.lock] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    let text = std::fs::read_to_string(&store.paths.file).expect("a store");
    assert!(!text.contains("value") && !text.contains("lines"), "{text}");
    assert!(store.remove(&name("ONE")).expect("removed"));
    assert!(!store.remove(&name("ONE")).expect("not there"));
    assert_eq!(get(&store, "ONE").expect("read"), None);
    assert_eq!(
        get(&store, "TWO").expect("read").as_deref(),
        Some("two\nlines")
    );
}

/// A key's file that others can read is refused, with the line to type; closed again, it is used.
#[test]
fn an_open_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder, None);
    store.set(&name("ONE"), &value("value")).expect("set");
    for open in [0o640, 0o604, 0o660, 0o601] {
        std::fs::set_permissions(&store.paths.key_file, PermissionsExt::from_mode(open))
            .expect("opened");
        let error = get(&store, "ONE").expect_err("an open key");
        assert!(error.to_string().contains("type: chmod 600"), "{error}");
        assert!(store.set(&name("TWO"), &value("value")).is_err());
    }
    for closed in [0o600, 0o400] {
        std::fs::set_permissions(&store.paths.key_file, PermissionsExt::from_mode(closed))
            .expect("closed");
        assert!(get(&store, "ONE").expect("read").is_some());
    }
}

/// A store without its key, or with another, is neither read nor written over.
#[test]
fn another_key_is_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let with_key = store(&folder, Some(KEY));
    let written = with_key.set(&name("ONE"), &value("value")).expect("set");
    assert!(!written.key_made);
    assert!(!with_key.paths.key_file.exists());
    assert!(get(&with_key, "ONE").expect("read").is_some());
    let other = "BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (key, says) in [
        (Some(other), "was sealed with key"),
        (Some("c2hvcnQ="), "MAGIC_SECRETS_KEY is not a key"),
        (Some("not base64"), "MAGIC_SECRETS_KEY is not a key"),
        (None, "no key for it"),
    ] {
        let other = store(&folder, key);
        for error in [
            get(&other, "ONE").expect_err("no key"),
            other
                .set(&name("TWO"), &value("value"))
                .expect_err("no key"),
            other.remove(&name("ONE")).expect_err("no key"),
            other.list().expect_err("no key"),
        ] {
            assert!(error.to_string().contains(says), "{error}");
            assert!(
                key.is_none_or(|key| !error.to_string().contains(key)),
                "{error}"
            );
        }
        assert!(!other.paths.key_file.exists());
    }
    std::fs::write(&with_key.paths.key_file, "nonsense").expect("a file");
    std::fs::set_permissions(&with_key.paths.key_file, PermissionsExt::from_mode(0o600))
        .expect("closed");
    let error = get(&store(&folder, None), "ONE").expect_err("nonsense");
    assert!(error.to_string().contains("not a key's file"), "{error}");
    assert!(get(&with_key, "ONE").expect("read").is_some());
}

/// Writers that come together all get their turn, and the store holds what each of them wrote.
#[test]
fn writers_do_not_lose_each_others_values() {
    let folder = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = store(&folder, None);
            scope.spawn(move || {
                for round in 0..5 {
                    let key = name(&format!("KEY_{writer}_{round}"));
                    store.set(&key, &value("value")).expect("set");
                }
            });
        }
    });
    assert_eq!(store(&folder, None).list().expect("a list").len(), 40);
}

/// What a writer that died left behind is in nobody's way, and a link in its place is not followed.
#[test]
fn leftovers_are_replaced_and_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder, None);
    store.set(&name("ONE"), &value("value")).expect("set");
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "untouched").expect("a file");
    let unfinished = folder.path().join("data/secrets.enc.new");
    std::os::unix::fs::symlink(&victim, &unfinished).expect("a link");
    store.set(&name("TWO"), &value("value")).expect("set");
    assert_eq!(
        std::fs::read_to_string(&victim).expect("a file"),
        "untouched"
    );
    assert!(!unfinished.exists());
    std::fs::remove_file(&store.paths.lock).expect("removed");
    std::os::unix::fs::symlink(&victim, &store.paths.lock).expect("a link");
    let error = store
        .set(&name("TWO"), &value("value"))
        .expect_err("a link");
    assert!(matches!(error, StoreError::Lock { .. }), "{error}");
}

/// A server does not read the file again while it is the same, once it is old enough for its
/// metadata to tell.
#[test]
fn a_settled_store_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder, None);
    store.set(&name("ONE"), &value("value")).expect("set");
    let cached = CachedStore::new(store.paths.clone());
    let first = cached.load().expect("read").expect("there");
    let again = cached.load().expect("read").expect("there");
    assert!(!Arc::ptr_eq(&first, &again));
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = OpenOptions::new()
        .write(true)
        .open(&store.paths.file)
        .expect("a store");
    file.set_modified(hour_ago).expect("an older time");
    let first = cached.load().expect("read").expect("there");
    let again = cached.load().expect("read").expect("there");
    assert!(Arc::ptr_eq(&first, &again));
    store.set(&name("TWO"), &value("value")).expect("set");
    let after = cached.load().expect("read").expect("there");
    assert!(!Arc::ptr_eq(&first, &after));
    assert!(cached.get(&name("TWO")).expect("read").is_some());
    std::fs::remove_file(&store.paths.file).expect("removed");
    assert_eq!(cached.get(&name("TWO")).expect("read"), None);
}
