//! Archives of bundles: within bounds, and only names that lead nowhere else, whatever the bytes are.
//!
//! The first byte chooses whether the rest is a compressed archive or the tar inside one: damage to a compressed stream
//! seldom reaches the tar. The modules are compiled into the target, since the runtime keeps them to itself.

#![no_main]
#![allow(dead_code, unused)]

#[path = "../../crates/magic-runtime/src/bundle/name.rs"]
mod name;
#[path = "../../crates/magic-runtime/src/bundle/unpack.rs"]
mod unpack;

use libfuzzer_sys::fuzz_target;

const BOUNDS: unpack::Bounds = unpack::Bounds {
    files: 50,
    bytes: 64 * 1024,
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let (mut files, mut bytes) = (0, 0);
    let keep = |name: String, content: Vec<u8>| {
        files += 1;
        bytes += content.len() as u64;
        assert!(!name.starts_with('/') && !name.contains(['\\', '\0', '\n']));
        assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
        Ok(())
    };
    let read = match kind % 2 {
        0 => unpack::unpack(data, BOUNDS, keep),
        _ => unpack::unpack_tar(data, BOUNDS, &mut name::Names::default(), keep),
    };
    assert!(files <= BOUNDS.files && bytes <= BOUNDS.bytes);
    if let Err(error) = read {
        assert!(!error.to_string().contains(char::is_control));
    }
});
