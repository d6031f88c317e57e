//! Archives written block by block, as no library would write them.

use super::super::Bundle;
use super::super::tests::CONTRACT;
use magic_contract::{ErrorCode, Failure};
use std::io::Write;
use tar::EntryType;

/// One raw entry: the header as it stands, no library's opinion of it.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) content: Vec<u8>,
}

pub(super) fn file(name: &str, content: impl AsRef<[u8]>) -> Entry {
    let content = content.as_ref().to_vec();
    Entry {
        name: name.as_bytes().to_vec(),
        kind: EntryType::Regular,
        mode: 0o644,
        size: content.len() as u64,
        content,
    }
}

pub(super) fn of_kind(name: &str, kind: EntryType, content: impl AsRef<[u8]>) -> Entry {
    Entry {
        kind,
        ..file(name, content)
    }
}

pub(super) fn with_mode(name: &str, mode: u32) -> Entry {
    Entry {
        mode,
        ..file(name, "x")
    }
}

pub(super) fn declaring(name: &str, size: u64) -> Entry {
    Entry {
        size,
        ..file(name, "")
    }
}

pub(super) fn raw_name(name: &[u8]) -> Entry {
    Entry {
        name: name.to_vec(),
        ..file("", "x")
    }
}

pub(super) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while rest.len() + length.to_string().len() != length {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

pub(super) fn pax(key: &str, value: &str) -> Entry {
    of_kind("PaxHeaders/x", EntryType::XHeader, record(key, value))
}

pub(super) fn blocks(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..entry.name.len().min(100)]
            .copy_from_slice(&entry.name[..entry.name.len().min(100)]);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.size);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

pub(super) fn finished(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The two files that every bundle has.
pub(super) fn honest() -> Vec<Entry> {
    vec![
        file("controller.py", "x = 1\n"),
        file("contract.yaml", CONTRACT),
    ]
}

pub(super) fn tar_with(entries: Vec<Entry>) -> Vec<u8> {
    let mut all = honest();
    all.extend(entries);
    finished(blocks(&all))
}

pub(super) fn read(entries: Vec<Entry>) -> Result<Bundle, Failure> {
    Bundle::from_archive(&zstd(&tar_with(entries)))
}

pub(super) fn refusal(result: Result<Bundle, Failure>) -> String {
    let failure = result.expect_err("the archive is refused");
    assert_eq!(failure.code, ErrorCode::InvalidBundle);
    failure.message
}
