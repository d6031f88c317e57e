//! Bodies of a worker's frames: a message or an error, never a panic, and errors stay short.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_broker::FromWorker;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = FromWorker::parse(data) {
        // The text goes into a log.
        assert!(error.to_string().len() < 1_000 + data.len());
    }
});
