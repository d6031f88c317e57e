//! Killed at random moments, again and again.

use crate::books::Books;
use crate::life::{Left, Moment, Stores, borrowed, controllers, live, make_tables};
use crate::support::command::magic;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::Server;
use crate::support::traces;
use std::time::{Duration, Instant};

/// Every so many lives one is killed before it listens: recovery must survive that too.
const STILLBORN: u32 = 8;

/// Makes a run longer, in seconds: `CRASH_SECONDS=600` for whoever wants to know.
const LONGER: &str = "CRASH_SECONDS";

/// At most so many lives, and no new one after so long: a slow machine tests less, and no machine tests nothing.
struct Bounds {
    lives: u32,
    least: u32,
    time: Duration,
}

/// No acknowledged row, message or record is lost, none is half there, and the log verifies after each life.
#[test]
fn a_killed_supervisor_loses_nothing_acknowledged_and_leaves_nothing_half() {
    kill_again_and_again(
        &Stores::Embedded,
        &Bounds {
            lives: 200,
            least: 20,
            time: Duration::from_secs(60),
        },
    );
}

/// The same where rows and messages lie in servers that are not killed.
#[test]
fn a_killed_supervisor_loses_nothing_in_postgres_and_redis() {
    let postgres = Postgres::start();
    postgres.database("app");
    let stores = Stores::Servers {
        postgres: Box::new(postgres),
        redis: Box::new(Redis::start()),
    };
    kill_again_and_again(
        &stores,
        &Bounds {
            lives: 40,
            least: 8,
            time: Duration::from_secs(20),
        },
    );
}

#[expect(clippy::print_stderr, reason = "how much was tried is a result")]
fn kill_again_and_again(stores: &Stores, bounds: &Bounds) {
    let books = Books::default();
    let environment = stores.environment();
    let environment = borrowed(&environment);
    let data = tempfile::tempdir().expect("a temporary folder");
    make_tables(data.path(), &environment);
    let mut left: Left = (data, controllers());
    let begun = Instant::now();
    let longer = std::env::var(LONGER).ok();
    let longer = longer.map(|text| Duration::from_secs(text.parse().expect("seconds")));
    let (most, time) = longer.map_or((bounds.lives, bounds.time), |time| (u32::MAX, time));
    let mut lives = 0;
    let mut killed = Vec::new();
    while lives < most && (lives < bounds.least || begun.elapsed() < time) {
        lives += 1;
        // By numbers that nothing else depends on: from at once to after dozens of requests.
        if lives % STILLBORN == 0 {
            let after = Duration::from_millis(u64::from(lives * 6151 % 150));
            let server = Server::killed_while_starting(left.0.path(), &left.1, &environment, after);
            killed.push(server);
        } else {
            let server;
            (left, server) = live(&books, left, &environment, Moment::of(lives));
            killed.push(server);
        }
        magic(left.0.path(), &["audit", "verify"], &[]);
    }
    let server = Server::start_on(left.0, left.1, &environment, &[]);
    eprintln!(
        "{lives} lives in {:?}: {} acknowledged requests, {} messages taken",
        begun.elapsed(),
        books.acknowledged(),
        books.taken()
    );
    assert!(
        books.acknowledged() >= 50 && books.taken() >= 10,
        "{} acknowledged requests and {} messages taken in {lives} lives prove little",
        books.acknowledged(),
        books.taken()
    );
    books.check(stores, server.data.path());
    books.check_records(stores, server.data.path());
    // A killed supervisor cannot remove its control groups; its successor does.
    for pid in killed {
        let groups = traces::control_groups(pid);
        assert!(groups.is_empty(), "groups of {pid} are left: {groups:?}");
    }
    let (data, _controllers) = server.kill();
    magic(data.path(), &["audit", "verify"], &[]);
}
