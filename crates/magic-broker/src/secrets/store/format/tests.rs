//! The file's bytes: what was written is read, and nothing else is.

use super::super::key::MasterKey;
use super::*;
use proptest::prelude::*;

fn keys(first: u8) -> StoreKeys {
    let mut key = [7; 32];
    key[0] = first;
    let master = MasterKey::parse(&STANDARD.encode(key)).expect("a key");
    StoreKeys::derive(&master).expect("keys")
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).expect("a value")
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a name")
}

fn time() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

fn file(keys: &StoreKeys) -> Vec<u8> {
    let mut sealed = Sealed::default();
    for (key, text) in [("ONE", "first"), ("TWO", "second")] {
        sealed
            .set(keys, name(key), &value(text), time())
            .expect("set");
    }
    sealed.write(keys).expect("a file")
}

/// What an old version of this program wrote must stay readable: this very text.
#[test]
fn format_1_is_read() {
    let text = include_str!("golden.enc");
    let keys = keys(7);
    let sealed = Sealed::read(text.as_bytes(), &keys).expect("format 1");
    let one = sealed
        .open(&keys, &name("ONE"))
        .expect("opened")
        .expect("there");
    assert_eq!(one.as_slice(), b"first");
    assert_eq!(sealed.list().len(), 2);
    assert_eq!(sealed.list()[1].set_at, time());
}

/// Each refusal has its words, and none of them a value or a key.
#[test]
fn refusals_say_what_it_is() {
    let text = String::from_utf8(file(&keys(1))).expect("text");
    let entry = |key: &str| {
        let start = text
            .find(&format!("{{\"name\":\"{key}\""))
            .expect("an entry");
        let end = start + text[start..].find('}').expect("its end") + 1;
        text[start..end].to_owned()
    };
    let (one, two) = (entry("ONE"), entry("TWO"));
    let head = text.lines().next().expect("a head").to_owned();
    for (changed, says) in [
        ("{}".to_owned(), "not a store of secrets"),
        (String::new(), "not a store of secrets"),
        ("magic-secrets 1".to_owned(), "not a store of secrets"),
        (
            text.replacen("magic-secrets 1", "magic-secrets 2", 1),
            "format 2",
        ),
        (head.clone(), "was changed after it was written"),
        (
            text.replacen(&head, &format!("{head}0"), 1),
            "sealed with key",
        ),
        (
            text.replacen(&format!("{one},"), "", 1),
            "was changed after",
        ),
        (text.replacen(&one, &two, 1), "was changed after"),
        (text.replacen("\"ONE\"", "\"SIX\"", 1), "was changed after"),
        (text.replacen("2023-", "2024-", 1), "was changed after"),
        (
            text.replacen(&format!("{one},{two}"), &format!("{two},{one}"), 1),
            "was changed after",
        ),
        (format!("{text} "), "was changed after"),
    ] {
        let error = Sealed::read(changed.as_bytes(), &keys(1)).expect_err(says);
        assert!(error.to_string().contains(says), "{error}: {changed}");
    }
    assert!(Sealed::read(text.as_bytes(), &keys(1)).is_ok());
    let error = Sealed::read(text.as_bytes(), &keys(2)).expect_err("another key");
    assert!(matches!(error, FormatError::OtherKey { .. }), "{error}");
}

/// A value belongs to its name and time even to somebody who could prove the file.
#[test]
fn a_value_cannot_be_moved() {
    let keys = keys(1);
    let mut sealed = Sealed::default();
    sealed
        .set(&keys, name("ONE"), &value("first"), time())
        .expect("set");
    let mut entry = sealed.entries.remove(&name("ONE")).expect("an entry");
    entry.set_at = Timestamp::UNIX_EPOCH;
    sealed.entries.insert(name("ONE"), entry);
    assert_eq!(
        sealed.open(&keys, &name("ONE")).expect_err("another time"),
        FormatError::Tampered
    );
    let mut entry = sealed.entries.remove(&name("ONE")).expect("an entry");
    entry.set_at = time();
    sealed.entries.insert(name("TWO"), entry);
    assert_eq!(
        sealed.open(&keys, &name("TWO")).expect_err("another name"),
        FormatError::Tampered
    );
    let entry = sealed.entries.remove(&name("TWO")).expect("an entry");
    sealed.entries.insert(name("ONE"), entry);
    assert!(sealed.open(&keys, &name("ONE")).expect("opened").is_some());
}

/// A store has a size.
#[test]
fn a_store_does_not_grow_without_end() {
    let keys = keys(1);
    let mut sealed = Sealed::default();
    let large = value(&"x".repeat(SecretValue::LIMIT));
    for number in 0..100 {
        let key = name(&format!("KEY_{number}"));
        sealed.set(&keys, key, &large, time()).expect("set");
    }
    assert_eq!(
        sealed.write(&keys).expect_err("too large"),
        FormatError::Full
    );
}

proptest! {
    /// One changed byte anywhere is a refusal, and never a panic.
    #[test]
    fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let keys = keys(1);
        let mut bytes = file(&keys);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Sealed::read(&bytes, &keys).is_err());
        let cut = &file(&keys)[..at];
        prop_assert!(Sealed::read(cut, &keys).is_err());
    }

    /// Bytes that nobody wrote are refused.
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Sealed::read(&bytes, &keys(1)).is_err());
        let marked = [&b"magic-secrets 1 "[..], keys(1).id.as_bytes(), b"\n", &bytes].concat();
        prop_assert!(Sealed::read(&marked, &keys(1)).is_err());
    }

    /// Any value of any name comes back.
    #[test]
    fn what_is_set_is_opened(key in "[A-Z_][A-Z0-9_]{0,20}", text in "\\PC{1,200}") {
        let keys = keys(1);
        let mut sealed = Sealed::default();
        sealed.set(&keys, name(&key), &value(&text), time()).expect("set");
        let bytes = sealed.write(&keys).expect("a file");
        let again = Sealed::read(&bytes, &keys).expect("read");
        let opened = again.open(&keys, &name(&key)).expect("opened").expect("there");
        prop_assert_eq!(opened.as_slice(), text.as_bytes());
    }
}
