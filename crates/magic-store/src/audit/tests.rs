//! The log as a whole, on real files.

mod failing;
mod opening;
mod power_loss;
mod reading;
mod tampering;

use std::path::Path;
use std::time::Duration;

use super::*;

/// Runs a future to its end.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A small log: a handful of records fill a file, and every seventh is followed by a signature.
fn options(folder: &Path) -> AuditOptions {
    AuditOptions {
        segment_bytes: 6000,
        checkpoint_records: 7,
        checkpoint_interval: Duration::from_secs(3600),
        ..AuditOptions::below(folder, "node-1")
    }
}

/// A record that can be told from others.
fn numbered(number: usize) -> Record {
    Record {
        request_id: Some(format!("req_{number}")),
        controller: Some(["One", "Two", "Three"][number % 3].to_owned()),
        capability: Some("db:read".to_owned()),
        decision: Some(if number.is_multiple_of(5) {
            Decision::Deny
        } else {
            Decision::Allow
        }),
        ..Record::new(Kind::Call)
    }
    .with_field("number", number)
}

/// A log with so many records, ended in order.
fn written(folder: &Path, records: usize) -> AuditOptions {
    let options = options(folder);
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
    options
}

/// Verifies against the head.
fn verify(places: &AuditPlaces) -> Result<Verified, AuditVerifyError> {
    let key = AuditPublicKey::read(&places.public_key_file).expect("a key");
    verify_audit(&places.directory, Some(&places.head_file), &key)
}

/// Every record of a log, oldest first.
fn records(directory: &Path) -> Vec<StoredRecord> {
    AuditReader::open(directory, AuditFilter::default(), AuditOrder::OldestFirst)
        .expect("a folder")
        .collect::<Result<_, _>>()
        .expect("a readable log")
}

/// The files of a log, oldest first.
fn files(directory: &Path) -> Vec<PathBuf> {
    segment::segments(directory)
        .expect("a folder")
        .into_iter()
        .map(|segment| segment.path)
        .collect()
}
