//! Everything that somebody with access to the files may do, and what the verification makes of it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::audit::entry::{BodyKind, Entry, Hash, write_entry};

const NODE: &str = "node-1";

/// A log of one file and one of several, made once; tests work on copies of the lines.
fn lines(records: usize, segment_bytes: u64) -> (tempfile::TempDir, AuditOptions) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = AuditOptions {
        segment_bytes,
        ..options(folder.path())
    };
    block_on(async {
        let log = AuditLog::open(&options).expect("a log");
        for number in 0..records {
            log.append(&numbered(number))
                .durable()
                .await
                .expect("durable");
        }
        log.close().await.expect("it ends in order");
    });
    (folder, options)
}

#[track_caller]
fn first_bad(places: &AuditPlaces) -> FirstBad {
    match verify(places) {
        Err(AuditVerifyError::Bad(bad)) => bad,
        other => panic!("it should name a record: {other:?}"),
    }
}

/// The lines of a file.
fn split(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Chains lines anew from the one at `from` on, leaving signatures as they are: what somebody without the key can do.
fn rechain(lines: &mut [String], from: usize) {
    let mut previous = match from.checked_sub(1) {
        Some(before) => Entry::parse(lines[before].as_bytes()).expect("a line").hash,
        None => Hash::NONE,
    };
    for line in &mut lines[from..] {
        let text = line.clone();
        let entry = Entry::parse(text.as_bytes()).expect("a line");
        let mut out = Vec::new();
        previous = write_entry(&mut out, NODE, entry.seq, &previous, entry.kind, entry.body);
        out.pop();
        *line = String::from_utf8(out).expect("text");
    }
}

/// Changes a record of a line and gives the line a fitting hash.
fn forge(line: &str) -> String {
    let changed = line.replacen("\"kind\":\"call\"", "\"kind\":\"stop\"", 1);
    assert_ne!(line, changed);
    let entry = Entry::parse(changed.as_bytes()).expect("a line");
    let mut out = Vec::new();
    write_entry(
        &mut out,
        NODE,
        entry.seq,
        &entry.previous,
        entry.kind,
        entry.body,
    );
    out.pop();
    String::from_utf8(out).expect("text")
}

/// In one file: entry 1 is a checkpoint, then seven records and a checkpoint in turn. Line n holds entry n + 1.
#[test]
fn the_first_bad_record_is_named() {
    type Tamper = fn(&mut Vec<String>);
    let table: [(&str, Tamper, u64, &str); 14] = [
        (
            "edit",
            |lines| lines[19] = lines[19].replace("db:read", "db:raed"),
            20,
            "does not fit its hash",
        ),
        (
            "edit of white space",
            |lines| lines[19] = lines[19].replace("\"record\":{", "\"record\": {"),
            20,
            "does not fit its hash",
        ),
        (
            "edit outside of the record",
            |lines| lines[19].insert(1, ' '),
            20,
            "not one that an audit log writes",
        ),
        (
            "delete",
            |lines| drop(lines.remove(19)),
            20,
            "it is missing; 21 stands in its place",
        ),
        (
            "insert a copy",
            |lines| lines.insert(19, lines[18].clone()),
            19,
            "moved or inserted",
        ),
        (
            "insert a forged record",
            |lines| lines.insert(19, forge(&lines[19])),
            20,
            "moved or inserted",
        ),
        ("reorder", |lines| lines.swap(19, 20), 20, "it is missing"),
        (
            "edit with a fitting hash",
            |lines| lines[19] = forge(&lines[19]),
            20,
            "hash computed anew",
        ),
        (
            "edit with all hashes computed anew",
            |lines| {
                lines[19] = forge(&lines[19]);
                rechain(lines, 19);
            },
            25,
            "signature does not fit: something after 17",
        ),
        (
            "the same near the end, with the last checkpoints removed",
            |lines| {
                lines.truncate(20);
                lines[19] = forge(&lines[19]);
            },
            21,
            "its end was cut off",
        ),
        (
            "cut tail",
            |lines| lines.truncate(20),
            21,
            "its end was cut off",
        ),
        (
            "cut tail, within a line",
            |lines| {
                let last = lines.len() - 1;
                lines[last].truncate(40);
            },
            41,
            "its end was cut off",
        ),
        ("everything gone", Vec::clear, 1, "its end was cut off"),
        (
            "first line gone",
            |lines| drop(lines.remove(0)),
            1,
            "it is missing; 2 stands",
        ),
    ];
    let (_folder, options) = lines(35, u64::MAX);
    let path = files(&options.places.directory).remove(0);
    let whole = std::fs::read_to_string(&path).expect("text");
    let verified = verify(&options.places).expect("untouched it verifies");
    assert_eq!((verified.last, verified.records), (41, 35));
    for (name, tamper, seq, said) in table {
        let mut lines = split(&whole);
        tamper(&mut lines);
        let mut text = lines.join("\n");
        if name != "cut tail, within a line" && !text.is_empty() {
            text.push('\n');
        }
        std::fs::write(&path, text).expect("written");
        let bad = first_bad(&options.places);
        assert_eq!(bad.seq, seq, "{name}: {bad}");
        assert!(bad.what.contains(said), "{name}: {bad}");
    }
    std::fs::write(&path, whole).expect("written");
    verify(&options.places).expect("put back it verifies");
}

/// Whole files: removed, swapped, renamed, replaced by ones of another log or another key.
#[test]
fn files_that_do_not_belong_are_named() {
    type Tamper = fn(&[PathBuf]);
    let table: [(&str, Tamper, usize, &str); 6] = [
        (
            "first removed",
            |files| std::fs::remove_file(&files[0]).expect("removed"),
            0,
            "a file was removed",
        ),
        (
            "one in the middle removed",
            |files| std::fs::remove_file(&files[1]).expect("removed"),
            1,
            "a file was removed",
        ),
        (
            "last removed",
            |files| std::fs::remove_file(files.last().expect("a file")).expect("removed"),
            usize::MAX,
            "its end was cut off",
        ),
        (
            "two swapped",
            |files| {
                let (one, two) = (std::fs::read(&files[1]), std::fs::read(&files[2]));
                std::fs::write(&files[1], two.expect("bytes")).expect("written");
                std::fs::write(&files[2], one.expect("bytes")).expect("written");
            },
            1,
            "it is missing",
        ),
        (
            "one emptied",
            |files| std::fs::write(&files[1], "").expect("written"),
            1,
            "a file was removed",
        ),
        (
            "not a file",
            |files| {
                std::fs::remove_file(&files[1]).expect("removed");
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &files[1],
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::from(0o600),
                    0,
                )
                .expect("a pipe");
            },
            usize::MAX,
            "",
        ),
    ];
    for (name, tamper, file, said) in table {
        let (_folder, options) = lines(60, 6000);
        let files = segment::segments(&options.places.directory).expect("files");
        assert!(files.len() > 4, "{}", files.len());
        verify(&options.places).expect("untouched it verifies");
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        tamper(&paths);
        if name == "not a file" {
            let error = verify(&options.places).expect_err("it cannot be read");
            assert!(!error.is_about_the_log(), "{error}");
            continue;
        }
        let bad = first_bad(&options.places);
        let file = file.min(files.len() - 1);
        assert_eq!(bad.seq, files[file].first, "{name}: {bad}");
        assert!(bad.what.contains(said), "{name}: {bad}");
    }
}

