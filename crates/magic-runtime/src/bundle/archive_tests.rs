//! Archives, good and hostile.

mod hostile_entries;
mod writing;

use super::Bundle;
use super::tests::{CONTRACT, folder};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use tar::EntryType;
use writing::{
    Entry, blocks, declaring, file, finished, gzip, honest, of_kind, pax, refusal, tar_with, zstd,
};

const LONG: &str = "a_name_of_forty_letters_without_an_end__";

/// What lies around the tar.
#[test]
fn hostile_streams_are_refused_and_their_twins_are_not() {
    let tar = tar_with(Vec::new());
    let whole = |bytes: &[u8]| Bundle::from_archive(bytes);
    for pack in [zstd, gzip] {
        let packed = pack(&tar);
        whole(&packed).expect("the honest twin");
        // Padded as GNU tar pads.
        whole(&pack(&[tar.as_slice(), &[0; 8192]].concat())).expect("zeros behind the end");
        for (what, bytes, says) in [
            (
                "trailing bytes",
                [packed.as_slice(), b"x"].concat(),
                "follows the end",
            ),
            (
                "two streams",
                [packed.as_slice(), &packed].concat(),
                "follows the end",
            ),
            (
                "bytes behind the tar",
                pack(&[tar.as_slice(), b"evil"].concat()),
                "follows the end",
            ),
            (
                "a second tar",
                pack(&[tar.as_slice(), &tar].concat()),
                "follows the end",
            ),
            ("no end", pack(&blocks(&honest())), "in the middle"),
            (
                "half an end",
                pack(&[blocks(&honest()).as_slice(), &[0; 512]].concat()),
                "in the middle",
            ),
            ("nothing inside", pack(b""), "in the middle"),
            ("only an end", pack(&[0; 1024]), "has no controller.py"),
            ("half a header", pack(&tar[..300]), "cannot be read"),
            ("half a file", pack(&tar[..515]), "in the middle"),
            ("a stream of zeros", pack(&vec![0; 100 << 20]), "more than"),
            ("no tar", pack(&[b'x'; 2048]), "cannot be read"),
            (
                "a file like a bomb",
                pack(
                    &[
                        blocks(&[declaring("x", 1 << 40)]).as_slice(),
                        &vec![0; 64 << 20],
                    ]
                    .concat(),
                ),
                "declares",
            ),
        ] {
            let message = refusal(whole(&bytes));
            assert!(
                message.contains(says),
                "{what}: expected {says:?} in {message:?}"
            );
        }
        for length in [1, 4, packed.len() / 2, packed.len() - 1] {
            refusal(whole(&packed[..length]));
        }
    }
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("a zip", b"PK\x03\x04and more".to_vec()),
        ("a bare tar", tar.clone()),
        (
            "a skippable frame",
            [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], zstd(&tar).as_slice()].concat(),
        ),
    ] {
        let message = refusal(whole(&bytes));
        assert!(
            message.contains("neither a zstd nor a gzip"),
            "{what}: {message}"
        );
    }
}

/// What the reader of headers says quotes the archive; it may not write on a terminal.
#[test]
fn complaints_about_headers_are_escaped() {
    for (place, text) in [(124, "x\u{1b}[2J"), (100, "\nfake"), (148, "\u{7}\u{7}")] {
        let mut tar = tar_with(vec![file("a\nb", "x")]);
        let start = blocks(&honest()).len();
        tar[start + place..start + place + text.len()].copy_from_slice(text.as_bytes());
        if place != 148 {
            let mut header = tar::Header::new_old();
            header
                .as_mut_bytes()
                .copy_from_slice(&tar[start..start + 512]);
            header.set_cksum();
            tar[start..start + 512].copy_from_slice(header.as_bytes());
        }
        let message = refusal(Bundle::from_archive(&zstd(&tar)));
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn dictionaries_and_large_windows_are_refused() {
    let tar = tar_with(Vec::new());
    let window = |log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&tar).unwrap();
        // Without this the whole would fit one frame that needs no window.
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    };
    Bundle::from_archive(&window(23)).expect("8 MiB are possible");
    assert!(refusal(Bundle::from_archive(&window(24))).contains("cannot be read"));
    // A frame with nothing in it, without and with the number of a dictionary.
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let plain = [&magic[..], &[0x20, 0, 1, 0, 0]].concat();
    let with_dictionary = [&magic[..], &[0x21, 7, 0, 1, 0, 0]].concat();
    assert!(refusal(Bundle::from_archive(&plain)).contains("in the middle"));
    let message = refusal(Bundle::from_archive(&with_dictionary));
    assert!(message.contains("cannot be read: Dictionary"), "{message}");
}

