//! Bodies of requests: what is accepted is read again when it is written, and no key was given twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_contract::{JsonLimits, read_json};

fuzz_target!(|data: &[u8]| {
    let limits = JsonLimits {
        bytes: 1 << 20,
        ..JsonLimits::default()
    };
    if let Ok(value) = read_json(data, limits) {
        let written = value.to_string();
        let again = read_json(written.as_bytes(), JsonLimits::default());
        assert!(again.is_ok(), "{written}");
    }
});
