//! The audit log in a process that is killed, and on a disk that is full.
//!
//! The child is this test binary itself: a test that does nothing unless a variable says what to do.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use magic_store::{
    AuditFilter, AuditLog, AuditOptions, AuditOrder, AuditPublicKey, AuditReader, Kind, Record,
    Verified, verify_audit,
};

/// Tells the child that appends which folder to write in.
const FOLDER: &str = "AUDIT_TEST_FOLDER";

/// Tells the child that fills a disk where the disk is.
const FULL: &str = "AUDIT_TEST_FULL";

/// How often the writer is killed.
const KILLS: u64 = 30;

fn options(folder: &Path) -> AuditOptions {
    AuditOptions {
        segment_bytes: 20_000,
        checkpoint_records: 50,
        ..AuditOptions::below(folder, "node-1")
    }
}

fn verify(folder: &Path) -> Verified {
    let places = options(folder).places;
    let key = AuditPublicKey::read(&places.public_key_file).expect("a key");
    verify_audit(&places.directory, Some(&places.head_file), &key).expect("it verifies")
}

/// The request ids of all records, by number.
fn request_ids(folder: &Path) -> HashMap<u64, String> {
    let directory = options(folder).places.directory;
    AuditReader::open(&directory, AuditFilter::default(), AuditOrder::OldestFirst)
        .expect("a folder")
        .map(|record| record.expect("a readable log"))
        .filter_map(|record| {
            let id = record.members.get("request_id")?.as_str()?.to_owned();
            Some((record.seq, id))
        })
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime")
}

/// The child of the kill test: several tasks append, and each number is said aloud when it is acknowledged.
#[test]
fn child_that_appends() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    runtime().block_on(async {
        let log = AuditLog::open(&options(&folder)).expect("it opens after every kill");
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let log = log.clone();
            tasks.spawn(async move {
                for round in 0.. {
                    let id = format!("req_{}_{task}_{round}", std::process::id());
                    let record = Record {
                        request_id: Some(id.clone()),
                        ..Record::new(Kind::Call)
                    };
                    let ticket = log.append_waiting(&record).await;
                    let seq = ticket.durable().await.expect("durable");
                    let line = format!("acknowledged {seq} {id}\n");
                    std::io::stdout()
                        .write_all(line.as_bytes())
                        .expect("somebody listens");
                }
            });
        }
        tasks.join_all().await;
    });
}

fn child_in(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_that_appends", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts")
}

/// What one line of the child says.
fn acknowledgement(line: &str) -> Option<(u64, String)> {
    let mut words = line.split(' ').skip_while(|word| *word != "acknowledged");
    words.next()?;
    Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
}

/// However often the writer is killed, every record whose number it had said aloud is there afterwards, under that number.
#[test]
fn acknowledged_records_survive_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = HashMap::new();
    for kill in 0..KILLS {
        let mut child = child_in(folder.path());
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // A different number of lines each time; where in a write or a sync that hits is chance.
        let wanted = 1 + kill * 7919 % 97;
        let mut taken = 0;
        while taken < wanted {
            let line = lines.next().expect("it goes on until it is killed");
            let said = acknowledgement(&line.expect("text"));
            taken += u64::from(said.is_some());
            acknowledged.extend(said);
        }
        child.kill().expect("it lives");
        child.wait().expect("it is gone");
        // The last line may have been cut off, and then its id is another.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged.extend(
            rest[..whole]
                .iter()
                .filter_map(|line| acknowledgement(line)),
        );
        verify(folder.path());
    }
    let log = AuditLog::open(&options(folder.path())).expect("it opens");
    runtime().block_on(log.close()).expect("it ends in order");
    verify(folder.path());
    let kept = request_ids(folder.path());
    for (seq, id) in &acknowledged {
        assert_eq!(kept.get(seq), Some(id), "record {seq}");
    }
    assert!(acknowledged.len() as u64 > KILLS);
}

/// The child of the test of the full disk. Everything happens in its own mount namespace, since the disk is gone with it.
#[test]
fn child_that_fills_a_disk() {
    let Some(folder) = std::env::var_os(FULL).map(PathBuf::from) else {
        return;
    };
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 300_000]).expect("there is room");
    let options = options(&folder);
    let record = |number: usize| {
        Record {
            request_id: Some(format!("req_{number}")),
            ..Record::new(Kind::Call)
        }
        .with_field("filling", "x".repeat(number * 101 % 5000))
    };
    runtime().block_on(async {
        let log = AuditLog::open(&options).expect("there is room");
        let mut acknowledged = HashMap::new();
        let mut number = 0;
        let failed = loop {
            number += 1;
            match log.append(&record(number)).durable().await {
                Ok(seq) => acknowledged.insert(seq, format!("req_{number}")),
                Err(failed) => break failed,
            };
        };
        assert!(failed.to_string().contains("No space left"), "{failed}");
        assert_eq!(log.health(), Err(failed.clone()));
        // Room alone does not bring it back.
        std::fs::remove_file(&ballast).expect("it was there");
        assert_eq!(log.append(&record(0)).durable().await, Err(failed.clone()));
        assert_eq!(log.close().await, Err(failed));
        verify(&folder);

        // A disk that is still full refuses at the start, or as soon as the rest of a block is used up.
        let mut filling = std::fs::File::create(&ballast).expect("a file");
        while filling.write_all(&[0; 4096]).is_ok() {}
        let refused = match AuditLog::open(&options) {
            Err(refused) => refused.to_string(),
            Ok(log) => loop {
                match log.append(&record(49)).durable().await {
                    Ok(seq) => acknowledged.insert(seq, "req_49".to_owned()),
                    Err(failed) => {
                        assert_eq!(log.close().await, Err(failed.clone()));
                        break failed.to_string();
                    }
                };
            },
        };
        assert!(refused.contains("No space left"), "{refused}");
        drop(filling);

        std::fs::remove_file(&ballast).expect("it was there");
        let log = AuditLog::open(&options).expect("there is room again");
        log.append(&record(1)).durable().await.expect("durable");
        log.close().await.expect("it ends in order");
        verify(&folder);
        let kept = request_ids(&folder);
        assert!(acknowledged.len() > 50);
        for (seq, id) in &acknowledged {
            assert_eq!(kept.get(seq), Some(id), "record {seq}");
        }
    });
    let said = "the disk was full\n";
    std::io::stdout()
        .write_all(said.as_bytes())
        .expect("somebody listens");
}

/// A disk that really is full: the log stops acknowledging, says why, and goes on after a restart with room.
#[test]
fn a_full_disk_ends_it_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=1m none \"$1\" && exec \"$2\" --exact child_that_fills_a_disk --nocapture";
    let ended = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this program"))
        .env(FULL, folder.path())
        .output()
        .expect("unshare(1) of util-linux, as root");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("the disk was full"),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
