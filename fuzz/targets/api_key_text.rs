//! Texts of API keys, from anybody who can send a header: one that is read is the one text of its key, and shows no secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_store::state::{KeyText, is_key_id};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = KeyText::parse(text) {
        assert_eq!(key.expose().as_str(), text);
        assert!(is_key_id(key.id()));
        assert!(!format!("{key:?}").contains(&text[21..]));
    }
});