#[test]
fn an_archive_is_the_same_bundle_as_its_folder() {
    let above = tempfile::tempdir().unwrap();
    let source = above.path().join("echo");
    fs::rename(folder().keep(), &source).unwrap();
    fs::create_dir_all(source.join("package/inner")).unwrap();
    fs::write(source.join("package/inner/module.py"), "y = 1\n").unwrap();
    fs::write(
        source.join(format!("package/{LONG}{LONG}{LONG}.py")),
        "z = 1\n",
    )
    .unwrap();
    fs::write(source.join(".hidden"), "junk").unwrap();
    let bundle = Bundle::read(&source).unwrap();
    let archive = bundle.to_archive().unwrap();
    assert_eq!(
        archive,
        Bundle::read(&source).unwrap().to_archive().unwrap()
    );
    assert_eq!(
        Bundle::from_archive(&archive).unwrap().digest,
        bundle.digest
    );
    // As people make them: one folder, with `./`, with what tools leave behind.
    for options in [&["-C", "..", "--format=gnu"][..], &["--format=pax"]] {
        let name = source.file_name().unwrap().to_str().unwrap();
        let what = if options[0] == "-C" { name } else { "." };
        let output = std::process::Command::new("tar")
            .current_dir(&source)
            .args(["-cz"])
            .args(options)
            .arg(what)
            .output()
            .expect("tar runs");
        assert!(output.status.success());
        let read = Bundle::from_archive(&output.stdout).unwrap();
        assert_eq!(read.digest, bundle.digest, "{options:?}");
    }
}

#[test]
fn one_folder_around_everything_is_no_part_of_the_bundle() {
    let inside = |name: &str| {
        let files = [
            (format!("{name}controller.py"), "x = 1\n"),
            (format!("{name}contract.yaml"), CONTRACT),
        ];
        files
            .iter()
            .map(|(name, content)| file(name, content))
            .collect::<Vec<_>>()
    };
    let pack = |entries: &[Entry]| Bundle::from_archive(&zstd(&finished(blocks(entries))));
    let bare = pack(&inside("")).unwrap();
    assert_eq!(pack(&inside("echo/")).unwrap().digest, bare.digest);
    let mut two = inside("echo/");
    two.push(file("README.md", ""));
    assert!(refusal(pack(&two)).contains("has no controller.py"));
    assert!(refusal(pack(&inside("a/b/"))).contains("has no controller.py"));
}

/// A change to the format of archives would be a change of all of them.
#[test]
fn the_address_of_a_bundle_never_changes() {
    let bundle = Bundle::from_archive(&zstd(&tar_with(Vec::new()))).unwrap();
    assert_eq!(
        bundle.digest,
        "b77c426d50ce7f29dcbcba74441288d51df4dd8d403eda0075d389d925a54656"
    );
}

fn names() -> impl Strategy<Value = String> {
    "[a-z]{1,8}(/[a-z]{1,8}){0,3}\\.(py|json)"
        .prop_filter("one contract", |name| !super::is_contract(name))
}

proptest! {
    #[test]
    fn what_is_packed_is_what_is_unpacked(extra in proptest::collection::btree_map(names(), proptest::collection::vec(any::<u8>(), 0..2_000), 0..8)) {
        let mut files: BTreeMap<String, Vec<u8>> = extra;
        files.insert("controller.py".into(), b"x = 1\n".to_vec());
        files.insert("contract.yaml".into(), CONTRACT.as_bytes().to_vec());
        let archive = super::pack::pack(&files).unwrap();
        let bundle = Bundle::from_archive(&archive).unwrap();
        prop_assert_eq!(&bundle.files, &files);
        prop_assert_eq!(bundle.to_archive().unwrap(), archive);
    }

    /// Bytes that were changed anywhere are a bundle within bounds or a refusal.
    #[test]
    fn damage_never_panics(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut tar = tar_with(vec![pax("path", "a/b.py"), file("x", "content"), of_kind("d/", EntryType::Directory, "")]);
        for (place, byte) in &places {
            let place = place.index(tar.len());
            tar[place] = *byte;
            // With a sum that is right again, the damage gets further.
            let start = place / 512 * 512;
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&tar[start..start + 512]);
            header.set_cksum();
            tar[start..start + 512].copy_from_slice(header.as_bytes());
        }
        if cuts {
            tar.truncate(cut.index(tar.len()));
        }
        for packed in [zstd(&tar), gzip(&tar), tar] {
            if let Ok(bundle) = Bundle::from_archive(&packed) {
                let bytes: usize = bundle.files.values().map(Vec::len).sum();
                prop_assert!(bundle.files.len() <= super::BOUNDS.files && bytes as u64 <= super::BOUNDS.bytes);
                for name in bundle.files.keys() {
                    prop_assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".." || part.is_empty()));
                }
            }
        }
    }

    #[test]
    fn compressed_damage_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let tar = tar_with(vec![file("m.py", "content")]);
        for mut packed in [zstd(&tar), gzip(&tar)] {
            let place = place.index(packed.len());
            packed[place] = byte;
            let _ = Bundle::from_archive(&packed);
        }
    }
}
