//! Archives of backups: what is taken has its files below the folder and nowhere else, whatever the bytes are.
//!
//! The first byte chooses whether the rest is a compressed archive or the tar inside one: damage to a compressed stream
//! seldom reaches the tar. The modules are compiled into the target, since the command keeps them to itself.

#![no_main]
#![allow(dead_code, unused)]

#[path = "../../crates/magic/src/commands/archive.rs"]
mod archive;
#[path = "../../crates/magic/src/terminal.rs"]
pub(crate) mod terminal;
#[path = "../../crates/magic/src/commands/restore/unpack.rs"]
mod unpack;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let root = place.path().join("data");
    let read = match kind % 2 {
        0 => unpack::unpack(data, &root),
        _ => unpack::unpack_tar(data, &root),
    };
    let around = std::fs::read_dir(place.path()).expect("our own folder").count();
    assert!(around <= 1, "something is beside the folder");
    // What is refused may be half unpacked, and is taken away as a whole by the command.
    let Ok((manifest, files)) = read else {
        return;
    };
    assert!(!manifest.has_state || root.join("state.db").is_file());
    let (mut folders, mut found) = (vec![root], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("its mode lets root in") {
            let entry = entry.expect("our own folder");
            match entry.file_type().expect("it is there") {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind => {
                    assert!(kind.is_file(), "{entry:?}");
                    found += 1;
                }
            }
        }
    }
    assert_eq!(found, files);
});
