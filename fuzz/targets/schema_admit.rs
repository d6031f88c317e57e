//! A schema on the first line, a value on the rest: both from strangers, judged in bounded time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_contract::{JsonLimits, Schema, read_json};

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let read = |bytes| read_json(bytes, JsonLimits::default());
    let (Ok(schema), Ok(value)) = (read(&data[..end]), read(&data[end + 1..])) else {
        return;
    };
    if let Ok(schema) = Schema::compile(&schema) {
        match schema.admit(value) {
            // Defaults are filled in, so what was admitted is admitted again.
            Ok(valid) => assert!(schema.admit(valid.into_value()).is_ok()),
            Err(violations) => assert!((1..=20).contains(&violations.len())),
        }
    }
});