/// Somebody writes a whole log of their own, in perfect order, with a key of their own.
#[test]
fn a_chain_with_another_key_is_another_log() {
    let (_folder, options) = lines(20, u64::MAX);
    let (_other_folder, other) = lines(20, u64::MAX);
    verify(&other.places).expect("with its own key it verifies");
    let original = files(&options.places.directory).remove(0);
    std::fs::copy(files(&other.places.directory).remove(0), &original).expect("copied");
    let bad = first_bad(&options.places);
    assert_eq!(bad.seq, 1);
    assert!(bad.what.contains("another key"), "{bad}");
    // With head and public key replaced as well, only a key that was kept elsewhere tells.
    let pinned = AuditPublicKey::read(&options.places.public_key_file).expect("a key");
    std::fs::copy(&other.places.head_file, &options.places.head_file).expect("copied");
    std::fs::copy(
        &other.places.public_key_file,
        &options.places.public_key_file,
    )
    .expect("copied");
    verify(&options.places).expect("everything fits the key beside it");
    let error = verify_audit(
        &options.places.directory,
        Some(&options.places.head_file),
        &pinned,
    )
    .expect_err("but not the one that was kept");
    assert!(error.is_about_the_log(), "{error}");
}

/// Without the key nobody can leave out signatures for long.
#[test]
fn signatures_cannot_be_left_out() {
    let (_folder, options) = lines(1, u64::MAX);
    let path = files(&options.places.directory).remove(0);
    let key = AuditPublicKey::read(&options.places.public_key_file).expect("a key");
    let first = split(&std::fs::read_to_string(&path).expect("text")).remove(0);
    let mut previous = Entry::parse(first.as_bytes()).expect("a line").hash;
    let mut text = format!("{first}\n").into_bytes();
    let distance = chain::CHECKPOINT_DISTANCE;
    for seq in 2..=distance + 2 {
        previous = write_entry(&mut text, NODE, seq, &previous, BodyKind::Record, b"{}");
    }
    std::fs::write(&path, &text).expect("written");
    let error = verify_audit(&options.places.directory, None, &key).expect_err("too far");
    assert!(
        matches!(&error, AuditVerifyError::Bad(bad) if bad.seq == distance + 2),
        "{error}"
    );
    // And none at all.
    let mut text = Vec::new();
    write_entry(&mut text, NODE, 1, &Hash::NONE, BodyKind::Record, b"{}");
    std::fs::write(&path, &text).expect("written");
    let error = verify_audit(&options.places.directory, None, &key).expect_err("none at all");
    assert!(
        matches!(&error, AuditVerifyError::Bad(bad) if bad.seq == 1),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whichever bit flips, the entry that it stands in is named.
    #[test]
    fn any_flipped_bit_is_found(at in any::<Index>(), bit in 0..8_u8) {
        let (_folder, options) = cached();
        let mut bytes = cached_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let line = cached_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let bad = verify_bytes(options, &bytes);
        prop_assert_eq!(bad.seq, line + 1, "{}", bad);
    }

    /// Whichever bytes are cut out, put in, or put in the place of others, it shows.
    #[test]
    fn any_change_is_found(from in any::<Index>(), length in 0..2000_usize, put in prop::collection::vec(any::<u8>(), 0..50)) {
        let (_folder, options) = cached();
        let whole = cached_bytes();
        let from = from.index(whole.len());
        let to = (from + length).min(whole.len());
        let changed = [&whole[..from], put.as_slice(), &whole[to..]].concat();
        prop_assume!(changed != whole);
        verify_bytes(options, &changed);
    }

    /// Whatever is there instead of a log, looking at it ends well.
    #[test]
    fn arbitrary_files_never_panic(bytes in any::<Vec<u8>>(), keep in any::<Index>()) {
        let (_folder, options) = cached();
        let whole = cached_bytes();
        let changed = [&whole[..keep.index(whole.len())], bytes.as_slice(), b"\n"].concat();
        let folder = tempfile::tempdir().expect("a folder");
        let segment = segment::Segment::new(folder.path(), NODE, 1);
        std::fs::write(&segment.path, &changed).expect("written");
        let key = AuditPublicKey::read(&options.places.public_key_file).expect("a key");
        let _ = verify_audit(folder.path(), None, &key);
        for order in [AuditOrder::OldestFirst, AuditOrder::NewestFirst] {
            let reader = AuditReader::open(folder.path(), AuditFilter::default(), order);
            let _ = reader.expect("a folder").count();
        }
    }
}

/// One log for all cases of a property.
fn cached() -> &'static (tempfile::TempDir, AuditOptions) {
    static CACHED: std::sync::OnceLock<(tempfile::TempDir, AuditOptions)> =
        std::sync::OnceLock::new();
    CACHED.get_or_init(|| lines(20, u64::MAX))
}

