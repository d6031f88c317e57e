//! Log lines of all nodes in one order, within a bound.

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::on_both;
use crate::state::{LogFilter, LogStart, ShippedLine};

fn line(sequence: i64, controller: &str, request: &str) -> ShippedLine {
    ShippedLine {
        sequence,
        controller: controller.to_owned(),
        version: "1.0.0".to_owned(),
        request_id: request.to_owned(),
        stream: "log".to_owned(),
        level: "info".to_owned(),
        at: Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap(),
        message: format!("line {sequence}"),
        fields: (sequence % 2 == 0).then(|| "{\"a\":1}".to_owned()),
    }
}

#[tokio::test]
async fn lines_are_read_page_by_page() {
    on_both(|world| async move {
        let state = world.open().await;
        let none = state
            .logs(&LogFilter::All, LogStart::After(0), 10)
            .await
            .unwrap();
        assert_eq!((none.lines.len(), none.next, none.oldest), (0, 0, None));
        let batch: Vec<_> = (0..10)
            .map(|n| line(n, if n < 6 { "A" } else { "B" }, &format!("req_{}", n % 3)))
            .collect();
        state.append_logs("one", &batch).await.unwrap();
        // Sent again, and some more; another node counts by itself.
        state.append_logs("one", &batch).await.unwrap();
        state
            .append_logs("two", &[line(0, "A", "req_0")])
            .await
            .unwrap();

        let first = state
            .logs(&LogFilter::All, LogStart::After(0), 4)
            .await
            .unwrap();
        let second = state
            .logs(&LogFilter::All, LogStart::After(first.next), 100)
            .await
            .unwrap();
        let all: Vec<_> = first.lines.iter().chain(&second.lines).collect();
        assert_eq!(all.len(), 11);
        assert!(
            all[..10]
                .iter()
                .zip(&batch)
                .all(|(kept, sent)| &kept.line == sent && kept.node == "one")
        );
        assert_eq!(all[10].node, "two");
        let end = state
            .logs(&LogFilter::All, LogStart::After(second.next), 100)
            .await
            .unwrap();
        assert_eq!((end.lines.len(), end.next), (0, second.next));

        let of_b = LogFilter::Controller("B".to_owned());
        let b = state.logs(&of_b, LogStart::After(0), 100).await.unwrap();
        assert_eq!(b.lines.len(), 4);
        // Having looked at everything, it goes on behind everything.
        assert_eq!(b.next, second.next);
        let last = state.logs(&of_b, LogStart::Last, 2).await.unwrap();
        let sequences: Vec<_> = last.lines.iter().map(|kept| kept.line.sequence).collect();
        assert_eq!((sequences, last.next), (vec![8, 9], second.next));
        let of_request = LogFilter::Request("req_0".to_owned());
        assert_eq!(
            state
                .logs(&of_request, LogStart::After(0), 100)
                .await
                .unwrap()
                .lines
                .len(),
            5
        );
    })
    .await;
}

#[tokio::test]
async fn lines_have_bounds_in_bytes_and_age() {
    on_both(|world| async move {
        let state = world.open_with(|options| options.log_bytes = 10_000).await;
        let mut big = line(0, "A", "req_0");
        big.message = "x".repeat(900);
        for sequence in 0..30 {
            big.sequence = sequence;
            state
                .append_logs("one", std::slice::from_ref(&big))
                .await
                .unwrap();
        }
        let page = state
            .logs(&LogFilter::All, LogStart::After(0), 100)
            .await
            .unwrap();
        assert_eq!(page.lines.len(), 9, "as many as fit");
        assert_eq!(page.lines[8].line.sequence, 29);
        assert_eq!(page.oldest, Some(page.lines[0].cursor));

        let mut old = line(100, "A", "req_old");
        old.at -= SignedDuration::from_secs(100);
        assert_eq!(state.sweep_logs(Duration::from_secs(50)).await.unwrap(), 0);
        state.append_logs("one", &[old]).await.unwrap();
        assert_eq!(state.sweep_logs(Duration::from_secs(50)).await.unwrap(), 1);
        assert_eq!(state.sweep_logs(Duration::ZERO).await.unwrap(), 9);
        let page = state
            .logs(&LogFilter::All, LogStart::Last, 100)
            .await
            .unwrap();
        assert!(page.lines.is_empty());
    })
    .await;
}

/// Whoever follows the cursor misses no line, however many nodes write beside each other.
#[tokio::test]
async fn followers_miss_nothing() {
    on_both(|world| async move {
        let writers = tokio::task::LocalSet::new();
        let mut tasks = Vec::new();
        for node in 0..4 {
            let world = Rc::clone(&world);
            tasks.push(writers.spawn_local(async move {
                let state = world.open().await;
                for sequence in 0..25 {
                    state
                        .append_logs(&format!("node{node}"), &[line(sequence, "A", "req")])
                        .await
                        .unwrap();
                }
            }));
        }
        let follower = async {
            let state = world.open().await;
            let mut cursor = 0;
            let mut seen = Vec::new();
            while seen.len() < 100 {
                let page = state
                    .logs(&LogFilter::All, LogStart::After(cursor), 7)
                    .await
                    .unwrap();
                seen.extend(
                    page.lines
                        .iter()
                        .map(|kept| (kept.node.clone(), kept.line.sequence)),
                );
                cursor = page.next;
                tokio::task::yield_now().await;
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 100);
        };
        let followed = tokio::time::timeout(Duration::from_secs(60), follower);
        let (followed, ()) = tokio::join!(followed, writers);
        followed.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
}

/// A state that was restored has fewer lines than a reader has seen, and gives their numbers to other lines. The reader is told, and
/// goes on with what there is; who asks within what there is is not.
#[tokio::test]
async fn a_reader_of_a_restored_state_is_told_and_goes_on() {
    on_both(|world| async move {
        let state = world.open().await;
        let batch: Vec<_> = (0..4).map(|number| line(number, "A", "req")).collect();
        state.append_logs("one", &batch).await.unwrap();
        let after = |cursor| {
            let (state, filter) = (state.clone(), LogFilter::Controller("A".to_owned()));
            async move {
                state
                    .logs(&filter, LogStart::After(cursor), 100)
                    .await
                    .unwrap()
            }
        };
        let newest = after(0).await.next;
        let level = after(newest).await;
        assert!(!level.went_back && level.lines.is_empty());
        assert_eq!(level.next, newest);
        let ahead = after(newest + 2).await;
        assert!(ahead.went_back);
        assert_eq!((ahead.lines.len(), ahead.next), (4, newest));
        // What is written now is heard, also under a number that the reader has seen before.
        state
            .append_logs("one", &[line(4, "A", "req")])
            .await
            .unwrap();
        let next = after(ahead.next).await;
        assert!(!next.went_back);
        assert_eq!(next.lines.len(), 1);
        // Where everything was forgotten, numbers go on, and nobody goes back.
        world.tamper("DELETE FROM logs").await;
        let empty = after(next.next).await;
        assert!(!empty.went_back);
        assert_eq!(empty.next, next.next);
    })
    .await;
}
