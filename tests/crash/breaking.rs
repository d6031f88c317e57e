//! Syncing fails: from then on nothing is acknowledged, the reason is told, and a restart heals.

use crate::books::Books;
use crate::disk::Disk;
use crate::life::{Stores, borrowed, controllers, make_tables};
use crate::support::command::magic;
use crate::support::server::{Answer, PATIENCE, Server, wait_for};
use serde_json::json;
use std::sync::mpsc;
use std::time::Duration;

/// A server on a disk whose syncs can be made to fail.
struct Broken {
    server: Server,
    disk: Disk,
    books: Books,
}

impl Broken {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::below(data.path());
        let environment = disk.environment();
        let environment = borrowed(&environment);
        make_tables(data.path(), &environment);
        let this = Self {
            server: Server::start_on(data, controllers(), &environment, &[]),
            disk,
            books: Books::default(),
        };
        this.book(1, 200, "none");
        this
    }

    /// Asks for a booking and notes the answer.
    fn book(&self, id: u64, status: u16, reason: &str) -> Answer {
        let answer = self.server.execute("Ledger", &json!({ "id": id }));
        assert_eq!(
            (answer.status, answer.reason()),
            (status, reason),
            "{}",
            answer.body
        );
        self.books.note(id, &answer);
        answer
    }

    fn not_ready(&self, because: &str) {
        let ready = self.server.get("/api/readyz");
        assert_eq!(ready.status, 503, "{}", ready.body);
        assert!(ready.body.to_string().contains(because), "{}", ready.body);
    }

    /// Kills, perhaps takes what was not synced away, and starts again on a sound disk.
    fn restart(self, power: bool) -> Self {
        let (data, controllers) = self.server.kill();
        if power {
            self.disk.cut_power("data");
        }
        magic(data.path(), &["audit", "verify"], &[]);
        let environment = self.disk.environment();
        let server = Server::start_on(data, controllers, &borrowed(&environment), &[]);
        Self { server, ..self }
    }

    fn check(&self) {
        self.books.check(&Stores::Embedded, self.server.data.path());
        self.books
            .check_records(&Stores::Embedded, self.server.data.path());
        let ready = self.server.get("/api/readyz");
        assert_eq!(ready.status, 200, "{}", ready.body);
    }
}

/// A failed sync of the audit log is final: it is not tried again, later requests are refused although the disk would take them,
/// and nothing of theirs stays.
#[test]
fn a_failed_sync_of_the_audit_log_stops_acknowledging_until_a_restart() {
    for power in [false, true] {
        let broken = Broken::start();
        broken.disk.fail("/audit/");
        broken.book(2, 500, "internal");
        broken.disk.mend();
        broken.book(3, 500, "internal");
        broken.not_ready("audit");
        let healed = broken.restart(power);
        healed.book(4, 200, "none");
        healed.check();
    }
}

/// While the disk does not say that it has the records, nothing is committed and nobody is answered; however long that takes.
#[test]
fn nothing_is_committed_or_answered_before_its_records_are_synced() {
    let broken = Broken::start();
    let rows = || {
        let query = "SELECT id FROM ledger ORDER BY id";
        Stores::Embedded.rows(broken.server.data.path(), query)
    };
    broken.disk.hold("/audit/");
    let (answered, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let answer = broken.server.execute("Ledger", &json!({ "id": 2 }));
            answered.send(answer.status).expect("somebody waits");
        });
        wait_for("a sync", || broken.disk.is_held().then_some(()));
        // Nothing is to happen, so there is no event to wait for: what happens too early happens within milliseconds.
        let early = answers.recv_timeout(Duration::from_millis(500));
        assert!(early.is_err(), "answered with {early:?}");
        assert_eq!(rows(), ["1"]);
        broken.disk.let_go();
        assert_eq!(answers.recv_timeout(PATIENCE), Ok(200));
    });
    assert_eq!(rows(), ["1", "2"]);
}

/// A commit whose sync failed may or may not be found by the next start, and its answer says so. What comes after it is refused:
/// it would be built on pages that may not be on the disk.
#[test]
fn a_failed_sync_of_the_database_stops_acknowledging_until_a_restart() {
    for power in [false, true] {
        let broken = Broken::start();
        broken.disk.fail("controllers.db");
        let failed = broken.book(2, 500, "commit_unknown");
        assert_eq!(
            failed.body["error"]["details"]["effects"], "unknown",
            "{}",
            failed.body
        );
        broken.disk.mend();
        broken.book(3, 500, "backend");
        broken.not_ready("database");
        let healed = broken.restart(power);
        healed.book(4, 200, "none");
        healed.check();
    }
}

/// A message that its queue could not make durable stays in the outbox and is delivered after a restart. Until then the queue
/// takes no other.
#[test]
fn a_failed_sync_of_the_queue_loses_no_message() {
    for power in [false, true] {
        let broken = Broken::start();
        wait_for("the first booking to be delivered", || {
            let waiting = Stores::Embedded.outbox(broken.server.data.path());
            waiting.is_empty().then_some(())
        });
        broken.disk.fail("queue.db");
        broken.book(2, 200, "none");
        wait_for("the queue to have failed", || {
            let asked = broken.server.execute("Ledger", &json!({ "id": 7 }));
            (asked.reason() == "backend").then_some(())
        });
        broken.disk.mend();
        broken.not_ready("queues");
        broken.book(3, 500, "backend");
        let healed = broken.restart(power);
        healed.book(4, 200, "none");
        healed.check();
    }
}
