//! Locks of uv, from whoever uploads a controller: what comes out is pinned and has hashes, and no message carries what a terminal
//! would obey, whatever the bytes are.
//!
//! Markers are a language of their own, so the bytes are read as one of those, too. The modules are compiled into the target,
//! since the runtime keeps them to itself.

#![no_main]
#![allow(dead_code, unused)]

#[path = "../../crates/magic-runtime/src/packages/marker.rs"]
mod marker;
#[path = "../../crates/magic-runtime/src/packages/project.rs"]
mod project;
#[path = "../../crates/magic-runtime/src/packages/requirement.rs"]
mod requirement;
#[path = "../../crates/magic-runtime/src/packages/uv_lock.rs"]
mod uv_lock;
#[path = "../../crates/magic-runtime/src/packages/wheel.rs"]
mod wheel;

use libfuzzer_sys::fuzz_target;
use marker::Environment;
use wheel::{CLibrary, WheelSupport};

fn plain(error: &impl std::fmt::Display) {
    assert!(!error.to_string().contains(char::is_control));
}

fuzz_target!(|data: &[u8]| {
    let environment = Environment {
        version: (3, 11, 7),
        machine: "x86_64".to_owned(),
    };
    let support = WheelSupport {
        minor: 11,
        abi_flags: String::new(),
        machine: "x86_64".to_owned(),
        library: CLibrary::Glibc(2, 36),
    };
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = marker::holds(text, &environment)
    {
        plain(&error);
    }
    if let Err(error) = project::read(data) {
        plain(&error);
    }
    let lock = match uv_lock::read(data) {
        Ok(lock) => lock,
        Err(error) => return plain(&error),
    };
    match lock.pins("real", &environment, &support) {
        Ok(pins) => {
            for pin in &pins {
                assert!(!pin.hashes.is_empty() && requirement::is_version(&pin.version));
                assert!(requirement::is_name(&pin.name));
            }
            assert!(pins.is_sorted_by(|one, other| one.name < other.name));
        }
        Err(error) => plain(&error),
    }
});
