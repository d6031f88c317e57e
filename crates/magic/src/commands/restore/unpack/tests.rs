//! Whatever an archive holds, it is taken whole or refused, and nothing is made elsewhere.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tar::{Builder, EntryType, Header};

/// Names of ours, names that lead elsewhere, and names that collide.
const NAMES: [&str; 16] = [
    "state.db",
    "audit/node.00000000000000000001.jsonl",
    "audit-head/node.json",
    "bundles/a",
    "bundles/a/b",
    "bundles",
    "packages/x.whl",
    "../outside",
    "bundles/../../outside",
    "/tmp/outside",
    "bundles/./a",
    "admin.key",
    "backup.json",
    "checksums.json",
    "audit",
    "",
];

/// One member of an archive.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    kind: EntryType,
    content: Vec<u8>,
    mode: u32,
}

fn any_member() -> impl Strategy<Value = Member> {
    let kind = prop_oneof![
        6 => Just(EntryType::Regular),
        2 => Just(EntryType::Directory),
        1 => Just(EntryType::Symlink),
        1 => Just(EntryType::Link),
        1 => Just(EntryType::Fifo),
        1 => Just(EntryType::Block),
    ];
    let content = prop::collection::vec(any::<u8>(), 0..40);
    let name = prop::sample::select(NAMES.as_slice()).prop_map(str::to_owned);
    (name, kind, content, 0_u32..0o10000).prop_map(|(name, kind, content, mode)| Member {
        name,
        kind,
        content,
        mode,
    })
}

fn file(name: &str, content: &[u8]) -> Member {
    Member {
        name: name.to_owned(),
        kind: EntryType::Regular,
        content: content.to_owned(),
        mode: 0o600,
    }
}

fn sha256(content: &[u8]) -> String {
    let mut digest = Digest::new(content);
    io::copy(&mut digest, &mut io::sink()).expect("memory");
    digest.text()
}

/// The tar of these members, names as they are.
fn tar_of(members: &[Member]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        let name = member.name.as_bytes();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        if matches!(member.kind, EntryType::Symlink | EntryType::Link) {
            header.as_mut_bytes()[157..165].copy_from_slice(b"/etc/pas");
        }
        let content = match member.kind {
            EntryType::Regular => member.content.as_slice(),
            _ => &[],
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).expect("memory");
    }
    tar.into_inner().expect("memory")
}

/// The members between a manifest and the checksums of those that are files.
fn whole(members: &[Member]) -> Vec<Member> {
    let has_state = members.iter().any(|member| member.name == "state.db");
    let manifest = Manifest::of("node", has_state, false);
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let files = members
        .iter()
        .filter(|member| member.kind == EntryType::Regular);
    let sums: Checksums = files
        .map(|member| (member.name.clone(), sha256(&member.content)))
        .collect();
    let sums = serde_json::to_vec(&sums).expect("JSON");
    let mut all = vec![file(MANIFEST, &manifest)];
    all.extend_from_slice(members);
    all.push(file(CHECKSUMS, &sums));
    all
}

/// Every file below a folder with its content. Links would be followed by nothing here: they are told by their kind.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        // Modes of an archive may keep out whoever is not root.
        let _ = std::fs::set_permissions(&folder, Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(&folder).expect("our own folder") {
            let path = entry.expect("our own folder").path();
            let kind = std::fs::symlink_metadata(&path)
                .expect("it is there")
                .file_type();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            assert!(kind.is_file(), "{} is {kind:?}", path.display());
            let _ = std::fs::set_permissions(&path, Permissions::from_mode(0o600));
            let name = path.strip_prefix(root).expect("below it");
            let content = std::fs::read(&path).expect("a file");
            found.insert(name.to_string_lossy().into_owned(), content);
        }
    }
    found
}

