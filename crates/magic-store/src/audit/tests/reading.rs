//! Which records a reader finds, in both orders, and where it stops.

use serde_json::json;

use super::*;

fn numbers(reader: impl Iterator<Item = Result<StoredRecord, AuditReadError>>) -> Vec<u64> {
    reader
        .map(|record| record.expect("a readable log"))
        .filter_map(|record| record.members["fields"]["number"].as_u64())
        .collect()
}

fn open(options: &AuditOptions, filter: AuditFilter, order: AuditOrder) -> AuditReader {
    AuditReader::open(&options.places.directory, filter, order).expect("a folder")
}

/// Each filter finds what a look at all records finds, and both orders find the same.
#[test]
fn filters() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 60);
    let all = records(&options.places.directory);
    assert_eq!(all.len(), 60);
    let middle = &all[30];
    let time: jiff::Timestamp = middle.members["time"]
        .as_str()
        .and_then(|time| time.parse().ok())
        .expect("a time");
    let member = |record: &StoredRecord, name: &str| record.members[name].clone();
    let later = |record: &StoredRecord| {
        let other = member(record, "time");
        other.as_str() >= middle.members["time"].as_str()
    };
    type Wanted<'a> = Box<dyn Fn(&StoredRecord) -> bool + 'a>;
    let table: Vec<(AuditFilter, Wanted<'_>)> = vec![
        (AuditFilter::default(), Box::new(|_| true)),
        (
            AuditFilter {
                controller: Some("Two".to_owned()),
                ..AuditFilter::default()
            },
            Box::new(|record| member(record, "controller") == "Two"),
        ),
        (
            AuditFilter {
                request_id: Some("req_17".to_owned()),
                ..AuditFilter::default()
            },
            Box::new(|record| member(record, "request_id") == "req_17"),
        ),
        (
            AuditFilter {
                capability: Some("db:write".to_owned()),
                ..AuditFilter::default()
            },
            Box::new(|_| false),
        ),
        (
            AuditFilter {
                decision: Some(Decision::Deny),
                kind: Some(Kind::Call),
                ..AuditFilter::default()
            },
            Box::new(|record| member(record, "decision") == "deny"),
        ),
        (
            AuditFilter {
                kind: Some(Kind::Deploy),
                ..AuditFilter::default()
            },
            Box::new(|_| false),
        ),
        (
            AuditFilter {
                since: Some(time),
                ..AuditFilter::default()
            },
            Box::new(|record| later(record)),
        ),
        (
            AuditFilter {
                until: Some(time),
                ..AuditFilter::default()
            },
            Box::new(|record| !later(record)),
        ),
        (
            AuditFilter {
                before: Some(middle.seq),
                after: Some(all[3].seq),
                ..AuditFilter::default()
            },
            Box::new(|record| record.seq < middle.seq && record.seq > all[3].seq),
        ),
    ];
    for (filter, wanted) in table {
        let expected: Vec<_> = all
            .iter()
            .filter(|record| wanted(record))
            .cloned()
            .collect();
        let found: Vec<_> = open(&options, filter.clone(), AuditOrder::OldestFirst)
            .map(|record| record.expect("a readable log"))
            .collect();
        assert_eq!(found, expected, "{filter:?}");
        let mut reversed: Vec<_> = open(&options, filter.clone(), AuditOrder::NewestFirst)
            .map(|record| record.expect("a readable log"))
            .collect();
        reversed.reverse();
        assert_eq!(reversed, expected, "{filter:?}");
    }
}

/// A reader that may read only so much says where it stopped, and going on from there finds every record once.
#[test]
fn a_bounded_reader_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 60);
    let mut found = Vec::new();
    let mut filter = AuditFilter::default();
    let mut rounds = 0;
    loop {
        let mut reader =
            open(&options, filter.clone(), AuditOrder::NewestFirst).reading_at_most(1500);
        found.extend(numbers(&mut reader));
        rounds += 1;
        match reader.stopped_at() {
            Some(seq) => filter.before = Some(seq),
            None => break,
        }
    }
    assert_eq!(found, (0..60).rev().collect::<Vec<_>>());
    assert!(rounds > 5, "{rounds}");
}

/// The JSON form of a stored record, and a line that is being written.
#[test]
fn what_is_read_is_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 1);
    let path = files(&options.places.directory).remove(0);
    let mut text = std::fs::read_to_string(&path).expect("text");
    text.push_str("{\"seq\":");
    std::fs::write(&path, text).expect("written");
    for order in [AuditOrder::OldestFirst, AuditOrder::NewestFirst] {
        let record = open(&options, AuditFilter::default(), order)
            .next()
            .expect("a record")
            .expect("a readable log");
        let shown = serde_json::to_value(&record).expect("JSON");
        assert_eq!(
            shown,
            json!({
                "seq": 2, "time": shown["time"], "kind": "call", "request_id": "req_0", "controller": "One",
                "capability": "db:read", "decision": "deny", "fields": {"number": 0}, "hash": shown["hash"],
            })
        );
    }
    let nowhere = folder.path().join("nowhere");
    let none = AuditReader::open(&nowhere, AuditFilter::default(), AuditOrder::NewestFirst);
    assert_eq!(none.expect("no folder is no log").count(), 0);
}

/// A line that is none ends the reading, and is not passed over.
#[test]
fn a_strange_line_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = written(folder.path(), 3);
    let path = files(&options.places.directory).remove(0);
    let text = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, text.replace("\"seq\":3", "\"seq\":03")).expect("written");
    let results: Vec<_> = open(&options, AuditFilter::default(), AuditOrder::OldestFirst).collect();
    assert_eq!(results.len(), 2);
    assert!(
        matches!(&results[1], Err(AuditReadError::Line { .. })),
        "{results:?}"
    );
}