fn cached_bytes() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        std::fs::read(files(&cached().1.places.directory).remove(0)).expect("bytes")
    })
}

/// Verifies these bytes in place of the log's one file.
#[track_caller]
fn verify_bytes(options: &AuditOptions, bytes: &[u8]) -> FirstBad {
    let folder = tempfile::tempdir().expect("a folder");
    let segment = segment::Segment::new(folder.path(), NODE, 1);
    std::fs::write(&segment.path, bytes).expect("written");
    first_bad(&AuditPlaces {
        directory: folder.path().to_owned(),
        ..options.places.clone()
    })
}

/// A log is held against where it ended when somebody else was shown it; other nodes' ends do not matter.
#[test]
fn shown_ends() {
    let (_folder, options) = lines(5, 1 << 20);
    let key = AuditPublicKey::read(&options.places.public_key_file).expect("a key");
    let whole = verify(&options.places).expect("it is whole");
    let shown = |node: &str, sequence: u64, hash: &str| ShownHead {
        node: node.to_owned(),
        sequence,
        hash: hash.to_owned(),
    };
    let against =
        |shown: &[ShownHead]| verify_audit_against(&options.places.directory, None, &key, shown);
    let same = against(&[shown(NODE, whole.last, &whole.hash)]).expect("the same");
    assert_eq!(same.seen, Some(whole.last));
    let stranger = against(&[shown("node-2", whole.last + 9, &whole.hash)]).expect("not ours");
    assert_eq!(stranger.seen, None);
    for (sequence, hash, expected) in [
        (whole.last, "0".repeat(64), "written anew"),
        (whole.last + 1, whole.hash.clone(), "cut off"),
    ] {
        match against(&[shown(NODE, sequence, &hash)]) {
            Err(AuditVerifyError::Bad(bad)) => assert!(bad.what.contains(expected), "{bad}"),
            other => panic!("it should not verify: {other:?}"),
        }
    }
}