/// Unpacks below a folder that holds a neighbour, which must be all that is there beside what was unpacked.
fn unpacked(tar: &[u8]) -> (bool, BTreeMap<String, Vec<u8>>) {
    let place = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(place.path().join("neighbour"), "untouched").expect("our own file");
    let root = place.path().join("data");
    let taken = unpack_tar(tar, &root).is_ok();
    let around: Vec<_> = std::fs::read_dir(place.path())
        .expect("our own folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !matches!(name.as_str(), "data" | "neighbour"))
        .collect();
    assert!(around.is_empty(), "{around:?}");
    let neighbour = std::fs::read(place.path().join("neighbour")).expect("it is there");
    assert_eq!(neighbour, b"untouched");
    (taken, tree(&root))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is taken has exactly the files that the archive names, and their content.
    #[test]
    fn archives_are_taken_whole_or_refused(members in prop::collection::vec(any_member(), 0..6)) {
        let (taken, found) = unpacked(&tar_of(&whole(&members)));
        if taken {
            let files = members.iter().filter(|member| member.kind == EntryType::Regular);
            let expected: BTreeMap<_, _> = files
                .map(|member| (member.name.replace("/./", "/"), member.content.clone()))
                .collect();
            prop_assert_eq!(found, expected);
            let plain = |member: &Member| matches!(member.kind, EntryType::Regular | EntryType::Directory);
            prop_assert!(members.iter().all(plain));
        }
    }

    /// Any change of a single bit of content, and any cut, is found.
    #[test]
    fn damage_is_refused(place in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let members = [file("state.db", &[7; 600]), file("audit-head/node.json", b"{}")];
        let mut tar = tar_of(&whole(&members));
        // Not the block of the checksums itself, whose end is filled up, nor the zeros behind it.
        let content = tar.len() - 1024 - 512;
        let place = place.index(content);
        if cut {
            tar.truncate(place);
        } else if !(1024 + 512..1024 + 512 + 600).contains(&place) {
            return Ok(());
        } else {
            tar[place] ^= 1 << bit;
        }
        let (taken, _) = unpacked(&tar);
        prop_assert!(!taken);
    }

    /// Bytes that are nothing in particular are refused.
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!unpacked(&bytes).0);
        let place = tempfile::tempdir().expect("a temporary folder");
        prop_assert!(unpack(bytes.as_slice(), &place.path().join("data")).is_err());
    }
}

/// The twin: an ordinary archive is taken, with its modes, and a name may be long.
#[test]
fn an_ordinary_archive_is_taken() {
    let long = format!("bundles/{}", "d".repeat(200));
    let manifest = serde_json::to_vec(&Manifest::of("node", false, false)).expect("JSON");
    let sums: Checksums = [(long.clone(), sha256(b"long"))].into();
    let sums = serde_json::to_vec(&sums).expect("JSON");
    let mut tar = Builder::new(Vec::new());
    for (name, content) in [
        (MANIFEST, manifest.as_slice()),
        (long.as_str(), b"long"),
        (CHECKSUMS, &sums),
    ] {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        tar.append_data(&mut header, name, content).expect("memory");
    }
    let (taken, found) = unpacked(&tar.into_inner().expect("memory"));
    assert!(taken);
    assert_eq!(found, BTreeMap::from([(long, b"long".to_vec())]));
}

/// A name that claims to be endless is not read into memory.
#[test]
fn an_endless_name_is_refused_early() {
    /// The head of a long name, and then zeros, which are counted.
    struct Endless {
        head: io::Cursor<Vec<u8>>,
        read: u64,
    }
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = match self.head.read(buffer)? {
                0 => io::repeat(0).read(buffer)?,
                count => count,
            };
            self.read += count as u64;
            Ok(count)
        }
    }
    let mut header = Header::new_gnu();
    header.set_path("././@LongLink").expect("a name");
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(4 << 30);
    header.set_cksum();
    let mut endless = Endless {
        head: io::Cursor::new(header.as_bytes().to_vec()),
        read: 0,
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let refused = unpack_tar(&mut endless, &place.path().join("data"));
    let refused = format!("{:#}", refused.expect_err("it never ends"));
    assert!(refused.contains("too long"), "{refused}");
    assert!(endless.read <= 2 * HEAD, "{}", endless.read);
}

/// The checksums of many files are larger than anything else that is read into memory, and are read all the same.
#[test]
fn the_number_of_files_is_not_bounded() {
    let mut tar = Builder::new(Vec::new());
    let mut append = |name: &str, kind: EntryType, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o700);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).expect("memory");
    };
    let manifest = serde_json::to_vec(&Manifest::of("node", false, false)).expect("JSON");
    append(MANIFEST, EntryType::Regular, &manifest);
    // Letters that JSON writes with six.
    let part = "\u{1}".repeat(200);
    let mut folder = "bundles".to_owned();
    append(&folder, EntryType::Directory, b"");
    for _ in 0..4 {
        folder = format!("{folder}/{part}");
        append(&folder, EntryType::Directory, b"");
    }
    let mut sums = Checksums::new();
    for number in 0..3_500 {
        let name = format!("{folder}/{number}{part}");
        append(&name, EntryType::Regular, b"a");
        sums.insert(name, sha256(b"a"));
    }
    let sums = serde_json::to_vec(&sums).expect("JSON");
    assert!(sums.len() as u64 > SMALL, "{}", sums.len());
    append(CHECKSUMS, EntryType::Regular, &sums);
    let tar = tar.into_inner().expect("memory");
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_, files) = unpack_tar(tar.as_slice(), &place.path().join("data")).expect("whole");
    assert_eq!(files, 3_500);
}
