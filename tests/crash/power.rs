//! The power goes: what was written and not synced is gone.

use crate::books::Books;
use crate::disk::Disk;
use crate::life::{Left, Moment, Stores, borrowed, controllers, live, make_tables};
use crate::support::command::magic;
use crate::support::server::Server;
use std::time::{Duration, Instant};

const LIVES: u32 = 40;
const LEAST: u32 = 6;
const TIME: Duration = Duration::from_secs(20);

/// Nothing acknowledged is lost with what was not synced, from the first migration on.
#[test]
fn a_power_cut_loses_nothing_acknowledged_and_leaves_nothing_half() {
    let books = Books::default();
    let data = tempfile::tempdir().expect("a temporary folder");
    let disk = Disk::below(data.path());
    let environment = disk.environment();
    let environment = borrowed(&environment);
    // A server that makes the data folder itself, and a migration, are as durable as everything after them.
    let mut left: Left = Server::start_on(data, controllers(), &environment, &[]).kill();
    disk.cut_power("data");
    magic(left.0.path(), &["audit", "verify"], &[]);
    make_tables(left.0.path(), &environment);
    disk.cut_power("data");
    let begun = Instant::now();
    let mut lives = 0;
    while lives < LIVES && (lives < LEAST || begun.elapsed() < TIME) {
        lives += 1;
        (left, _) = live(&books, left, &environment, Moment::of(lives));
        disk.cut_power("data");
        magic(left.0.path(), &["audit", "verify"], &[]);
    }
    let server = Server::start_on(left.0, left.1, &environment, &[]);
    assert!(
        books.acknowledged() >= 20,
        "{} acknowledged requests in {lives} lives prove little",
        books.acknowledged()
    );
    books.check(&Stores::Embedded, server.data.path());
    books.check_records(&Stores::Embedded, server.data.path());
}
