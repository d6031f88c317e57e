//! The bounds, the numbering, and following.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::*;

const LIMITS: RunLogLimits = RunLogLimits {
    line_bytes: 256,
    controller_bytes: 4 * 1024,
    total_bytes: 16 * 1024,
};

fn line(controller: &str, message: &str) -> LogLine {
    LogLine::new(
        Timestamp::UNIX_EPOCH,
        controller,
        "1.0.0",
        Stream::Stdout,
        Level::Info,
        message,
    )
}

fn messages(lines: &[Arc<LogLine>]) -> Vec<String> {
    lines.iter().map(|line| line.message.clone()).collect()
}

async fn next(subscription: &mut Subscription) -> Option<Followed> {
    tokio::time::timeout(Duration::from_secs(10), subscription.next())
        .await
        .expect("a line within the deadline")
}

/// Numbers start at 1 for every controller and have no holes.
#[test]
fn numbers_are_per_controller_and_without_holes() {
    let logs = RunLogs::new(LIMITS);
    assert_eq!(logs.append(line("A", "one")), 1);
    assert_eq!(logs.append(line("A", "two")), 2);
    assert_eq!(logs.append(line("B", "one")), 1);
    let numbers: Vec<_> = logs
        .tail("A", None, 10)
        .iter()
        .map(|line| line.sequence)
        .collect();
    assert_eq!(numbers, [1, 2]);
}

/// Without a number `tail` gives the newest lines, with one the lines right after it, and a number never given out is 0.
#[test]
fn tail_reads_the_end_or_onwards() {
    let logs = RunLogs::new(LIMITS);
    for message in ["a", "b", "c", "d"] {
        logs.append(line("A", message));
    }
    assert_eq!(messages(&logs.tail("A", None, 2)), ["c", "d"]);
    assert_eq!(messages(&logs.tail("A", Some(1), 2)), ["b", "c"]);
    assert_eq!(messages(&logs.tail("A", Some(4), 2)), [""; 0]);
    assert_eq!(
        messages(&logs.tail("A", Some(900), 9)),
        ["a", "b", "c", "d"]
    );
    assert!(logs.tail("Nobody", None, 9).is_empty());
}

/// A controller that floods keeps its newest lines only, stays within its share, and the loss is counted.
#[test]
fn a_flood_stays_within_the_share() {
    let logs = RunLogs::new(LIMITS);
    for number in 0..10_000 {
        logs.append(line("A", &number.to_string()));
    }
    let statistics = logs.statistics("A").expect("it wrote");
    assert!(
        statistics.bytes <= LIMITS.controller_bytes,
        "{statistics:?}"
    );
    assert_eq!(statistics.bytes, logs.total_bytes());
    assert_eq!(statistics.newest, 10_000);
    assert_eq!(statistics.dropped + statistics.lines as u64, 10_000);
    assert_eq!(messages(&logs.tail("A", None, 1)), ["9999"]);
}

/// The total holds too, and the loss falls on those who hold the most, not on a quiet controller.
#[test]
fn the_total_is_kept_and_a_quiet_controller_is_spared() {
    let logs = RunLogs::new(LIMITS);
    logs.append(line("Quiet", "my last words"));
    for number in 0..2_000 {
        logs.append(line(&format!("Noisy{}", number % 20), "noise"));
        assert!(logs.total_bytes() <= LIMITS.total_bytes);
    }
    assert_eq!(messages(&logs.tail("Quiet", None, 9)), ["my last words"]);
}

/// One line larger than a whole share is still kept, cut, since an empty log would hide why it is empty.
#[test]
fn an_enormous_line_is_cut_and_says_so() {
    let logs = RunLogs::new(LIMITS);
    let mut enormous = line("A", &"é".repeat(100_000));
    enormous
        .fields
        .insert("blob".to_owned(), json!("x".repeat(100_000)));
    logs.append(enormous);
    let kept = &logs.tail("A", None, 1)[0];
    assert_eq!(kept.message, "é".repeat(128));
    assert!(kept.truncated);
    assert!(kept.fields.is_empty());
}

/// A line that fits is kept as it is.
#[test]
fn a_line_that_fits_is_untouched() {
    let logs = RunLogs::new(LIMITS);
    let mut plain = line("A", "hello");
    plain.fields.insert("n".to_owned(), json!(1));
    plain.request_id = Some("req_1".to_owned());
    logs.append(plain.clone());
    plain.sequence = 1;
    assert_eq!(*logs.tail("A", None, 1)[0], plain);
}

/// The JSON form, written out in full: it is an outside promise of the logs route.
#[test]
fn json_form() {
    let mut written = line("A", "hello");
    written.fields.insert("n".to_owned(), json!(1));
    assert_eq!(
        serde_json::to_value(&written).expect("a line is JSON"),
        json!({
            "sequence": 0, "time": "1970-01-01T00:00:00Z", "controller": "A", "version": "1.0.0",
            "request_id": null, "stream": "stdout", "level": "info", "message": "hello",
            "fields": {"n": 1}, "truncated": false,
        })
    );
}

/// A follower sees what is appended after it came, and is woken for it.
#[tokio::test]
async fn a_follower_is_woken() {
    let logs = RunLogs::new(LIMITS);
    logs.append(line("A", "before"));
    let mut following = logs.subscribe("A", None);
    let writer = {
        let logs = logs.clone();
        tokio::spawn(async move { logs.append(line("A", "after")) })
    };
    let Some(Followed::Lines(lines)) = next(&mut following).await else {
        panic!("lines were appended");
    };
    assert_eq!(messages(&lines), ["after"]);
    assert_eq!(writer.await.expect("the writer ends"), 2);
}

/// A follower may begin in the past and at a controller that has not written yet.
#[tokio::test]
async fn a_follower_resumes_after_a_number() {
    let logs = RunLogs::new(LIMITS);
    let mut early = logs.subscribe("A", None);
    for message in ["a", "b", "c"] {
        logs.append(line("A", message));
    }
    let mut late = logs.subscribe("A", Some(2));
    for (subscription, expected) in [(&mut early, vec!["a", "b", "c"]), (&mut late, vec!["c"])] {
        let Some(Followed::Lines(lines)) = next(subscription).await else {
            panic!("lines were appended");
        };
        assert_eq!(messages(&lines), expected);
    }
}

/// A follower that stopped reading learns exactly how many lines it missed, and then gets every line that is left.
#[tokio::test]
async fn a_slow_follower_learns_what_it_missed() {
    let logs = RunLogs::new(LIMITS);
    let mut following = logs.subscribe("A", None);
    for number in 0..5_000 {
        logs.append(line("A", &number.to_string()));
    }
    let dropped = logs.statistics("A").expect("it wrote").dropped;
    assert!(dropped > 0);
    assert_eq!(next(&mut following).await, Some(Followed::Missed(dropped)));
    let mut read = 0;
    while following.position() < 5_000 {
        let Some(Followed::Lines(lines)) = next(&mut following).await else {
            panic!("nothing is missed twice");
        };
        read += lines.len() as u64;
    }
    assert_eq!(read + dropped, 5_000);
}

/// Forgetting a log frees its bytes and ends its followers, even if the controller comes back.
#[tokio::test]
async fn forgetting_ends_followers() {
    let logs = RunLogs::new(LIMITS);
    logs.append(line("A", "one"));
    let mut following = logs.subscribe("A", Some(0));
    logs.forget("A");
    assert_eq!(logs.total_bytes(), 0);
    logs.append(line("A", "another life"));
    assert_eq!(next(&mut following).await, None);
}
