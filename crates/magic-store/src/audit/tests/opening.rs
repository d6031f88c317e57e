//! Opening: the first time, again, twice at once, and when something is missing or changed.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;

/// A log goes on where it ended, over several files, and verifies.
#[test]
fn a_log_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 30);
    written(folder.path(), 30);
    let verified = verify(&options.places).expect("it verifies");
    assert_eq!(verified.records, 60);
    assert_eq!(verified.unsigned, 0);
    assert_eq!(verified.head, Some(verified.last));
    assert!(files(&options.places.directory).len() > 3);
    let numbers: Vec<_> = records(&options.places.directory)
        .iter()
        .map(|record| record.members["fields"]["number"].as_u64())
        .collect();
    let expected: Vec<_> = (0..30).chain(0..30).map(Some).collect();
    assert_eq!(numbers, expected);
}

/// Two processes, or two logs of one, never share a folder.
#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path());
    let log = AuditLog::open(&options).expect("a log");
    let error = AuditLog::open(&options).expect_err("it is in use");
    assert!(matches!(error, AuditOpenError::InUse(_)), "{error}");
    block_on(log.close()).expect("it ends in order");
    AuditLog::open(&options).expect("it is free again");
}

/// What a crash leaves of an unacknowledged line is cut off, kept, and told.
#[test]
fn an_unfinished_line_is_cut_off_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 5);
    let last = files(&options.places.directory).pop().expect("a file");
    let torn = b"{\"seq\":8,\"prev\":\"00";
    OpenOptions::new()
        .append(true)
        .open(&last)
        .expect("the file")
        .write_all(torn)
        .expect("written");
    let verified = verify(&options.places).expect("a line without an end does not count");
    assert_eq!(verified.unfinished_bytes, torn.len() as u64);

    let log = AuditLog::open(&options).expect("it opens");
    let cut = log.recovered().expect("something was cut off").clone();
    assert_eq!(cut.bytes, torn.len() as u64);
    assert_eq!(std::fs::read(&cut.kept).expect("it is kept"), torn);
    block_on(log.close()).expect("it ends in order");
    let verified = verify(&options.places).expect("it verifies");
    assert_eq!((verified.records, verified.unfinished_bytes), (6, 0));
    let told = records(&options.places.directory).pop().expect("a record");
    assert_eq!(told.members["kind"], "recovery");
    assert_eq!(told.members["fields"]["cut_bytes"], torn.len());
}

/// What is missing or changed refuses to open, says what, and what to type; what it says then works.
#[test]
fn a_log_that_was_touched_does_not_open() {
    type Touch = fn(&AuditPlaces);
    let table: [(&str, Touch, &str); 7] = [
        ("no head", |places| remove(&places.head_file), "has no head"),
        (
            "no key",
            |places| remove(&places.key_file),
            "which is not there",
        ),
        (
            "no log",
            |places| {
                for file in files(&places.directory) {
                    remove(&file);
                }
            },
            "the log was removed",
        ),
        (
            "last file gone",
            |places| remove(files(&places.directory).last().expect("a file")),
            "its end was cut off",
        ),
        (
            "edited",
            |places| edit(places, |text| text.replace("req_28", "req_99")),
            "does not fit its hash",
        ),
        (
            "last line cut short, though it was acknowledged",
            |places| edit(places, |text| text[..text.len() - 3].to_owned()),
            "its end was cut off",
        ),
        (
            "head of somebody else",
            |places| {
                let other = tempfile::tempdir().expect("a folder");
                let other = written(other.path(), 1).places.head_file;
                std::fs::copy(other, &places.head_file).expect("copied");
            },
            "was not signed by this key",
        ),
    ];
    for (name, touch, said) in table {
        let folder = tempfile::tempdir().expect("a folder");
        let options = written(folder.path(), 29);
        touch(&options.places);
        let before: Vec<_> = files(&options.places.directory)
            .iter()
            .map(std::fs::read)
            .map(|bytes| bytes.expect("a file"))
            .collect();
        let error = AuditLog::open(&options).expect_err(name).to_string();
        assert!(error.contains(said), "{name}: {error}");
        let after: Vec<_> = files(&options.places.directory)
            .iter()
            .map(std::fs::read)
            .map(|bytes| bytes.expect("a file"))
            .collect();
        assert!(before == after, "{name}: refusing changed something");
        let (_, line) = error.split_once("type: ").expect("a line to type");
        let typed = std::process::Command::new("sh")
            .args(["-c", line])
            .output()
            .expect("a shell");
        // A head that is not there cannot be moved; the shell says so and the rest is done.
        drop(typed);
        AuditLog::open(&options).expect("a new log begins");
    }
}

/// A log under another name is another log.
#[test]
fn the_name_of_the_node_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = written(folder.path(), 1);
    options.node = "node-2".to_owned();
    let error = AuditLog::open(&options).expect_err("it is another's");
    assert!(error.to_string().contains("call it node-1"), "{error}");
    options.node = "../x".to_owned();
    let error = AuditLog::open(&options).expect_err("no name");
    assert!(matches!(error, AuditOpenError::Node(_)), "{error}");
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("it was there");
}

fn edit(places: &AuditPlaces, change: impl Fn(&str) -> String) {
    let path = files(&places.directory).pop().expect("a file");
    let text = std::fs::read_to_string(&path).expect("text");
    let changed = change(&text);
    assert_ne!(text, changed);
    std::fs::write(&path, changed).expect("written");
}
