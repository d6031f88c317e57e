//! A disk that fails, and one that is too slow.

use std::io;
use std::sync::{Condvar, Mutex};

use super::*;
use crate::audit::medium::{AppendFile, FileSystem, Medium};

/// A file system whose syncs can be held up, counted and made to fail.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    held: bool,
    waiting: bool,
    syncs: usize,
    heads: usize,
    /// The next sync fails, and those after it do not: what a kernel does that has dropped the pages.
    fail_once: bool,
    fail_heads: bool,
}

#[derive(Debug)]
struct Gated(Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Arc<Gate>, Box<dyn AppendFile>);

impl Gate {
    fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().expect("no panic"));
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&GateState) -> bool) {
        let happened = self.happens_within(Duration::from_secs(30), condition);
        assert!(happened, "it never happened");
    }

    fn happens_within(&self, time: Duration, condition: impl Fn(&GateState) -> bool) -> bool {
        let state = self.state.lock().expect("no panic");
        let (_state, timeout) = self
            .changed
            .wait_timeout_while(state, time, |state| !condition(state))
            .expect("no panic");
        !timeout.timed_out()
    }
}

impl Medium for Gated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        FileSystem.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(GatedFile(
            Arc::clone(&self.0),
            FileSystem.open(path)?,
        )))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_directory(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if self.0.state.lock().expect("no panic").fail_heads {
            return Err(rustix::io::Errno::ROFS.into());
        }
        FileSystem.replace(path, content)?;
        self.0.set(|state| state.heads += 1);
        Ok(())
    }
}

impl AppendFile for GatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.set(|state| state.waiting = true);
        self.0.wait_until(|state| !state.held);
        let mut state = self.0.state.lock().expect("no panic");
        state.waiting = false;
        state.syncs += 1;
        if std::mem::take(&mut state.fail_once) {
            return Err(rustix::io::Errno::IO.into());
        }
        drop(state);
        self.1.sync()
    }
}

fn gated(folder: &Path, queue_bytes: usize) -> (AuditOptions, Arc<Gate>, AuditLog) {
    let options = AuditOptions {
        queue_bytes,
        segment_bytes: u64::MAX,
        ..options(folder)
    };
    let gate = Arc::new(Gate::default());
    let medium = Arc::new(Gated(Arc::clone(&gate)));
    let log = AuditLog::open_on(&options, medium).expect("a log");
    (options, gate, log)
}

/// After one failed sync nothing is acknowledged any more, though the disk says that it is well again.
#[test]
fn a_failed_sync_ends_it_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let (options, gate, log) = gated(folder.path(), 1 << 20);
    block_on(async {
        log.append(&numbered(1)).durable().await.expect("durable");
        gate.set(|state| state.fail_once = true);
        let failed = log.append(&numbered(2)).durable().await;
        let failed = failed.expect_err("it cannot be durable");
        assert!(matches!(failed, AuditFailed::Stopped(_)), "{failed}");
        assert!(failed.to_string().contains("cannot sync"), "{failed}");
        assert_eq!(log.health(), Err(failed.clone()));
        let later = log.append(&numbered(3));
        assert!(later.is_refused());
        assert_eq!(later.durable().await, Err(failed.clone()));
        let waited = log.append_waiting(&numbered(4)).await;
        assert_eq!(waited.durable().await, Err(failed.clone()));
        assert_eq!(log.close().await, Err(failed));
    });
    drop(log);
    let log = AuditLog::open(&options).expect("it opens again");
    block_on(log.close()).expect("it ends in order");
    verify(&options.places).expect("it verifies");
    assert!(!records(&options.places.directory).is_empty());
}

/// A head that cannot be written ends the log too: without it a cut-off end would not show.
#[test]
fn a_head_that_cannot_be_written_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, gate, log) = gated(folder.path(), 1 << 20);
    block_on(async {
        gate.set(|state| state.fail_heads = true);
        let mut last = Ok(0);
        for number in 0..10_000 {
            last = log.append(&numbered(number)).durable().await;
            if last.is_err() {
                break;
            }
        }
        let failed = last.expect_err("it notices");
        assert!(failed.to_string().contains("head"), "{failed}");
    });
}

/// The head names nothing that is not durable yet.
#[test]
fn the_head_is_never_ahead() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, gate, log) = gated(folder.path(), 1 << 20);
    // The head of the empty log, and the one after the first signature.
    gate.wait_until(|state| state.heads == 2);
    gate.set(|state| state.held = true);
    let ticket = log.append(&numbered(1));
    gate.wait_until(|state| state.waiting);
    assert!(!gate.happens_within(Duration::from_millis(200), |state| state.heads > 2));
    gate.set(|state| state.held = false);
    gate.wait_until(|state| state.heads == 3);
    block_on(ticket.durable()).expect("durable");
}

/// What waits while a sync runs shares the next one.
#[test]
fn those_who_wait_share_a_sync() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, gate, log) = gated(folder.path(), 1 << 20);
    block_on(async {
        let before = gate.state.lock().expect("no panic").syncs;
        gate.set(|state| state.held = true);
        let first = log.append(&numbered(0));
        gate.wait_until(|state| state.waiting);
        let tickets: Vec<_> = (1..200)
            .map(|number| log.append(&numbered(number)))
            .collect();
        gate.set(|state| state.held = false);
        let mut seq = first.durable().await.expect("durable");
        for ticket in tickets {
            let next = ticket.durable().await.expect("durable");
            assert!(next > seq, "numbers follow the order of handing over");
            seq = next;
        }
        let after = gate.state.lock().expect("no panic").syncs;
        assert_eq!(after - before, 2);
        log.close().await.expect("it ends in order");
    });
}

/// A full queue refuses, or lets wait; and what it refused is told in the log.
#[test]
fn a_full_queue_pushes_back_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (options, gate, log) = gated(folder.path(), 2000);
    block_on(async {
        gate.set(|state| state.held = true);
        let mut taken = Vec::new();
        let refused = loop {
            let ticket = log.append(&numbered(taken.len()));
            if ticket.is_refused() {
                break ticket;
            }
            taken.push(ticket);
        };
        assert!(taken.len() < 10, "{}", taken.len());
        assert_eq!(refused.durable().await, Err(AuditFailed::Full));
        assert!(log.is_healthy());
        let other = numbered(77);
        let mut waiting = std::pin::pin!(log.append_waiting(&other));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        gate.set(|state| state.held = false);
        let ticket = waiting.await;
        ticket.durable().await.expect("durable");
        for ticket in taken {
            ticket.durable().await.expect("durable");
        }
        log.append(&numbered(1))
            .durable()
            .await
            .expect("room again");
        log.close().await.expect("it ends in order");
        let closed = log.append(&numbered(2)).durable().await;
        assert_eq!(closed, Err(AuditFailed::Closed));
    });
    let gaps: Vec<_> = records(&options.places.directory)
        .into_iter()
        .filter(|record| record.members["kind"] == "gap")
        .map(|record| record.members["fields"]["refused"].as_u64())
        .collect();
    assert_eq!(gaps, [Some(1)]);
    verify(&options.places).expect("it verifies");
}

/// A record that nobody waits for is written all the same, and time alone brings a signature.
#[test]
fn signatures_come_with_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = AuditOptions {
        checkpoint_interval: Duration::from_millis(1),
        ..options(folder.path())
    };
    let log = AuditLog::open(&options).expect("a log");
    drop(log.append(&numbered(1)));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let verified = verify(&options.places).expect("it verifies while it is written");
        if (verified.records, verified.unsigned) == (1, 0) && verified.checkpoints >= 2 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{verified:?}");
        std::thread::yield_now();
    }
}
